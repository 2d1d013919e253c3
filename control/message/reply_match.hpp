// The accept filter: whether a message that came in on an exchange's socket is the reply to its query
// (dataplane/RULES.md, replies of upstreams; RFC 5452 9.1). The socket is connected, so the addresses and
// ports are right already.
#pragma once

#include <cstdint>
#include <span>

namespace millrace::control {

enum class ReplyMatch : std::uint8_t {
    reply,      ///< ID, question to the octet, class and type are right: QR=1, opcode 0, QDCOUNT=1
    truncated,  ///< the same with TC=1; also the right ID and TC=1 without any question
    wrong_case, ///< right but for the letter case of the name
    wrong_id,   ///< the right question in any letter case, with another ID
    other,      ///< a reply to another question
    no_edns,    ///< right ID, no question, FORMERR, NOTIMP or BADVERS: it may not understand the OPT
    no_reply,   ///< not a reply with one question, nor one of the two kinds that may come without
};

/// Compares what came with the query that was sent. Reads nothing behind the question, but of a reply that
/// has none an OPT. Such replies, which some servers send, are only as good as their ID and port: neither
/// kind is an answer, both mean that the question is asked again in another way.
ReplyMatch match_reply(std::span<const std::uint8_t> query, std::span<const std::uint8_t> message);

} // namespace millrace::control
