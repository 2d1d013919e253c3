#include "control/upstream/server_names.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cache/dns.hpp"
#include "control/config/own_endpoints.hpp"
#include "control/limits.hpp"
#include "control/message/records.hpp"

namespace millrace::control {

using dataplane::Address;
using dataplane::Endpoint;

namespace {

constexpr Time turn = 10ms; // between two looks at what is due

std::string list_of(const std::vector<Address>& addresses) {
    std::string text;
    for (const Address& address : addresses) text += (text.empty() ? "" : ", ") + to_string(address);
    return text;
}

Time life_of(const Answer& answer) {
    Time ttl = limits::name_ttl_max;
    for (const auto* records : {&answer.chain, &answer.records}) {
        for (const Record& record : *records) {
            ttl = std::min<Time>(ttl, std::chrono::seconds(ldns_rr_ttl(record.get())));
        }
    }
    return std::max<Time>(ttl, limits::name_ttl_min);
}

} // namespace

ServerNames::ServerNames(Exchanges& exchanges, std::span<Upstreams> groups, IsOwn is_own)
    : exchanges_(exchanges), groups_(groups), is_own_(std::move(is_own)),
      fetches_(exchanges.set_listener(*this)) {
    assert(groups.size() == limits::groups);
}

ServerNames::~ServerNames() {
    exchanges_.set_listener(*fetches_);
}

void ServerNames::close(Time now) {
    for (std::size_t i = 0; i < questions_.size(); ++i) {
        for (unsigned bootstrap : std::exchange(questions_[i].asked, {})) {
            exchanges_.close(id_of(i), bootstrap, now);
        }
    }
}

void ServerNames::restart(std::span<const Config::Group> groups) {
    std::vector<Question> before = std::exchange(questions_, {});
    is_placed_ = false;
    unsettled_ = 0;
    next_ = {};
    for (unsigned group = 0; group < groups.size(); ++group) {
        unsigned place = 0;
        for (const Config::Server& server : groups[group].servers) {
            if (server.is_named()) add(groups[group], group, server, place);
            place += server.is_named() ? 2 * limits::name_addresses : 1;
        }
    }
    for (Question& question : questions_) {
        auto known = std::ranges::find_if(before, [&](const Question& q) {
            return q.group_name == question.group_name && q.key.name == question.key.name &&
                   q.key.qtype == question.key.qtype;
        });
        if (known != before.end()) question.found = std::move(known->found);
        std::erase_if(question.found, [&](const Address& address) { return is_own(question, address); });
    }
}

void ServerNames::add(const Config::Group& group, unsigned index, const Config::Server& server,
                      unsigned first) {
    for (auto type : {LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA}) {
        cache::Key key;
        key.qtype = std::uint16_t(type);
        key.qclass = dns::class_in;
        key.group = std::uint8_t(bootstrap_of(index));
        key.name = *cache::parse_name(server.name);
        auto question = std::ranges::find(questions_, key, &Question::key);
        if (question == questions_.end()) {
            question = questions_.insert(question, {.group = index, .group_name = group.name, .key = key});
        }
        question->servers.push_back({server, first});
        first += limits::name_addresses;
    }
}

/// Of what no answer of this time tells, the places still do: a reload that was refused has been to others.
void ServerNames::place() {
    is_placed_ = true;
    for (Question& question : questions_) {
        if (question.found.empty()) question.found = placed(question);
    }
    for (unsigned group = 0; group < cache::limits::groups; ++group) settle(group);
}

void ServerNames::tick(Time now) {
    now_ = now;
    if (now < next_) return;
    next_ = now + turn;
    unsigned begun = 0;
    for (std::size_t i = 0; i < questions_.size(); ++i) {
        if (now >= questions_[i].due && begun++ < limits::names_per_tick) ask(i, now);
    }
    for (unsigned group = 0; group < cache::limits::groups; ++group) {
        if (unsettled_ >> group & 1) settle(group);
    }
    if (heard_ && !is_pending()) std::exchange(heard_, {})();
}

bool ServerNames::is_pending() const {
    for (std::size_t i = 0; i < questions_.size(); i += 2) {
        const Question &v4 = questions_[i], &v6 = questions_[i + 1];
        bool is_known = !v4.found.empty() || !v6.found.empty();
        if (!is_known && !(v4.is_heard && v6.is_heard)) return true;
    }
    return false;
}

void ServerNames::when_heard(std::function<void()> then) {
    heard_ = std::move(then);
    if (!is_pending()) std::exchange(heard_, {})();
}

bool ServerNames::is_known(unsigned group) const {
    return std::ranges::any_of(questions_,
                               [&](const Question& q) { return q.group == group && !q.found.empty(); });
}

std::string ServerNames::title(const Question& question) {
    std::string text = "group " + question.group_name + ": upstream ";
    for (const Server& server : question.servers) {
        text += (&server == &question.servers.front() ? "" : ", ") + to_string(server.config);
    }
    return text;
}

/// The next bootstrap server, beside those that are silent so far.
void ServerNames::ask(std::size_t index, Time now) {
    Question& question = questions_[index];
    if (question.left.empty()) question.left = exchanges_.ranked(question.key.group);
    unsigned bootstrap = question.left.front();
    question.left.erase(question.left.begin());
    question.asked.push_back(bootstrap);
    question.due = question.left.empty() ? Time::max() : now + limits::name_stagger;
    Time deadline = now + limits::name_question;
    if (exchanges_.open(id_of(index), question.key, bootstrap, deadline, now)) return;
    fail(question, bootstrap, "not asked: its breaker is open, or too many questions are under way", now);
}

ServerNames::Question* ServerNames::find(FetchId fetch) {
    bool is_ours = fetch.generation == 0 && fetch.slot < questions_.size();
    return is_ours ? &questions_[fetch.slot] : nullptr;
}

void ServerNames::on_answer(FetchId fetch, Answer&& answer) {
    Question* question = find(fetch);
    if (!question) return fetches_->on_answer(fetch, std::move(answer));
    take(*question, answer);
}

void ServerNames::on_exchange_failed(FetchId fetch, unsigned upstream, ExchangeFailure failure) {
    Question* question = find(fetch);
    if (!question) return fetches_->on_exchange_failed(fetch, upstream, failure);
    fail(*question, upstream, to_string(failure), now_);
}

void ServerNames::on_exchange_hint(FetchId fetch, unsigned upstream, Time now) {
    if (!find(fetch)) fetches_->on_exchange_hint(fetch, upstream, now);
}

bool ServerNames::may_resend(FetchId fetch) {
    return find(fetch) || fetches_->may_resend(fetch);
}

void ServerNames::on_exchange_event(FetchId fetch, unsigned upstream, ExchangeEvent event, Time now) {
    if (!find(fetch)) fetches_->on_exchange_event(fetch, upstream, event, now);
}

/// The next is asked at once, while there is one; when all have failed, they are asked again at back-offs.
void ServerNames::fail(Question& question, unsigned bootstrap, std::string_view why, Time now) {
    if (std::erase(question.asked, bootstrap) == 0)
        return; // of before: its place was taken, which is told late
    if (!question.left.empty()) question.due = now;
    if (!question.left.empty() || !question.asked.empty()) return;
    question.is_heard = true;
    unsigned doublings = std::min(question.failures++, 10u);
    question.due = now + std::min<Time>(limits::name_min * (1u << doublings), limits::name_max);
    if (!is_to_be_told(question, why == to_string(Kind::nodata), now)) return;
    question.logged = now;
    spdlog::warn("{}: {} not resolved: {}{}", title(question),
                 question.key.qtype == LDNS_RR_TYPE_A ? "A" : "AAAA", why,
                 question.found.empty() ? "" : "; its addresses stay: " + list_of(question.found));
}

/// Now and then. That a name has no addresses of one family is worth a line only if it has none of the other.
bool ServerNames::is_to_be_told(const Question& question, bool is_nodata, Time now) const {
    const Question& sibling = questions_[std::size_t(&question - questions_.data()) ^ 1];
    if (is_nodata && (!sibling.is_heard || !sibling.found.empty())) return false;
    return !question.logged || now >= *question.logged + limits::log_interval;
}

/// When more are told than there are places, those stay that were told before.
void ServerNames::take(Question& question, const Answer& answer) {
    std::vector<Address> found;
    for (const Record& record : answer.records) {
        if (answer.kind != Kind::positive) break;
        Address address = address_of(record);
        bool is_new = std::ranges::find(found, address) == found.end();
        if (is_new && is_fit(question, answer.upstream, address)) found.push_back(address);
    }
    if (found.empty()) {
        bool is_refused = answer.kind == Kind::positive;
        return fail(question, answer.upstream,
                    is_refused ? "no address that may be asked" : to_string(answer.kind), answer.received);
    }
    std::stable_partition(found.begin(), found.end(), [known = question.found](const Address& address) {
        return std::ranges::find(known, address) != known.end();
    });
    found.resize(std::min<std::size_t>(found.size(), limits::name_addresses));
    std::ranges::sort(found);
    std::erase(question.asked, answer.upstream);
    auto index = std::size_t(&question - questions_.data());
    for (unsigned other : std::exchange(question.asked, {})) {
        exchanges_.close(id_of(index), other, answer.received);
    }
    question.left.clear();
    question.is_heard = true;
    question.failures = 0;
    question.logged.reset();
    question.due = answer.received + life_of(answer);
    if (found == question.found) return;
    question.found = std::move(found);
    std::vector<Address> shared;
    std::ranges::copy_if(question.found, std::back_inserter(shared),
                         [&](const Address& address) { return is_shared(question, address); });
    spdlog::info("{}: its addresses are {}{}", title(question), list_of(question.found),
                 shared.empty() ? "" : "; others of the group have " + list_of(shared) + ", too");
    if (is_placed_) settle(question.group);
}

/// At the ports of all servers of the name.
bool ServerNames::is_own(const Question& question, const Address& address) const {
    return std::ranges::all_of(question.servers, [&](const Server& server) {
        return is_own_({address, server.config.endpoint.port});
    });
}

bool ServerNames::is_fit(const Question& question, unsigned bootstrap, const Address& address) const {
    if (is_own(question, address)) return false;
    const Address& teller = groups_[question.key.group].endpoint(bootstrap).address;
    if (is_loopback(address) && !is_loopback(teller)) return false;
    return address.is_unicast() && !address.is_link_local();
}

/// With another server of the group that is known so far.
bool ServerNames::is_shared(const Question& question, const Address& address) const {
    const Upstreams& group = groups_[question.group];
    auto is_anothers = [&](const Server& server) {
        Endpoint at{address, server.config.endpoint.port};
        for (unsigned i = 0; is_placed_ && i < group.size(); ++i) {
            if (!group.config(i).is_named() && group.endpoint(i) == at) return true;
        }
        return std::ranges::any_of(questions_, [&](const Question& q) {
            auto has_port = [&](const Server& s) { return s.config.endpoint.port == at.port; };
            return &q != &question && q.group == question.group &&
                   std::ranges::find(q.found, address) != q.found.end() &&
                   std::ranges::any_of(q.servers, has_port);
        });
    };
    return std::ranges::any_of(question.servers, is_anothers);
}

std::vector<Address> ServerNames::placed(const Question& question) const {
    const Upstreams& group = groups_[question.group];
    std::vector<Address> addresses;
    for (const Server& server : question.servers) {
        for (unsigned i = server.first; i < server.first + limits::name_addresses; ++i) {
            if (!group.is_vacant(i)) addresses.push_back(group.endpoint(i).address);
        }
    }
    std::ranges::sort(addresses);
    addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
    return addresses;
}

/// Those that left go, then those that came get a place; later, when questions to those that left are still
/// in flight everywhere. Who has a place already, if only of another name, is before who might take it.
void ServerNames::settle(unsigned group) {
    Upstreams& upstreams = groups_[group];
    bool had_some = upstreams.is_any_closed();
    std::vector<Claim> wanted = claims(group);
    for (const Question& question : questions_) {
        if (question.group != group) continue;
        for (const Server& server : question.servers) {
            for (unsigned i = server.first; i < server.first + limits::name_addresses; ++i) {
                Claim held{server.first, upstreams.endpoint(i).address};
                if (std::ranges::find(wanted, held) == wanted.end()) upstreams.vacate(i);
            }
        }
    }
    auto has_some = [&](const Claim& claim) {
        Endpoint at{claim.address, upstreams.endpoint(claim.first).port};
        unsigned i = 0;
        while (i < upstreams.size() && upstreams.endpoint(i) != at) ++i;
        return i < upstreams.size();
    };
    std::stable_partition(wanted.begin(), wanted.end(), has_some);
    unsettled_ &= ~(1u << group);
    for (const Claim& claim : wanted) {
        if (!find_place(upstreams, claim)) unsettled_ |= 1u << group;
    }
    if (!had_some && upstreams.is_any_closed()) upstreams.recover();
}

/// No server twice, none that is given by address, none of our own.
std::vector<ServerNames::Claim> ServerNames::claims(unsigned group) const {
    const Upstreams& upstreams = groups_[group];
    std::vector<Endpoint> taken;
    for (unsigned i = 0; i < upstreams.size(); ++i) {
        if (!upstreams.config(i).is_named()) taken.push_back(upstreams.endpoint(i));
    }
    std::vector<Claim> wanted;
    for (const Question& question : questions_) {
        if (question.group != group) continue;
        for (const Server& server : question.servers) {
            for (const Address& address : question.found) {
                Endpoint at{address, server.config.endpoint.port};
                if (std::ranges::find(taken, at) != taken.end() || is_own_(at)) continue;
                taken.push_back(at);
                wanted.push_back({server.first, address});
            }
        }
    }
    return wanted;
}

/// The one that it has, or had, if it is still there.
bool ServerNames::find_place(Upstreams& group, const Claim& claim) {
    auto is_other = [&](unsigned i) { return group.endpoint(i).address != claim.address; };
    std::vector<unsigned> vacant;
    for (unsigned i = claim.first; i < claim.first + limits::name_addresses; ++i) {
        if (group.is_vacant(i))
            vacant.push_back(i);
        else if (!is_other(i))
            return true;
    }
    std::ranges::stable_sort(vacant, {}, is_other);
    return std::ranges::any_of(vacant, [&](unsigned i) { return group.occupy(i, claim.address); });
}

} // namespace millrace::control
