#include "control/local/block_list.hpp"

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <sys/stat.h>

#include "cache/dns.hpp"
#include "control/config/yaml.hpp"
#include "control/limits.hpp"
#include "control/local/entry.hpp"
#include "control/message/record_text.hpp"
#include "control/message/records.hpp"

namespace millrace::control {

namespace {

using dataplane::LocalNames;
using Action = LocalNames::Action;
using Builder = LocalNames::Builder;
using Result = tl::expected<BlockListResult, ConfigError>;

constexpr std::uint32_t denial_ttl = 60; // a name that is taken off the list is back within a minute

std::uint16_t info_of(Config::BlockList::Reason reason) {
    switch (reason) {
    case Config::BlockList::Reason::blocked: return dns::ede::blocked;
    case Config::BlockList::Reason::censored: return dns::ede::censored;
    case Config::BlockList::Reason::filtered: return dns::ede::filtered;
    }
    return cache::Entry::no_info;
}

tl::unexpected<ConfigError> error(const Config::BlockList& list, int line, std::string expected,
                                  std::string found) {
    return tl::unexpected(ConfigError{list.file, line, "", std::move(expected), std::move(found)});
}

Builder::RuleId denial(Builder& names, unsigned source, const Config::BlockList& list, Action action) {
    unsigned rcode = action == Action::nxdomain ? LDNS_RCODE_NXDOMAIN : LDNS_RCODE_NOERROR;
    return names.deny(source, true, action, info_of(list.reason), make_denial(rcode, denial_ttl));
}

// A name per line.

std::string_view next_word(std::string_view& rest) {
    constexpr std::string_view space = " \t\r\n";
    std::size_t from = std::min(rest.find_first_not_of(space), rest.size());
    std::size_t to = std::min(rest.find_first_of(space, from), rest.size());
    std::string_view word = rest.substr(from, to - from);
    rest.remove_prefix(to);
    return word;
}

/// A host name, so that a page of HTML in the place of a list is noticed.
std::optional<cache::Name> parse_host(std::string_view word) {
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    if (word.find_first_not_of(allowed) != word.npos) return std::nullopt;
    auto name = cache::parse_name(word);
    return name && name->size > 1 ? name : std::nullopt;
}

/// The names of a line. Of a hosts file those that are not the machine's own, which have no dot.
bool add_line(std::string_view line, Builder& names, Builder::RuleId rule, BlockListResult& result) {
    std::string_view rest = line.substr(0, line.find('#'));
    std::string_view word = next_word(rest);
    if (word.empty() || word[0] == '!') return true;
    bool is_hosts = dataplane::parse_address(word).has_value();
    if (is_hosts) word = next_word(rest);
    for (; !word.empty(); word = next_word(rest)) {
        if (is_hosts && word.find('.') == word.npos) continue;
        if (is_hosts && dataplane::parse_address(word)) continue; // "0.0.0.0 0.0.0.0" opens many lists
        auto name = parse_host(word);
        if (!name) return false;
        result.names += names.add(name->bytes(), Builder::both, rule);
        if (!is_hosts) return next_word(rest).empty();
    }
    return true;
}

Result read_names(const Config::BlockList& list, std::FILE* file, unsigned source, Builder& names) {
    bool nodata = list.answer == Config::BlockList::Denial::nodata;
    auto rule = denial(names, source, list, nodata ? Action::nodata : Action::nxdomain);
    BlockListResult result;
    std::array<char, 4096> line;
    for (int number = 1; std::fgets(line.data(), line.size(), file); ++number) {
        std::string_view text(line.data());
        bool whole = text.ends_with('\n') || std::feof(file);
        if (!whole || !add_line(text, names, rule, result)) {
            return error(list, number, "a domain name, or an address and names", yaml::quote(text));
        }
        if (result.names > limits::blocked_names) {
            return error(list, number, fmt::format("at most {} names", limits::blocked_names), "more");
        }
    }
    return result;
}

// A response policy zone.

class PolicyZone {
  public:
    PolicyZone(const Config::BlockList& list, unsigned source, Builder& names)
        : list_(list), source_(source), names_(names),
          nxdomain_(denial(names, source, list, Action::nxdomain)),
          nodata_(denial(names, source, list, Action::nodata)), forward_(names.forward(source, true)) {}

    /// False: makes no sense.
    bool add(RecordHandle record) {
        cache::Name owner = name_of(ldns_rr_owner(record.get()));
        ldns_rr_type type = ldns_rr_get_type(record.get());
        if (!apex_) {
            apex_ = owner;
            return type == LDNS_RR_TYPE_SOA;
        }
        if (owner == *apex_) return true; // SOA and NS are the zone's own
        if (!cache::is_at_or_below(owner.bytes(), apex_->bytes())) return false;
        auto trigger = relative(owner);
        if (!trigger) return skip();
        if (type == LDNS_RR_TYPE_CNAME) return add_alias(*trigger, name_of(ldns_rr_rdf(record.get(), 0)));
        data_[std::string(reinterpret_cast<const char*>(owner.octets.data()), owner.size)].push_back(
            std::move(record));
        return true;
    }

    /// The records, by owner. False: they exceed a message.
    bool finish() {
        for (const auto& [text, records] : data_) {
            cache::Name owner;
            owner.size = std::uint8_t(text.size());
            std::ranges::copy(text, owner.octets.begin());
            std::map<std::uint16_t, std::vector<const ldns_rr*>> by_type;
            for (const RecordHandle& r : records) {
                by_type[std::uint16_t(ldns_rr_get_type(r.get()))].push_back(r.get());
            }
            std::vector<std::pair<std::uint16_t, cache::EntryPtr>> entries;
            for (const auto& [type, of_type] : by_type) {
                entries.emplace_back(type, make_local_records(of_type));
                if (!entries.back().second) return false;
            }
            entries.emplace_back(0, make_denial(LDNS_RCODE_NOERROR, denial_ttl));
            put(*relative(owner), names_.records(source_, true, info_of(list_.reason), std::move(entries)));
        }
        return true;
    }

    const BlockListResult& result() const { return result_; }

  private:
    /// A query name and how far it reaches.
    struct Trigger {
        cache::Name name;
        unsigned reach;
    };

    /// The owner without the zone's name; none when it triggers on something else than a query name.
    std::optional<Trigger> relative(const cache::Name& owner) const {
        Trigger out{{}, Builder::exact};
        std::size_t from = 0, to = owner.size - apex_->size;
        bool wildcard = owner.octets[0] == 1 && owner.octets[1] == '*';
        if (wildcard) {
            out.reach = Builder::below;
            from = 2;
        }
        std::size_t last = from;
        for (std::size_t at = from; at < to; at += 1u + owner.octets[at]) last = at;
        if (from == to && !wildcard) return std::nullopt;
        std::string_view label(reinterpret_cast<const char*>(owner.octets.data()) + last + 1,
                               from < to ? owner.octets[last] : 0);
        for (std::string_view other : {"rpz-ip", "rpz-client-ip", "rpz-nsdname", "rpz-nsip"}) {
            if (label == other) return std::nullopt;
        }
        std::copy(owner.octets.begin() + std::ptrdiff_t(from), owner.octets.begin() + std::ptrdiff_t(to),
                  out.name.octets.begin());
        out.name.size = std::uint8_t(to - from + 1);
        out.name.octets[to - from] = 0;
        return out;
    }

    bool add_alias(const Trigger& trigger, const cache::Name& target) {
        std::string text = cache::to_string(target.bytes());
        if (text == ".") return put(trigger, nxdomain_);
        if (text == "*.") return put(trigger, nodata_);
        if (text == "rpz-passthru.") return put(trigger, forward_);
        if (text == "rpz-drop." || text == "rpz-tcp-only." || text.starts_with("*.")) return skip();
        return put(trigger, names_.alias(source_, true, info_of(list_.reason), target));
    }

    bool put(const Trigger& trigger, Builder::RuleId rule) {
        result_.names += names_.add(trigger.name.bytes(), trigger.reach, rule);
        return result_.names <= limits::blocked_names;
    }
    bool skip() {
        ++result_.skipped;
        return true;
    }

    const Config::BlockList& list_;
    unsigned source_;
    Builder& names_;
    Builder::RuleId nxdomain_, nodata_, forward_;
    std::optional<cache::Name> apex_;
    std::map<std::string, std::vector<RecordHandle>> data_;
    BlockListResult result_;
};

/// ldns reads on from where the last record ended, and keeps what a line may leave out.
struct MasterFile {
    explicit MasterFile(std::FILE* from) : file(from), origin(ldns_dname_new_frm_str("rpz.")) {}
    ~MasterFile() {
        ldns_rdf_deep_free(origin);
        ldns_rdf_deep_free(previous);
    }
    MasterFile(const MasterFile&) = delete;
    MasterFile& operator=(const MasterFile&) = delete;

    ldns_status next(RecordHandle& record) {
        ldns_rr* raw = nullptr;
        ldns_status status = ldns_rr_new_frm_fp_l(&raw, file, &ttl, &origin, &previous, &line);
        record.reset(raw);
        return status;
    }

    std::FILE* file;
    std::uint32_t ttl = 3600;
    ldns_rdf* origin;
    ldns_rdf* previous = nullptr;
    int line = 1;
};

bool is_no_record(ldns_status status) {
    return status == LDNS_STATUS_SYNTAX_EMPTY || status == LDNS_STATUS_SYNTAX_TTL ||
           status == LDNS_STATUS_SYNTAX_ORIGIN;
}

Result read_rpz(const Config::BlockList& list, std::FILE* file, unsigned source, Builder& names) {
    PolicyZone zone(list, source, names);
    MasterFile in(file);
    while (!std::feof(file)) {
        RecordHandle record;
        ldns_status status = in.next(record);
        if (is_no_record(status)) continue;
        if (status != LDNS_STATUS_OK || !record || !is_sound(record.get())) {
            return error(list, in.line, "a record of a response policy zone",
                         status == LDNS_STATUS_OK ? "rdata or names that are none"
                                                  : ldns_get_errorstr_by_id(status));
        }
        if (!zone.add(std::move(record))) {
            return error(
                list, in.line,
                fmt::format("an SOA, then at most {} records at or below its name", limits::blocked_names),
                "something else");
        }
    }
    if (!zone.finish()) return error(list, in.line, "the records of a name to fit a message", "more");
    return zone.result();
}

} // namespace

Result read_block_list(const Config::BlockList& list, std::FILE* file, unsigned source, Builder& names) {
    bool is_rpz = list.format == Config::BlockList::Format::rpz;
    Result result = (is_rpz ? read_rpz : read_names)(list, file, source, names);
    if (result && std::ferror(file)) return error(list, 0, "a readable file", std::strerror(errno));
    return result;
}

Result read_block_list(const Config::BlockList& list, unsigned source, Builder& names) {
    struct stat status {};
    // A FIFO would be waited for.
    if (::stat(list.file.c_str(), &status) < 0)
        return error(list, 0, "a readable file", std::strerror(errno));
    if (!S_ISREG(status.st_mode)) return error(list, 0, "a regular file", "something else");
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(list.file.c_str(), "re"), std::fclose);
    if (!file) return error(list, 0, "a readable file", std::strerror(errno));
    return read_block_list(list, file.get(), source, names);
}

} // namespace millrace::control
