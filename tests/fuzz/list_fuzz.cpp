// libFuzzer: block lists, plain and as response policy zones, and what is answered by the rules in them.
//
// The first octet chooses the format. Names are looked up that the text itself contains.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "control/limits.hpp"
#include "control/local/block_list.hpp"
#include "dataplane/answer.hpp"
#include "tests/fuzz/work.hpp"

using namespace millrace;
using dataplane::LocalNames;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

/// Whatever a rule answers can be written, within the limit.
void check(const LocalNames& names, const cache::Name& name) {
    auto match = names.find(name.bytes());
    if (!match) return;
    require(match->above < name.size);
    using Action = LocalNames::Action;
    Action action = names.action(*match);
    if (action == Action::alias) return require(names.target(*match).size > 0);
    for (std::uint16_t type : {1, 16, 28}) {
        const cache::Entry* entry = names.answer(*match, type);
        require((entry == nullptr) == (action == Action::forward));
        if (!entry) continue;
        std::vector<std::uint8_t> question(name.bytes().begin(), name.bytes().end());
        question.resize(question.size() + 4);
        dataplane::Head head;
        head.question_size = std::uint16_t(question.size());
        head.limit = 512;
        head.edns = true;
        std::vector<std::uint8_t> out(512);
        std::size_t size =
            dataplane::answer::write_local(head, question, *entry, match->above, names.info(*match), out);
        require(size >= dns::header_octets + question.size() + 11 && size <= 512);
    }
}

/// Each label of a zone may become a name that ends wildcards, and behind an $ORIGIN a line may have 120.
std::uint64_t work_for_octet(const std::uint8_t* data, std::size_t size) {
    if (size < 2 || !(data[0] & 1)) return 300;
    return std::string_view(reinterpret_cast<const char*>(data), size).find("$ORIGIN") ==
                   std::string_view::npos
               ? 1'500
               : 3'000;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Work work({.for_input = 20'000, .for_octet = work_for_octet(data, size)}, size);
    if (size < 2) return 0;
    using List = control::Config::BlockList;
    List list{"list", data[0] & 1 ? List::Format::rpz : List::Format::names};
    list.answer = data[0] & 2 ? List::Denial::nodata : List::Denial::nxdomain;
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        fmemopen(const_cast<std::uint8_t*>(data + 1), size - 1, "r"), std::fclose);
    LocalNames::Builder builder;
    auto read = control::read_block_list(list, file.get(), 0, builder);
    require(read || read.error().line > 0);
    auto names = builder.build();
    require(!read || read->names <= 2 * names->size());
    require(names->size() <= size); // each label costs its author an octet at least
    for (const auto& [line, why] : read ? read->first : std::vector<control::BlockListResult::Skipped>()) {
        require(line > 0 && why.size() < 512);
        for (char c : why) require(c >= ' ' && c <= '~');
    }
    require(!read || read->first.size() <= control::limits::named_lines);
    std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    for (unsigned tries = 0; !text.empty() && tries < 64; ++tries) {
        auto word = text.substr(0, text.find_first_of(" \n\t"));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (auto name = cache::parse_name(word)) check(*names, *name);
    }
    return 0;
}
