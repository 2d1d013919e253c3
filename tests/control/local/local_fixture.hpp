// What is answered here, as a configuration and the lists in a folder of the test's own say.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "control/local/block_list.hpp"
#include "control/local/build.hpp"
#include "control/message/entry_text.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {

class LocalBuildTest : public testing::Test {
  protected:
    using LocalNames = dataplane::LocalNames;
    using Action = LocalNames::Action;

    LocalBuildTest() { std::filesystem::create_directory(folder); }
    ~LocalBuildTest() override { std::filesystem::remove_all(folder); }

    Config::BlockList& list(const std::string& text,
                            Config::BlockList::Format format = Config::BlockList::Format::names) {
        std::string path = folder / ("list" + std::to_string(live.block.size()));
        std::ofstream(path) << text;
        live.block.push_back({path, format});
        return live.block.back();
    }
    void build() {
        auto made = build_local_names(live);
        ASSERT_TRUE(made) << to_string(made.error());
        names = std::move(made->names);
        lists = std::move(made->lists);
    }
    /// What is read of a list, as far as nothing is wrong with all of it.
    BlockListResult read(const std::string& text,
                         Config::BlockList::Format format = Config::BlockList::Format::names) {
        live.block.clear();
        LocalNames::Builder builder;
        auto result = read_block_list(list(text, format), 0, builder);
        EXPECT_TRUE(result) << to_string(result.error());
        names = builder.build();
        return result.value_or(BlockListResult{});
    }
    std::string error() {
        auto made = build_local_names(live);
        return made ? "" : to_string(made.error());
    }
    /// "-", "forward", "alias TARGET", or the rcode and the answer's records.
    std::string says(const std::string& name, ldns_rr_type type = LDNS_RR_TYPE_A) {
        cache::Key key = support::make_key(name, std::uint16_t(type));
        auto match = names->find(key.name.bytes());
        if (!match) return "-";
        if (names->action(*match) == Action::forward) return "forward";
        if (names->action(*match) == Action::alias)
            return "alias " + cache::to_string(names->target(*match).bytes());
        const cache::Entry* entry = names->answer(*match, key.qtype);
        std::string text = entry->rcode == 3 ? "NXDOMAIN" : entry->answers == 0 ? "NODATA" : "";
        if (entry->answers > 0) {
            for (const std::string& line : record_lines(key, *entry, entry->born)) text += line + ";";
        }
        return text;
    }
    int info(const std::string& name) { return names->info(*names->find(cache::parse_name(name)->bytes())); }

    std::filesystem::path folder = "/tmp/millrace-local-" + std::to_string(getpid());
    Config::Live live;
    LocalNamesPtr names;
    std::vector<ReadList> lists;
};

} // namespace millrace::control
