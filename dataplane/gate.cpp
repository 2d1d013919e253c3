#include "dataplane/gate.hpp"

#include <rte_branch_prediction.h>

#include "dataplane/answer.hpp"

#include "cache/keyed_hash.hpp"

namespace millrace::dataplane {

namespace {

std::span<const std::uint8_t> question_of(const Gate::Message& message, const Query& query) {
    return message.octets.subspan(dns::header_octets, query.head.question_size);
}

bool is_error(unsigned rcode) {
    return rcode != unsigned(Rcode::noerror) && rcode != unsigned(Rcode::nxdomain);
}

} // namespace

bool Gate::admit(const Message& message, Query& query, std::span<std::uint8_t> out, std::size_t& reply) {
    reply = 0;
    Query::parse(message.octets, message.transport, group_, query);
    if (query.action == Query::Action::drop) {
        counters_.add(query.verdict);
        return false;
    }
    auto question = question_of(message, query);
    if (unlikely(!access_.allows(message.client))) {
        if (may_send_error(message)) reply = refuse(query, question, out);
        return false;
    }
    if (unlikely(access_.limits().queries > 0) &&
        !access_.takes_query(access_.prefix_of(message.client), message.transport == Transport::tcp,
                             message.now)) {
        counters_.add(Event::rate_queries);
        if (message.transport == Transport::tcp) {
            reply = refuse(query, question, out);
        } else {
            counters_.add(Verdict::drop_rate);
        }
        return false;
    }
    if (query.action == Query::Action::look_up) return !answer_here(message, query, out, reply);
    if (query.action == Query::Action::chaos && answer_chaos(message, query, out, reply)) return false;
    if (is_error(unsigned(query.rcode)) && !may_send_error(message)) return false;
    reply = answer::write(query, question, out);
    counters_.add(Verdict::answered);
    return false;
}

std::size_t Gate::refuse(const Query& query, std::span<const std::uint8_t> question,
                         std::span<std::uint8_t> out) {
    counters_.add(Verdict::refused);
    return answer::write_refused(query.head, question, out);
}

/// False: counted as dropped.
bool Gate::may_send_error(const Message& message) {
    if (likely(access_.limits().errors == 0) || message.transport == Transport::tcp) return true;
    if (access_.takes_error(access_.prefix_of(message.client), message.now)) return true;
    counters_.add(Event::rate_errors);
    counters_.add(Verdict::drop_rate);
    return false;
}

/// False: the query is refused as any other of its class.
bool Gate::answer_chaos(const Message& message, Query& query, std::span<std::uint8_t> out,
                        std::size_t& reply) {
    const cache::Entry* text =
        local_ ? local_->get().chaos(query.key.name.bytes(), query.key.qtype) : nullptr;
    if (!text) {
        query.action = Query::Action::reply;
        query.rcode = Rcode::refused;
        return false;
    }
    send_local(message, query, *text, 0, cache::Entry::no_info, out, reply);
    return true;
}

/// Whether a special-use zone, the operator's records or a block list have the answer.
bool Gate::answer_here(const Message& message, const Query& query, std::span<std::uint8_t> out,
                       std::size_t& reply) {
    if (!local_) return false;
    const LocalNames& local = local_->get();
    auto match = local.find(query.key.name.bytes());
    if (likely(!match)) return false;
    const cache::Entry* entry = local.answer(*match, query.key.qtype);
    if (!entry) return false;
    counters_.add(local.is_blocked(*match) ? Event::blocked : Event::local);
    send_local(message, query, *entry, match->above, local.info(*match), out, reply);
    return true;
}

/// Over UDP it counts as an answer like any other.
void Gate::send_local(const Message& message, const Query& query, const cache::Entry& entry,
                      std::uint8_t above, std::uint16_t info, std::span<std::uint8_t> out,
                      std::size_t& reply) {
    auto question = question_of(message, query);
    Flow flow = Flow::send;
    if (unlikely(access_.limits().responses > 0) && message.transport == Transport::udp) {
        cache::Hash hash = cache::keyed_hash(query.key.bytes());
        flow = this->flow(charge_of(message.client, query, hash), entry, message.now);
    }
    if (flow == Flow::drop) return counters_.add(Verdict::drop_rate);
    reply = flow == Flow::slip ? answer::write_truncated(query.head, question, out)
                               : answer::write_local(query.head, question, entry, above, info, out);
    counters_.add(Verdict::answered);
}

Gate::Charge Gate::charge_of(const Address& client, const Query& query, cache::Hash hash) const {
    const RateLimits& limits = access_.limits();
    if (likely(limits.responses == 0 && limits.errors == 0)) return {};
    auto name = query.key.name.bytes();
    auto parent = name.subspan(name[0] == 0 ? 0 : 1u + name[0]);
    return {access_.prefix_of(client), hash, cache::keyed_hash(parent)};
}

Gate::Flow Gate::flow(const Charge& charge, const cache::Entry& answer, Time now) {
    if (likely(charge.prefix == 0)) return Flow::send;
    if (is_error(answer.rcode)) {
        if (access_.takes_error(charge.prefix, now)) return Flow::send;
        counters_.add(Event::rate_errors);
        return Flow::drop;
    }
    bool denied = answer.rcode == unsigned(Rcode::nxdomain);
    if (access_.takes_response(charge.prefix, denied ? charge.denial : charge.answer, now)) return Flow::send;
    counters_.add(Event::rate_responses);
    unsigned slip = access_.limits().slip;
    if (slip == 0 || ++over_ % slip != 0) return Flow::drop;
    counters_.add(Event::slipped);
    return Flow::slip;
}

} // namespace millrace::dataplane
