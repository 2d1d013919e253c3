// From an Answer to the prebuilt Entry that workers send.
//
// Basic algorithm: list the records with the section and the TTL each will have; their lowest TTL is the life
// of the Entry; they are written behind the question, compressed (RecordWriter).
#include "control/message/entry_build.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory_resource>

#include "cache/dns.hpp"
#include "control/message/ldns_handle.hpp"
#include "control/message/record_writer.hpp"

namespace millrace::control {

namespace {

constexpr int prefetch_part = 10; // a hit in the last tenth of a life asks for a refresh

struct Planned {
    const ldns_rr* record;
    ldns_pkt_section section;
    std::uint32_t ttl;
};

std::uint32_t whole_seconds(Time time) {
    return std::uint32_t(
        std::clamp<std::int64_t>(std::chrono::floor<std::chrono::seconds>(time).count(), 0, dns::most_ttl));
}

/// The type whose RRset a record belongs to: a signature's is the one that it covers (RFC 4034 3.1.1).
ldns_rr_type rrset_type(const ldns_rr* record) {
    const ldns_rdf* covered =
        ldns_rr_get_type(record) == LDNS_RR_TYPE_RRSIG ? ldns_rr_rrsig_typecovered(record) : nullptr;
    return covered ? ldns_rdf2rr_type(covered) : ldns_rr_get_type(record);
}

std::uint8_t rcode_of(Kind kind) {
    return kind == Kind::nxdomain   ? LDNS_RCODE_NXDOMAIN
           : kind == Kind::yxdomain ? LDNS_RCODE_YXDOMAIN
                                    : LDNS_RCODE_NOERROR;
}

/// min(TTL, MINIMUM) of the SOA (RFC 2308 5), or the little that an answer without one gets.
std::uint32_t negative_life(const Answer& answer, const TtlPolicy& policy) {
    std::uint32_t life = whole_seconds(bare_negative_ttl);
    for (const Record& record : answer.authority) {
        if (ldns_rr_get_type(record.get()) != LDNS_RR_TYPE_SOA) continue;
        std::uint32_t minimum = ldns_rdf2native_int32(ldns_rr_rdf(record.get(), 6));
        life = std::min(ldns_rr_ttl(record.get()), minimum > dns::most_ttl ? dns::ttl_of_negative : minimum);
    }
    return std::min(life, whole_seconds(policy.negative_ttl));
}

/// What goes into the Entry, and with which TTLs.
class Plan {
  public:
    Plan(bool is_dnssec_wanted, const Answer& answer, const TtlPolicy& policy,
         std::pmr::memory_resource* memory)
        : policy_(policy), records_(memory) {
        records_.reserve(answer.chain.size() + answer.records.size() + answer.signatures.size() +
                         answer.authority.size() + answer.proofs.size());
        bool negative = answer.kind != Kind::positive && answer.kind != Kind::yxdomain;
        if (negative) life_ = negative_life(answer, policy);
        std::uint32_t authority_limit = life_;
        for (const Record& r : answer.chain) add(r, LDNS_SECTION_ANSWER, clamped(ldns_rr_ttl(r.get())));
        auto lowest = lowest_by_type(answer.records, memory);
        for (const Record& r : answer.records)
            add(r, LDNS_SECTION_ANSWER, clamped(lowest[rrset_type(r.get())]));
        if (is_dnssec_wanted) {
            for (const Record& r : answer.signatures)
                add(r, LDNS_SECTION_ANSWER, clamped(ldns_rr_ttl(r.get())));
        }
        for (const Record& r : answer.authority) add_authority(r, negative, authority_limit);
        if (!is_dnssec_wanted) return;
        for (const Record& r : answer.proofs) add_authority(r, negative, authority_limit);
    }

    std::span<const Planned> records() const { return records_; }
    std::chrono::seconds life() const { return std::chrono::seconds(life_); }

  private:
    /// After a merge the members of an RRset come from several replies; all of `records` has one owner.
    static std::pmr::map<ldns_rr_type, std::uint32_t> lowest_by_type(const std::vector<Record>& records,
                                                                     std::pmr::memory_resource* memory) {
        std::pmr::map<ldns_rr_type, std::uint32_t> lowest(memory);
        for (const Record& r : records) {
            auto [at, fresh] = lowest.emplace(rrset_type(r.get()), ldns_rr_ttl(r.get()));
            if (!fresh) at->second = std::min(at->second, ldns_rr_ttl(r.get()));
        }
        return lowest;
    }

    std::uint32_t clamped(std::uint32_t ttl) const {
        return std::min(std::max(ttl, whole_seconds(policy_.min_ttl)), whole_seconds(policy_.max_ttl));
    }

    void add(const Record& record, ldns_pkt_section section, std::uint32_t ttl) {
        life_ = std::min(life_, ttl);
        records_.push_back({record.get(), section, ttl});
    }

    void add_authority(const Record& record, bool is_negative, std::uint32_t limit) {
        std::uint32_t ttl = ldns_rr_ttl(record.get());
        bool is_soas = rrset_type(record.get()) == LDNS_RR_TYPE_SOA;
        add(record, LDNS_SECTION_AUTHORITY,
            !is_negative ? clamped(ttl)
            : is_soas    ? limit
                         : std::min(ttl, limit));
    }

    const TtlPolicy& policy_;
    std::pmr::vector<Planned> records_;
    std::uint32_t life_ = dns::most_ttl; ///< seconds, the lowest TTL
};

/// How many addresses end the records, each of `octets`. None when they are followed by anything.
std::uint8_t rotating(const RecordWriter& writer, std::size_t addresses, std::size_t octets) {
    constexpr std::size_t ttl_at = 6; // behind a pointer, type and class
    auto offsets = writer.ttl_offsets();
    if (addresses < 2 || addresses > 255 || writer.records().size() < addresses * octets) return 0;
    for (std::size_t i = 1; i <= addresses; ++i) {
        if (offsets[offsets.size() - i] != writer.records().size() - i * octets + ttl_at) return 0;
    }
    return std::uint8_t(addresses);
}

} // namespace

cache::EntryPtr build_entry(const cache::Key& key, const Answer& answer, cache::Version version,
                            const TtlPolicy& policy, std::optional<Time> latest_expiry) {
    assert(answer.kind != Kind::failure);
    std::array<std::byte, 2048> room; // of an answer of the usual size, with all that it is made of
    std::pmr::monotonic_buffer_resource memory(room.data(), room.size());
    Plan plan(key.flavour & cache::dnssec_ok, answer, policy, &memory);
    std::uint32_t ceiling = latest_expiry ? whole_seconds(*latest_expiry - answer.received) : dns::most_ttl;
    RecordWriter writer(key, plan.records().size(), &memory);
    for (const Planned& planned : plan.records()) writer.add(planned.record, std::min(planned.ttl, ceiling));
    if (!writer.ok()) return nullptr;
    auto in_answer = [](const Planned& planned) { return planned.section == LDNS_SECTION_ANSWER; };

    cache::EntryDraft draft;
    draft.version = version;
    draft.source = answer.source;
    draft.rcode = rcode_of(answer.kind);
    draft.authentic = answer.authentic && answer.is_trusted;
    draft.born = answer.received;
    draft.expiry = answer.received + plan.life();
    if (latest_expiry) draft.expiry = std::max(draft.born, std::min(draft.expiry, *latest_expiry));
    // TTL 0 is for those who wait for it and nobody later, not even when nothing better is to be had.
    draft.stale_until = plan.life().count() == 0 ? draft.expiry : draft.expiry + policy.stale;
    if (answer.stale_until) {
        draft.stale_until = std::clamp(*answer.stale_until, draft.expiry, draft.stale_until);
    }
    draft.chained = std::ranges::any_of(answer.chain, is_cname);
    plan_refresh(draft, policy);
    draft.rewritten = answer.is_rewritten;
    draft.crossed = answer.is_crossed;
    if (answer.info) {
        draft.info = answer.info->code;
        draft.info_text = answer.info->text;
    }
    draft.answers = std::uint16_t(std::ranges::count_if(plan.records(), in_answer));
    draft.authorities = std::uint16_t(plan.records().size() - draft.answers);
    draft.records = writer.records();
    draft.ttl_offsets = writer.ttl_offsets();
    draft.rotates_ipv6 = key.qtype == LDNS_RR_TYPE_AAAA;
    bool rotates = policy.rotate && (key.qtype == LDNS_RR_TYPE_A || draft.rotates_ipv6);
    if (rotates && version.revision < 2 && !answer.is_in_order) { // a ranking's order stays
        draft.rotating = rotating(writer, answer.records.size(), draft.rotates_ipv6 ? 28 : 16);
    }
    return cache::Entry::make(draft);
}

cache::EntryPtr build_failure(cache::Version version, Time now, Time expiry, const ExtendedError& info,
                              bool is_crossed) {
    cache::EntryDraft draft;
    draft.crossed = is_crossed;
    draft.version = version;
    draft.rcode = LDNS_RCODE_SERVFAIL;
    draft.failure = true;
    draft.info = info.code;
    draft.info_text = info.text;
    draft.born = now;
    draft.expiry = draft.stale_until = expiry;
    return cache::Entry::make(draft);
}

void plan_refresh(cache::EntryDraft& draft, const TtlPolicy& policy) {
    draft.stale_at_once = policy.stale_at_once && !draft.chained; // control looks what is behind a chain
    if (policy.prefetch == 0) return;
    draft.refresh_after = draft.expiry - (draft.expiry - draft.born) / prefetch_part;
    draft.quiet_hits = std::uint8_t(policy.prefetch - 1);
}

Record with_ttl(const Record& record, std::uint32_t ttl) {
    RecordHandle copy(ldns_rr_clone(record.get()));
    if (copy) ldns_rr_set_ttl(copy.get(), ttl);
    return copy;
}

} // namespace millrace::control
