#include "cache/entry.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

namespace millrace::cache {

Entry::Entry(const EntryDraft& draft)
    : version(draft.version), born(draft.born), expiry(draft.expiry), stale_until(draft.stale_until),
      records_size(std::uint16_t(draft.records.size())), ttl_count(std::uint16_t(draft.ttl_offsets.size())),
      answers(draft.answers), authorities(draft.authorities), info(draft.info.value_or(no_info)),
      rcode(draft.rcode), info_size(std::uint8_t(draft.info_text.size())), authentic(draft.authentic),
      chained(draft.chained), rewritten(draft.rewritten), crossed(draft.crossed), failure(draft.failure),
      rotates_ipv6(draft.rotates_ipv6), stale_at_once(draft.stale_at_once), derived(draft.source > 0),
      rotating(draft.rotating), quiet_hits(draft.quiet_hits),
      refresh_after(draft.refresh_after.value_or(draft.expiry).count()) {
    auto* offsets = reinterpret_cast<std::uint16_t*>(this + 1);
    if (ttl_count) std::memcpy(offsets, draft.ttl_offsets.data(), draft.ttl_offsets.size_bytes());
    auto* octets = reinterpret_cast<std::uint8_t*>(offsets + ttl_count);
    if (records_size) std::memcpy(octets, draft.records.data(), draft.records.size());
    if (info_size) std::memcpy(octets + records_size, draft.info_text.data(), draft.info_text.size());
    if (derived) std::memcpy(octets + records_size + info_size, &draft.source, sizeof draft.source);
}

EntryPtr Entry::make(const EntryDraft& draft) {
    if (draft.records.size() > limits::message_octets || draft.info_text.size() > limits::info_octets)
        return nullptr;
    std::size_t bytes = sizeof(Entry) + draft.ttl_offsets.size_bytes() + draft.records.size() +
                        draft.info_text.size() + (draft.source > 0 ? sizeof draft.source : 0);
    void* memory = std::malloc(bytes);
    return EntryPtr(memory ? new (memory) Entry(draft) : nullptr);
}

EntryPtr Entry::copy(const Entry& fresh) {
    void* memory = std::malloc(fresh.octets());
    if (memory) std::memcpy(memory, &fresh, fresh.octets()); // plain data, and nobody writes the hints yet
    return EntryPtr(static_cast<const Entry*>(memory));
}

void EntryDeleter::operator()(const Entry* entry) const {
    entry->~Entry();
    std::free(const_cast<Entry*>(entry));
}

} // namespace millrace::cache
