// libFuzzer: a client's message through Query::parse and whatever reply follows from it.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "dataplane/answer.hpp"
#include "tests/fuzz/work.hpp"
#include "tests/support/entries.hpp"

using namespace millrace;
using namespace millrace::dataplane;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

/// What must hold of every reply: our header, the client's ID, the question as sent, within its limit.
void check(const Query& query, const std::vector<std::uint8_t>& message,
           const std::vector<std::uint8_t>& reply, std::size_t size) {
    require(size >= dns::header_octets + query.head.question_size);
    require(size <= std::max<std::size_t>(query.head.limit, 512));
    require(reply[0] == message[0] && reply[1] == message[1] && (reply[2] & 0x80));
    require(reply[10] == 0 && reply[11] == query.head.edns); // an OPT for an OPT
    require(query.head.opcode == 0 || (reply[3] & 0x70) == 0);
    require(std::equal(reply.begin() + dns::header_octets,
                       reply.begin() + dns::header_octets + query.head.question_size,
                       message.begin() + dns::header_octets));
}

/// The reply; empty when there is none.
std::vector<std::uint8_t> reply_to(const Query& query, const std::vector<std::uint8_t>& message) {
    static const auto entry = test::entry_of({1, 0}, std::vector<std::uint8_t>(30, 1), 0s, 60s, 60s);
    if (query.action == Query::Action::drop) return {};
    std::vector<std::uint8_t> buffer = message;
    buffer.resize(std::max<std::size_t>(buffer.size(), 2048));
    std::span<const std::uint8_t> question(buffer.data() + dns::header_octets, query.head.question_size);
    std::size_t size = query.action == Query::Action::look_up
                           ? answer::write(query.head, question, *entry, 70s, answer::Age::stale, buffer)
                           : answer::write(query, question, buffer);
    check(query, message, buffer, size);
    buffer.resize(size);
    return buffer;
}

/// The same reply, whatever query was parsed into the place before.
void run(const std::vector<std::uint8_t>& message, Transport transport) {
    static Query used;
    Query fresh;
    Query::parse(message, transport, used);
    Query::parse(message, transport, fresh);
    require(reply_to(used, message) == reply_to(fresh, message));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Work work({.for_input = 20'000, .for_octet = 50}, size);
    std::vector<std::uint8_t> message(data, data + size);
    run(message, Transport::udp);
    run(message, Transport::tcp);
    return 0;
}
