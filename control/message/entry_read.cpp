#include "control/message/entry_read.hpp"

#include <vector>

#include "cache/dns.hpp"
#include "cache/limits.hpp"
#include "control/message/reply.hpp"
#include "dataplane/answer.hpp"

namespace millrace::control {

namespace {

/// What a reply to `key`, as `write` writes it, says.
template <class Write>
std::optional<Answer> read_back(const cache::Key& key, std::size_t records_size, Time now, Write write) {
    constexpr std::size_t room_for_opt = dns::opt_octets + 5;
    dataplane::Head head;
    head.question_size = std::uint16_t(key.name.size + 4);
    head.limit = cache::limits::message_octets;
    std::vector<std::uint8_t> question(key.name.bytes().begin(), key.name.bytes().end());
    for (unsigned value : {key.qtype >> 8, key.qtype & 255, key.qclass >> 8, key.qclass & 255}) {
        question.push_back(std::uint8_t(value));
    }
    std::vector<std::uint8_t> message(dns::header_octets + question.size() + records_size + room_for_opt);
    message.resize(write(head, question, message));
    // What was kept once is kept again, whatever was configured then.
    constexpr unsigned any_rrset = cache::limits::message_octets;
    auto answer = parse_reply(message, key, 0, now, any_rrset);
    return answer ? std::optional(std::move(*answer)) : std::nullopt;
}

} // namespace

std::optional<Answer> read_entry(const cache::Key& key, const cache::Entry& entry, Time now) {
    auto write = [&](const auto& head, const auto& question, auto& out) {
        return dataplane::answer::write(head, question, entry, now, dataplane::answer::Age::counted, out);
    };
    auto answer = read_back(key, entry.records_size, now, write);
    if (answer) answer->is_crossed = entry.crossed;
    if (answer) answer->is_in_order = entry.rotating == 0;
    return answer;
}

std::optional<Answer> read_local_entry(const cache::Key& key, const cache::Entry& entry, std::uint8_t above,
                                       Time now) {
    return read_back(key, entry.records_size, now, [&](const auto& head, const auto& question, auto& out) {
        return dataplane::answer::write_local(head, question, entry, above, cache::Entry::no_info, out);
    });
}

} // namespace millrace::control
