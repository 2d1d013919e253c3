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
    Query::parse(message.octets, message.transport, query);
    if (query.action == Query::Action::drop) {
        counters_.add(query.verdict);
        return false;
    }
    auto question = question_of(message, query);
    if (unlikely(!access_->allows(message.client))) {
        if (may_send_error(message)) reply = refuse(query, question, out);
        return false;
    }
    if (unlikely(access_->limits().queries > 0) && !within_queries(message, query, out, reply)) return false;
    if (query.action == Query::Action::look_up) {
        if (routes_) query.key.group = routes_->group_of(query.key.name.bytes(), query.key.qtype);
        query.key.set_dns64(access_->dns64_of(message.client, query.key));
        return !answer_here(message, query, out, reply);
    }
    if (query.action == Query::Action::chaos && answer_chaos(message, query, out, reply)) return false;
    if (is_error(unsigned(query.rcode)) && !may_send_error(message)) return false;
    reply = answer::write(query, question, out);
    counters_.add(Verdict::answered);
    return false;
}

/// False: the client's prefix asks too much. Then there is a reply, or the drop is counted.
bool Gate::within_queries(const Message& message, const Query& query, std::span<std::uint8_t> out,
                          std::size_t& reply) {
    bool tcp = message.transport == Transport::tcp;
    std::uint64_t prefix = access_->prefix_of(message.client);
    auto taken = access_->takes_query(prefix, tcp, message.now);
    if (likely(within(taken, Event::rate_queries, Event::dry_queries))) return true;
    auto question = question_of(message, query);
    if (tcp) {
        reply = refuse(query, question, out);
    } else if (query.action != Query::Action::reply && slips(prefix)) { // an error would be one over TCP too
        reply = answer::write_truncated(query.head, question, out);
        counters_.add(Verdict::answered);
    } else {
        counters_.add(Verdict::drop_rate);
    }
    return false;
}

/// Counts what is over a limit as `over`, or in a dry run as `dry`: then it is let pass.
bool Gate::within(Access::Taken taken, Event over, Event dry) {
    if (unlikely(taken == Access::Taken::displacing)) counters_.add(Event::rate_table_full);
    if (likely(taken != Access::Taken::no)) return true;
    bool is_dry = access_->limits().dry_run;
    counters_.add(is_dry ? dry : over);
    return is_dry;
}

/// Of what is over a limit: whether it gets TC=1. Of one prefix every `slip`-th, so that nobody who sends in
/// the name of others can see to it that they get none.
bool Gate::slips(std::uint64_t prefix) {
    unsigned slip = access_->limits().slip;
    std::uint8_t& over = over_[prefix % over_.size()];
    if (slip == 0 || ++over < slip) return false;
    over = 0;
    counters_.add(Event::slipped);
    return true;
}

std::size_t Gate::refuse(const Query& query, std::span<const std::uint8_t> question,
                         std::span<std::uint8_t> out) {
    counters_.add(Verdict::refused);
    return answer::write_refused(query.head, question, out);
}

/// False: counted as dropped.
bool Gate::may_send_error(const Message& message) {
    if (likely(access_->limits().errors == 0) || message.transport == Transport::tcp) return true;
    auto taken = access_->takes_error(access_->prefix_of(message.client), message.now);
    if (within(taken, Event::rate_errors, Event::dry_errors)) return true;
    counters_.add(Verdict::drop_rate);
    return false;
}

/// False: the query is refused as any other of its class.
bool Gate::answer_chaos(const Message& message, Query& query, std::span<std::uint8_t> out,
                        std::size_t& reply) {
    const cache::Entry* text = local_ ? local_->chaos(query.key.name.bytes(), query.key.qtype) : nullptr;
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
    bool is_translators = query.key.dns64() > 0 && query.key.qtype == dns::type_ptr;
    if (!local_ || is_translators) return false; // its prefix may lie in a special-use zone
    auto match = local_->find(query.key.name.bytes());
    if (likely(!match)) return false;
    const cache::Entry* entry = local_->answer(*match, query.key.qtype);
    if (!entry) return false;
    counters_.add(local_->is_blocked(*match) ? Event::blocked : Event::local);
    send_local(message, query, *entry, match->above, local_->info(*match), out, reply);
    return true;
}

/// Over UDP it counts as an answer like any other.
void Gate::send_local(const Message& message, const Query& query, const cache::Entry& entry,
                      std::uint8_t above, std::uint16_t info, std::span<std::uint8_t> out,
                      std::size_t& reply) {
    auto question = question_of(message, query);
    Flow flow = Flow::send;
    if (unlikely(access_->limits().responses > 0) && message.transport == Transport::udp) {
        cache::Hash hash = cache::keyed_hash(query.key.bytes());
        flow = this->flow(charge_of(message.client, query, hash), entry, message.now);
    }
    if (flow == Flow::drop) return counters_.add(Verdict::drop_rate);
    reply = flow == Flow::slip ? answer::write_truncated(query.head, question, out)
                               : answer::write_local(query.head, question, entry, above, info, out);
    counters_.add(Verdict::answered);
}

Gate::Charge Gate::charge_of(const Address& client, const Query& query, cache::Hash hash) const {
    const RateLimits& limits = access_->limits();
    if (likely(limits.responses == 0 && limits.errors == 0)) return {};
    auto name = query.key.name.bytes();
    auto parent = name.subspan(name[0] == 0 ? 0 : 1u + name[0]);
    return {access_->prefix_of(client), hash, cache::keyed_hash(parent)};
}

Gate::Flow Gate::flow(const Charge& charge, const cache::Entry& answer, Time now) {
    if (likely(charge.prefix == 0)) return Flow::send;
    if (is_error(answer.rcode)) {
        auto taken = access_->takes_error(charge.prefix, now);
        return within(taken, Event::rate_errors, Event::dry_errors) ? Flow::send : Flow::drop;
    }
    bool denied = answer.rcode == unsigned(Rcode::nxdomain);
    std::uint64_t kind = denied ? charge.denial : charge.answer;
    auto taken = access_->takes_response(charge.prefix, kind, now);
    if (within(taken, Event::rate_responses, Event::dry_responses)) return Flow::send;
    return slips(charge.prefix) ? Flow::slip : Flow::drop;
}

} // namespace millrace::dataplane
