#include "control/local/policy_zone.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <strings.h>

#include "cache/keyed_hash.hpp"
#include "control/limits.hpp"
#include "control/local/entry.hpp"
#include "control/local/lines.hpp"
#include "control/message/record_text.hpp"
#include "control/message/records.hpp"
#include "dataplane/query.hpp"

namespace millrace::control {

namespace {

using dataplane::LocalNames;
using Action = LocalNames::Action;
using Builder = LocalNames::Builder;
using Result = tl::expected<BlockListResult, ConfigError>;

/// Of what a record says.
std::uint64_t digest_of(const ldns_rr* record) {
    auto mix = [](const ldns_rdf* field, std::uint64_t hash) {
        return cache::keyed_hash({ldns_rdf_data(field), ldns_rdf_size(field)}, hash);
    };
    std::uint64_t hash = cache::keyed_mix(ldns_rr_ttl(record), ldns_rr_get_type(record));
    hash = mix(ldns_rr_owner(record), hash);
    for (std::size_t i = 0; i < ldns_rr_rd_count(record); ++i) hash = mix(ldns_rr_rdf(record, i), hash);
    return hash;
}

class PolicyZone {
  public:
    PolicyZone(const Config::BlockList& list, unsigned source, Builder& names)
        : list_(list), source_(source), names_(names),
          nxdomain_(denial(names, source, list, Action::nxdomain)),
          nodata_(denial(names, source, list, Action::nodata)), forward_(names.forward(source, true)) {}

    bool has_begun() const { return apex_.has_value(); }

    /// With the first record. False: it is no SOA.
    bool begin(const RecordHandle& record) {
        apex_ = name_of(ldns_rr_owner(record.get()));
        return ldns_rr_get_type(record.get()) == LDNS_RR_TYPE_SOA;
    }

    /// Of an entry that begins on the line.
    void add(RecordHandle record, int line) {
        cache::Name owner = name_of(ldns_rr_owner(record.get()));
        ldns_rr_type type = ldns_rr_get_type(record.get());
        if (owner == *apex_) return; // SOA and NS are the zone's own
        if (!cache::is_at_or_below(owner.bytes(), apex_->bytes()))
            return skip(line, "outside the zone", owner);
        auto trigger = relative(owner);
        if (!trigger) return skip(line, "not a query name", owner);
        result_.digest += digest_of(record.get());
        ++records_;
        if (type == LDNS_RR_TYPE_CNAME) {
            return add_alias(*trigger, name_of(ldns_rr_rdf(record.get(), 0)), owner, line);
        }
        Data& data = data_[std::string(reinterpret_cast<const char*>(owner.octets.data()), owner.size)];
        if (data.records.empty()) data.line = line;
        data.records.push_back(std::move(record));
    }

    /// The records, by owner.
    void finish() {
        for (const auto& [text, data] : data_) {
            cache::Name owner;
            owner.size = std::uint8_t(text.size());
            std::ranges::copy(text, owner.octets.begin());
            std::map<std::uint16_t, std::vector<const ldns_rr*>> by_type;
            for (const RecordHandle& r : data.records) {
                by_type[std::uint16_t(ldns_rr_get_type(r.get()))].push_back(r.get());
            }
            std::vector<std::pair<std::uint16_t, cache::EntryPtr>> entries;
            for (const auto& [type, of_type] : by_type) {
                entries.emplace_back(type, make_local_records(of_type));
            }
            if (std::ranges::any_of(entries, [](const auto& e) { return !e.second; })) {
                skip(data.line, "too many records of one type", owner);
                continue;
            }
            entries.emplace_back(0, make_denial(LDNS_RCODE_NOERROR, limits::denial_ttl));
            put(*relative(owner), names_.records(source_, true, info_of(list_.reason), std::move(entries)));
        }
        names_.end_wildcards(source_);
    }

    std::size_t records() const { return records_; } ///< that are kept
    BlockListResult& result() { return result_; }

  private:
    /// A query name and how far it reaches.
    struct Trigger {
        cache::Name name;
        unsigned reach;
    };
    /// The records of one owner.
    struct Data {
        int line = 0; ///< of the first
        std::vector<RecordHandle> records;
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

    void add_alias(const Trigger& trigger, const cache::Name& target, const cache::Name& owner, int line) {
        std::string text = cache::to_string(target.bytes());
        if (text == ".") return put(trigger, nxdomain_);
        if (text == "*.") return put(trigger, nodata_);
        if (text == "rpz-passthru.") return put(trigger, forward_);
        if (text == "rpz-drop." || text == "rpz-tcp-only." || text.starts_with("*."))
            return skip(line, "not done here", owner);
        return put(trigger, names_.alias(source_, true, info_of(list_.reason), target));
    }

    void put(const Trigger& trigger, Builder::RuleId rule) {
        result_.names += names_.add(trigger.name.bytes(), trigger.reach, rule);
    }
    void skip(int line, std::string_view why, const cache::Name& owner) {
        result_.skip(line, why, cache::to_string(owner.bytes()));
    }

    const Config::BlockList& list_;
    unsigned source_;
    Builder& names_;
    Builder::RuleId nxdomain_, nodata_, forward_;
    std::optional<cache::Name> apex_;
    std::map<std::string, Data> data_;
    std::size_t records_ = 0;
    BlockListResult result_;
};

/// The entries of a master file (RFC 1035 5.1): lines, and those that parentheses join to them. ldns keeps
/// what an entry may leave out. It would read the file by itself, but not say where an entry begins.
///
/// A parenthesis that is not closed joins what is none of its. The lines that it took are then read again,
/// each as an entry of its own: the work stays linear.
class MasterFile {
  public:
    explicit MasterFile(std::FILE* file) : lines_(file), origin_(ldns_dname_new_frm_str("rpz.")) {}
    ~MasterFile() {
        ldns_rdf_deep_free(origin_);
        ldns_rdf_deep_free(previous_);
    }
    MasterFile(const MasterFile&) = delete;
    MasterFile& operator=(const MasterFile&) = delete;

    bool next() {
        open_ = 0;
        is_plain_ = is_whole_ = true;
        if (!again_.empty()) {
            take_again();
            return true;
        }
        entry_.clear();
        if (!lines_.next()) return false;
        line_ = lines_.number();
        do take_line(lines_.text(), lines_.is_cut());
        while (is_open() && is_whole_ && lines_.next());
        last_line_ = lines_.number();
        if (is_open() && last_line_ > line_) {
            behind_ = entry_.substr(text().size() + 1);
            again_ = behind_;
        }
        return true;
    }
    int line() const { return line_; }           ///< on which the entry begins
    int last_line() const { return last_line_; } ///< on which it ends
    bool is_open() const { return open_ > 0; }   ///< it has a parenthesis that is not closed
    std::string_view text() const { return std::string_view(entry_).substr(0, entry_.find('\n')); }
    bool is_directive() const { return entry_.starts_with('$'); }

    /// No record, and LDNS_STATUS_OK: the entry is empty, or for those that follow.
    ldns_status parse(RecordHandle& record) {
        std::size_t first = entry_.find_first_not_of(" \t\n");
        if (first == entry_.npos || entry_[first] == ';') return LDNS_STATUS_OK;
        if (is_directive()) return obey(record);
        if (is_lost_) return LDNS_STATUS_SYNTAX_ORIGIN;
        // An entry without an owner is the last owner's; whose was not understood has none for those behind.
        bool has_owner = first == 0;
        if (first > 0 && !is_owned_) return LDNS_STATUS_SYNTAX_DNAME_ERR;
        if (has_owner) forget_owner();
        if (is_open() || !is_whole_) return LDNS_STATUS_SYNTAX_ERR;
        ldns_status status = parse_entry(record);
        if (has_owner) is_owned_ = previous_ != nullptr;
        return status;
    }

  private:
    /// $ORIGIN and $TTL, as ldns does. Behind an $ORIGIN that it does not understand nobody knows whose the
    /// names are, up to the next.
    ldns_status obey(RecordHandle& none) {
        constexpr std::string_view name = "$ORIGIN";
        bool is_done = !is_open() && is_whole_ && parse_entry(none) == LDNS_STATUS_OK && !none;
        bool is_origin = strncasecmp(entry_.c_str(), name.data(), name.size()) == 0;
        if (is_origin) is_lost_ = !is_done;
        return is_done ? LDNS_STATUS_OK : LDNS_STATUS_SYNTAX_KEYWORD_ERR;
    }

    void forget_owner() {
        ldns_rdf_deep_free(previous_);
        previous_ = nullptr;
        is_owned_ = false;
    }

    ldns_status parse_entry(RecordHandle& record) {
        ldns_rr* raw = nullptr;
        ldns_status status = LDNS_STATUS_OK;
        if (is_plain_) {
            status = ldns_rr_new_frm_str(&raw, entry_.c_str(), ttl_, origin_, &previous_);
        } else {
            std::unique_ptr<std::FILE, int (*)(std::FILE*)> text(fmemopen(entry_.data(), entry_.size(), "r"),
                                                                 std::fclose);
            if (!text) return LDNS_STATUS_MEM_ERR;
            status = ldns_rr_new_frm_fp(&raw, text.get(), &ttl_, &origin_, &previous_);
            if (std::fgetc(text.get()) != EOF) status = LDNS_STATUS_SYNTAX_ERR;
        }
        record.reset(raw);
        bool is_other = status == LDNS_STATUS_SYNTAX_EMPTY || status == LDNS_STATUS_SYNTAX_TTL ||
                        status == LDNS_STATUS_SYNTAX_ORIGIN;
        return is_other ? LDNS_STATUS_OK : status;
    }

    void take_again() {
        std::size_t end = std::min(again_.find('\n'), again_.size());
        entry_.clear();
        take_line(again_.substr(0, end), end == again_.size() && lines_.is_cut());
        again_.remove_prefix(std::min(end + 1, again_.size()));
        last_line_ = ++line_;
    }

    void take_line(std::string_view text, bool is_cut) {
        bool quoted = false, comment = false;
        is_plain_ = is_plain_ && !text.starts_with('$');
        for (std::size_t i = 0; i < text.size() && !comment; ++i) {
            char c = text[i];
            if (c == '\\') ++i;
            if (c == '"') quoted = !quoted;
            if (quoted || c == '"') {
                is_plain_ = false;
                continue;
            }
            comment = c == ';';
            open_ += c == '(' ? 1 : c == ')' ? -1 : 0;
            is_plain_ = is_plain_ && !comment && c != '(' && c != ')';
        }
        is_whole_ = (!is_cut || comment) && entry_.size() + text.size() <= longest;
        if (!entry_.empty()) entry_ += '\n';
        entry_ += text;
    }

    static constexpr std::size_t longest = LDNS_MAX_LINELEN; ///< of an entry that ldns takes

    Lines lines_;
    std::string entry_;
    std::string behind_;     ///< what a parenthesis joined that is not closed,
    std::string_view again_; ///< and what is left to read of it again
    int line_ = 0, last_line_ = 0;
    int open_ = 0; ///< parentheses
    bool is_plain_ = true;
    bool is_whole_ = true;
    bool is_owned_ = true; ///< ldns takes the origin in front of the first owner
    bool is_lost_ = false; ///< the origin is not known
    std::uint32_t ttl_ = 3600;
    ldns_rdf* origin_;
    ldns_rdf* previous_ = nullptr;
};

/// What is wrong with a record that ldns took; empty: nothing.
std::string fault_of(const ldns_rr* record) {
    if (!is_sound(record)) return "rdata or names that are none";
    bool is_data = ldns_rr_get_class(record) == LDNS_RR_CLASS_IN &&
                   dataplane::is_data_type(std::uint16_t(ldns_rr_get_type(record)));
    return is_data ? "" : "a class or type that is none";
}

} // namespace

Result read_policy_zone(const Config::BlockList& list, std::FILE* file, unsigned source, Builder& names,
                        std::size_t most) {
    MasterFile in(file);
    auto error = [&](std::string expected, std::string found) {
        return tl::unexpected(ConfigError{list.file, in.line(), "", std::move(expected), std::move(found)});
    };
    PolicyZone zone(list, source, names);
    while (in.next()) {
        RecordHandle record;
        ldns_status status = in.parse(record);
        if (status == LDNS_STATUS_OK && !record) continue;
        std::string wrong = in.is_directive()                     ? "a directive that is not done here"
                            : status == LDNS_STATUS_SYNTAX_ORIGIN ? "below an origin that is none"
                            : in.is_open()                        ? "a parenthesis that stays open"
                            : status == LDNS_STATUS_OK            ? fault_of(record.get())
                                                                  : ldns_get_errorstr_by_id(status);
        if (!wrong.empty()) {
            if (!zone.has_begun()) return error("the SOA of a response policy zone", wrong);
            if (in.last_line() > in.line()) wrong += fmt::format(", up to line {}", in.last_line());
            zone.result().skip(in.line(), fmt::format("no record ({})", wrong), in.text());
            continue;
        }
        if (zone.has_begun())
            zone.add(std::move(record), in.line());
        else if (!zone.begin(record))
            return error("the SOA of a response policy zone", "another record");
        if (zone.records() > most) return error(fmt::format("at most {} records", most), "more");
        if (names.is_full()) return error(no_room, "more");
    }
    zone.finish();
    if (names.is_full()) return error(no_room, "more");
    return std::move(zone.result());
}

} // namespace millrace::control
