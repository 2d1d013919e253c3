// parse_reply: what is kept of a reply (dataplane/RULES.md, what is kept of a reply).
//
// Basic algorithm: read the structure of the whole message; walk from the question's name along CNAMEs to the
// end of the chain, taking one RRset at a time; take the asked RRset there, or else the SOA that encloses
// that end. What was not taken is never looked at again.
#include "control/message/reply.hpp"

#include <algorithm>
#include <set>

#include "cache/dns.hpp"
#include "cache/wire.hpp"
#include "control/limits.hpp"
#include "control/message/records.hpp"

namespace millrace::control {

namespace {

using Octets = std::vector<std::uint8_t>;
using Section = std::vector<RecordView>;

constexpr unsigned proof_limit = 32; // RRsets of NSEC and NSEC3 kept

std::uint32_t sane_ttl(std::uint32_t ttl) {
    return ttl > dns::most_ttl ? dns::ttl_of_negative : ttl;
}

bool is_proof(std::uint16_t type) {
    return type == LDNS_RR_TYPE_NSEC || type == LDNS_RR_TYPE_NSEC3;
}

/// The name of the first record of an RRset, folded, out of its rdata (a CNAME's or a DNAME's target).
std::optional<cache::Name> target_of(const MessageView& message, const RecordView& view) {
    auto rdata = canonical_rdata(message, view);
    if (!rdata) return std::nullopt;
    cache::WireReader in(*rdata);
    cache::Name target;
    if (!cache::read_name(in, target) || in.remaining() != 0) return std::nullopt;
    return target;
}

/// What a DNAME `owner` -> `target` makes of `from`, a name below `owner` (RFC 6672 2.2). None: a name that
/// is too long.
std::optional<cache::Name> rewritten(const cache::Name& from, const cache::Name& owner,
                                     const cache::Name& target) {
    auto prefix = from.bytes().first(std::size_t(from.size - owner.size));
    if (prefix.size() + target.size > cache::limits::name_octets) return std::nullopt;
    cache::Name to;
    to.size = std::uint8_t(prefix.size() + target.size);
    auto end = std::ranges::copy(prefix, to.octets.begin()).out;
    std::ranges::copy(target.bytes(), end);
    return to;
}

class ReplyParser {
  public:
    ReplyParser(const MessageView& message, const cache::Key& key, unsigned max_rrset)
        : message_(message), key_(key), max_rrset_(max_rrset) {}

    tl::expected<Answer, ReplyError> run() {
        classify_flags();
        if (answer_.kind == Kind::failure) return std::move(answer_);
        follow_chain();
        if (answer_.rcode == LDNS_RCODE_NOERROR && !error_) take_asked();
        if (answer_.records.empty() && answer_.kind != Kind::yxdomain && !error_) take_soa();
        if ((wildcard_ || !answer_.authority.empty()) && !error_) take_proofs();
        if (error_) return tl::make_unexpected(*error_);
        decide_kind();
        return std::move(answer_);
    }

  private:
    void classify_flags() {
        answer_.rcode = std::uint8_t(std::min(message_.rcode, 255u));
        answer_.authentic = message_.flags & dns::authentic_data;
        answer_.is_scoped = message_.is_scoped;
        answer_.has_opt = message_.has_opt;
        answer_.info = message_.info;
        bool usable = message_.rcode == LDNS_RCODE_NOERROR || message_.rcode == LDNS_RCODE_NXDOMAIN ||
                      message_.rcode == LDNS_RCODE_YXDOMAIN;
        answer_.kind = usable ? Kind::incomplete : Kind::failure;
        auto is_rrsig = [](const RecordView& view) { return view.type == LDNS_RR_TYPE_RRSIG; };
        answer_.is_signed = std::ranges::any_of(message_.answer, is_rrsig) ||
                            std::ranges::any_of(message_.authority, is_rrsig);
    }

    void decide_kind() {
        if (answer_.kind == Kind::yxdomain) return;
        if (answer_.rcode == LDNS_RCODE_YXDOMAIN) { // nothing here makes the name too long
            answer_.kind = Kind::failure;
            for (auto* part : {&answer_.chain, &answer_.records, &answer_.authority, &answer_.signatures,
                               &answer_.proofs}) {
                part->clear();
            }
        } else if (answer_.rcode == LDNS_RCODE_NXDOMAIN) {
            answer_.kind = Kind::nxdomain;
        } else if (!answer_.records.empty()) {
            answer_.kind = Kind::positive;
        } else {
            answer_.kind = has_soa_ ? Kind::nodata : is_referral() ? Kind::failure : Kind::incomplete;
        }
    }

    /// To other servers, of no use to who asked for an answer (RFC 2308 2.2).
    bool is_referral() const {
        auto is_ns = [&](const RecordView& view) { return view.type == LDNS_RR_TYPE_NS; };
        return answer_.chain.empty() && std::ranges::any_of(message_.authority, is_ns);
    }

    const RecordView* find(const Section& section, const cache::Name& owner, std::uint16_t type) const {
        auto found = std::ranges::find_if(section, [&](const RecordView& view) {
            return view.type == type && view.rclass == key_.qclass && view.owner == owner;
        });
        return found == section.end() ? nullptr : &*found;
    }

    void follow_chain() {
        end_ = key_.name;
        if (key_.qtype == LDNS_RR_TYPE_CNAME) return take_dname_of_asked();
        std::vector<cache::Name> visited;
        while (!error_ && key_.qtype != LDNS_RR_TYPE_ANY && !find(message_.answer, end_, key_.qtype)) {
            auto target = take_step();
            if (!target) return;
            visited.push_back(end_);
            if (std::ranges::find(visited, *target) != visited.end()) return fail(ReplyError::chain_loop);
            if (visited.size() > limits::chain) return fail(ReplyError::chain_length);
            end_ = *target;
        }
    }

    /// Where `end_` leads to, by a CNAME or, without one, by a DNAME above. None: nowhere.
    std::optional<cache::Name> take_step() {
        const RecordView* alias = find(message_.answer, end_, LDNS_RR_TYPE_CNAME);
        if (!alias) return synthesise(answer_.chain);
        auto target = target_of(message_, *alias);
        if (!target) return malformed();
        take_dname_of(*target);
        // A second CNAME beside the first is an error of its zone; the first is followed, the second dropped.
        take(answer_.chain, message_.answer, {alias});
        return target;
    }

    /// A CNAME that was asked for may be made of a DNAME too; without it no validator believes it.
    void take_dname_of_asked() {
        if (answer_.rcode == LDNS_RCODE_NXDOMAIN) return;
        const RecordView* alias = find(message_.answer, end_, LDNS_RR_TYPE_CNAME);
        if (!alias) {
            synthesise(answer_.records);
            return;
        }
        auto target = target_of(message_, *alias);
        target ? take_dname_of(*target) : fail(ReplyError::malformed);
    }

    /// Only one can be above a name (RFC 6672 2.4).
    const RecordView* dname_above() const {
        auto encloses = [&](const RecordView& view) {
            return view.type == LDNS_RR_TYPE_DNAME && view.rclass == key_.qclass && view.owner != end_ &&
                   cache::is_at_or_below(end_.bytes(), view.owner.bytes());
        };
        auto found = std::ranges::find_if(message_.answer, encloses);
        return found == message_.answer.end() ? nullptr : &*found;
    }

    /// The DNAME that the CNAME from `end_` to `to` was made of.
    void take_dname_of(const cache::Name& to) {
        const RecordView* dname = dname_above();
        if (!dname) return;
        auto target = target_of(message_, *dname);
        if (!target) return fail(ReplyError::malformed);
        if (rewritten(end_, dname->owner, *target) == to) take_dname(*dname);
    }

    /// The DNAME above `end_` goes into the chain, and the CNAME that it makes to `out` (RFC 6672 3.1, 3.4).
    std::optional<cache::Name> synthesise(std::vector<Record>& out) {
        const RecordView* dname = dname_above();
        if (!dname) return std::nullopt;
        auto target = target_of(message_, *dname);
        if (!target) return malformed();
        const ldns_rr* taken = take_dname(*dname);
        if (!taken) return std::nullopt;
        auto to = rewritten(end_, dname->owner, *target);
        if (!to) {
            answer_.kind = Kind::yxdomain;
            answer_.rcode = LDNS_RCODE_YXDOMAIN;
            return std::nullopt;
        }
        Record cname = make_cname(end_, *to, ldns_rr_ttl(taken));
        if (!cname) return malformed();
        out.push_back(std::move(cname));
        return to;
    }

    /// Puts it into the chain, once, though it may make several names of it. Null: an error.
    const ldns_rr* take_dname(const RecordView& dname) {
        auto at = std::ranges::find_if(answer_.chain, [&](const Record& r) {
            return ldns_rr_get_type(r.get()) == LDNS_RR_TYPE_DNAME &&
                   name_of(ldns_rr_owner(r.get())) == dname.owner;
        });
        if (at != answer_.chain.end()) return at->get();
        std::size_t place = answer_.chain.size();
        take(answer_.chain, message_.answer, {&dname});
        return error_ ? nullptr : answer_.chain[place].get();
    }

    void take_asked() {
        if (key_.qtype != LDNS_RR_TYPE_ANY)
            return take_rrset(answer_.records, message_.answer, end_, key_.qtype);
        std::set<std::uint16_t> types;
        for (const RecordView& view : message_.answer) {
            if (view.type == LDNS_RR_TYPE_RRSIG) continue; // come with what they sign
            if (view.rclass == key_.qclass && view.owner == end_) types.insert(view.type);
        }
        for (std::uint16_t type : types) {
            auto& out = is_proof(type) ? answer_.signatures : answer_.records;
            take_rrset(out, message_.answer, end_, type);
        }
    }

    void take_soa() {
        for (const RecordView& view : message_.authority) {
            if (view.type != LDNS_RR_TYPE_SOA || view.rclass != key_.qclass) continue;
            if (!cache::is_at_or_below(end_.bytes(), view.owner.bytes())) continue;
            has_soa_ = true;
            return take(answer_.authority, message_.authority, {&view});
        }
    }

    void take_proofs() {
        std::vector<const RecordView*> taken;
        for (const RecordView& view : message_.authority) {
            if (!is_proof(view.type) || view.rclass != key_.qclass) continue;
            bool seen = std::ranges::any_of(
                taken, [&](const RecordView* t) { return t->type == view.type && t->owner == view.owner; });
            if (seen || taken.size() == proof_limit) continue;
            taken.push_back(&view);
            take_rrset(answer_.proofs, message_.authority, view.owner, view.type);
        }
    }

    void take_rrset(std::vector<Record>& out, const Section& section, const cache::Name& owner,
                    std::uint16_t type) {
        std::vector<const RecordView*> members;
        for (const RecordView& view : section) {
            if (view.type == type && view.rclass == key_.qclass && view.owner == owner)
                members.push_back(&view);
        }
        if (!members.empty()) take(out, section, std::move(members));
    }

    /// Appends the RRset, and its signatures to those of the section, all with the lowest TTL among them.
    void take(std::vector<Record>& out, const Section& section, std::vector<const RecordView*> members) {
        bool is_optional = &out == &answer_.signatures || &out == &answer_.proofs;
        members = distinct(std::move(members), std::size_t(max_rrset_) + 1, is_optional);
        if (members.size() > max_rrset_) return fail(ReplyError::rrset_size);
        if (members.empty()) return;
        std::vector<const RecordView*> signatures;
        if (!error_ && members.front()->type != LDNS_RR_TYPE_RRSIG) {
            signatures = distinct(signatures_over(section, *members.front()), limits::rrsigs, true);
        }
        std::uint32_t ttl = dns::most_ttl;
        for (const auto* views : {&members, &signatures}) {
            for (const RecordView* view : *views) ttl = std::min(ttl, sane_ttl(view->ttl));
        }
        append(out, members, ttl, is_optional);
        append(&section == &message_.answer ? answer_.signatures : answer_.proofs, signatures, ttl, true);
    }

    /// What is optional and malformed is left out: only who validates misses it.
    void append(std::vector<Record>& out, const std::vector<const RecordView*>& views, std::uint32_t ttl,
                bool is_optional) {
        for (const RecordView* view : views) {
            if (Record record = make_record(message_, *view, ttl)) {
                out.push_back(std::move(record));
            } else if (!is_optional) {
                fail(ReplyError::malformed);
            }
        }
    }

    std::vector<const RecordView*> signatures_over(const Section& section, const RecordView& covered) {
        std::vector<const RecordView*> found;
        for (const RecordView& view : section) {
            if (view.type != LDNS_RR_TYPE_RRSIG || view.rclass != covered.rclass ||
                view.owner != covered.owner)
                continue;
            cache::WireReader rdata(message_.octets.subspan(view.rdata_at, view.rdata_size));
            bool ours = rdata.u16() == covered.type;
            rdata.skip(1);
            unsigned labels = rdata.u8();
            if (!rdata.ok() || !ours) continue;
            found.push_back(&view);
            wildcard_ = wildcard_ || labels < label_count(covered.owner);
        }
        return found;
    }

    /// RFC 4034 3.1.3: neither the root nor a leading asterisk counts.
    static unsigned label_count(const cache::Name& name) {
        unsigned count = 0;
        for (std::size_t at = 0; name.octets[at] != 0; at += 1u + name.octets[at]) ++count;
        bool asterisk = name.octets[0] == 1 && name.octets[1] == '*';
        return count - asterisk;
    }

    std::vector<const RecordView*> distinct(std::vector<const RecordView*> views, std::size_t limit,
                                            bool is_optional) {
        if (views.size() == 1 && !is_optional) return views; // whether it is malformed append() finds out
        std::set<Octets> seen;
        std::vector<const RecordView*> kept;
        for (const RecordView* view : views) {
            if (kept.size() == limit) break;
            auto rdata = canonical_rdata(message_, *view);
            if (!rdata && !is_optional) fail(ReplyError::malformed);
            if (rdata && seen.insert(std::move(*rdata)).second) kept.push_back(view);
        }
        return kept;
    }

    void fail(ReplyError error) {
        if (!error_) error_ = error;
    }
    std::nullopt_t malformed() {
        fail(ReplyError::malformed);
        return std::nullopt;
    }

    const MessageView& message_;
    const cache::Key& key_;
    unsigned max_rrset_;
    Answer answer_;
    cache::Name end_;       ///< where the chain ends
    bool wildcard_ = false; ///< some kept signature is of a wildcard's expansion (RFC 4035 3.1.3.3)
    bool has_soa_ = false;
    std::optional<ReplyError> error_;
};

} // namespace

tl::expected<Answer, ReplyError> parse_reply(std::span<const std::uint8_t> reply, const cache::Key& key,
                                             unsigned upstream, Time received, unsigned max_rrset) {
    auto question = read_message(reply);
    if (!question) return tl::make_unexpected(ReplyError::malformed);
    if (question->qname != key.name || question->qtype != key.qtype || question->qclass != key.qclass) {
        return tl::make_unexpected(ReplyError::not_asked);
    }
    // Names point back into the question, whose letter case was drawn at random: with the folded one in its
    // place the noise does not get into the cache. The offsets stay.
    Octets octets(reply.begin(), reply.end());
    std::ranges::copy(key.name.bytes(), octets.begin() + dns::header_octets);
    question->octets = octets;
    auto answer = ReplyParser(*question, key, max_rrset).run();
    if (answer) {
        answer->upstream = upstream;
        answer->received = received;
    }
    return answer;
}

std::string_view to_string(ReplyError error) {
    switch (error) {
    case ReplyError::malformed: return "malformed";
    case ReplyError::not_asked: return "another question's";
    case ReplyError::chain_loop: return "CNAME chain in a circle";
    case ReplyError::chain_length: return "CNAME chain too long";
    case ReplyError::rrset_size: return "RRset above max-rrset";
    }
    return "unknown";
}

} // namespace millrace::control
