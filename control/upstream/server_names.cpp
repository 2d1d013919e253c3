#include "control/upstream/server_names.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cache/dns.hpp"
#include "control/limits.hpp"
#include "control/message/records.hpp"

namespace millrace::control {

using dataplane::Address;

namespace {

constexpr Time turn = 10ms; // between two looks at what is due

bool is_loopback(const Address& address) {
    static const auto v4 = *dataplane::parse_prefix("127.0.0.0/8"), v6 = *dataplane::parse_prefix("::1/128");
    return v4.contains(address) || v6.contains(address);
}

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

ServerNames::ServerNames(Exchanges& exchanges, std::span<Upstreams> groups,
                         std::vector<dataplane::Endpoint> own)
    : exchanges_(exchanges), groups_(groups), own_(std::move(own)), fetches_(exchanges.set_listener(*this)) {
    assert(groups.size() == limits::groups);
}

ServerNames::~ServerNames() {
    exchanges_.set_listener(*fetches_);
}

void ServerNames::close(Time now) {
    for (std::size_t i = 0; i < questions_.size(); ++i) {
        if (auto asked = std::exchange(questions_[i].asked, {})) exchanges_.close(id_of(i), *asked, now);
    }
}

void ServerNames::restart() {
    questions_.clear();
    next_ = {};
    for (unsigned group = 0; group < cache::limits::groups; ++group) {
        const Upstreams& upstreams = groups_[group];
        for (unsigned place = 0; place < upstreams.size();) {
            if (!upstreams.config(place).is_named()) {
                ++place;
                continue;
            }
            for (auto type : {LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA}) {
                Question& question = questions_.emplace_back();
                question.group = group;
                question.first = place;
                question.key.qtype = std::uint16_t(type);
                question.key.qclass = dns::class_in;
                question.key.group = std::uint8_t(bootstrap_of(group));
                question.key.name = *cache::parse_name(upstreams.config(place).name);
                question.server = to_string(upstreams.config(place));
                question.found = placed(question);
                place += limits::name_addresses;
            }
        }
    }
}

void ServerNames::tick(Time now) {
    now_ = now;
    if (now < next_) return;
    next_ = now + turn;
    unsigned begun = 0;
    for (std::size_t i = 0; i < questions_.size(); ++i) {
        Question& question = questions_[i];
        if (!question.is_settled) settle(question);
        bool is_due = !question.asked && now >= question.due;
        if (is_due && begun++ < limits::names_per_tick) ask(i, now);
    }
}

bool ServerNames::is_pending() const {
    return std::ranges::any_of(questions_, [](const Question& q) { return !q.is_heard; });
}

void ServerNames::ask(std::size_t index, Time now) {
    Question& question = questions_[index];
    auto servers = exchanges_.ranked(question.key.group);
    unsigned server = servers[question.failures % servers.size()];
    question.asked = server;
    Time deadline = now + limits::name_question;
    if (exchanges_.open(id_of(index), question.key, server, deadline, now)) return;
    question.asked.reset();
    fail(question, "not asked: too many questions are under way", now);
}

ServerNames::Question* ServerNames::find(FetchId fetch) {
    bool is_ours = fetch.generation == 0 && fetch.slot < questions_.size();
    return is_ours ? &questions_[fetch.slot] : nullptr;
}

void ServerNames::on_answer(FetchId fetch, Answer&& answer) {
    Question* question = find(fetch);
    if (!question) return fetches_->on_answer(fetch, std::move(answer));
    question->asked.reset();
    take(*question, answer);
}

void ServerNames::on_exchange_failed(FetchId fetch, unsigned upstream, ExchangeFailure failure) {
    Question* question = find(fetch);
    if (!question) return fetches_->on_exchange_failed(fetch, upstream, failure);
    question->asked.reset();
    fail(*question, to_string(failure), now_);
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

/// Each bootstrap server in turn at once, then at back-offs.
void ServerNames::fail(Question& question, std::string_view why, Time now) {
    auto servers = groups_[question.key.group].size();
    question.due = now;
    if (++question.failures % servers != 0) return;
    question.is_heard = true;
    unsigned doublings = std::min(question.failures / servers - 1, 10u);
    question.due += std::min<Time>(limits::name_min * (1u << doublings), limits::name_max);
    if (!is_to_be_told(question, why == to_string(Kind::nodata), now)) return;
    question.logged = now;
    spdlog::warn("upstream {}: {} not resolved: {}{}", question.server,
                 question.key.qtype == LDNS_RR_TYPE_A ? "A" : "AAAA", why,
                 question.found.empty() ? "" : "; its addresses stay: " + list_of(question.found));
}

/// Now and then. That a name has no addresses of one family is worth a line only if it has none of the other.
bool ServerNames::is_to_be_told(const Question& question, bool is_nodata, Time now) const {
    const Question& sibling = questions_[std::size_t(&question - questions_.data()) ^ 1];
    if (is_nodata && (!sibling.is_heard || !sibling.found.empty())) return false;
    return !question.logged || now >= *question.logged + limits::log_interval;
}

/// When more are told than there are places, those stay that have one.
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
        return fail(question, is_refused ? "no address that may be asked" : to_string(answer.kind),
                    answer.received);
    }
    std::stable_partition(found.begin(), found.end(), [known = placed(question)](const Address& address) {
        return std::ranges::find(known, address) != known.end();
    });
    found.resize(std::min<std::size_t>(found.size(), limits::name_addresses));
    std::ranges::sort(found);
    question.is_heard = true;
    question.failures = 0;
    question.logged.reset();
    question.due = answer.received + life_of(answer);
    if (found != question.found) {
        spdlog::info("upstream {}: its addresses are {}", question.server, list_of(found));
    }
    question.found = std::move(found);
    settle(question);
}

bool ServerNames::is_fit(const Question& question, unsigned bootstrap, const Address& address) const {
    dataplane::Endpoint endpoint{address, groups_[question.group].endpoint(question.first).port};
    if (std::ranges::find(own_, endpoint) != own_.end()) return false;
    const Address& teller = groups_[question.key.group].endpoint(bootstrap).address;
    if (is_loopback(address) && !is_loopback(teller)) return false;
    return address.is_unicast() && !address.is_link_local();
}

std::vector<Address> ServerNames::placed(const Question& question) const {
    const Upstreams& group = groups_[question.group];
    std::vector<Address> addresses;
    for (unsigned i = question.first; i < question.first + limits::name_addresses; ++i) {
        if (!group.is_vacant(i)) addresses.push_back(group.endpoint(i).address);
    }
    std::ranges::sort(addresses);
    return addresses;
}

/// Those that left go, then those that came get a place; later, when questions to those that left are still
/// in flight everywhere.
void ServerNames::settle(Question& question) {
    Upstreams& group = groups_[question.group];
    for (unsigned i = question.first; i < question.first + limits::name_addresses; ++i) {
        const Address& address = group.endpoint(i).address;
        bool is_found = std::ranges::find(question.found, address) != question.found.end();
        if (!is_found || group.is_elsewhere(i, address)) group.vacate(i);
    }
    question.is_settled = true;
    std::vector<Address> known = placed(question);
    for (const Address& address : question.found) {
        bool is_in = std::ranges::find(known, address) != known.end() ||
                     group.is_elsewhere(question.first, address) || find_place(question, address);
        question.is_settled = question.is_settled && is_in;
    }
}

/// The one that it had, if it is still there.
bool ServerNames::find_place(const Question& question, const Address& address) {
    Upstreams& group = groups_[question.group];
    std::vector<unsigned> vacant;
    for (unsigned i = question.first; i < question.first + limits::name_addresses; ++i) {
        if (group.is_vacant(i)) vacant.push_back(i);
    }
    auto is_other = [&](unsigned i) { return group.endpoint(i).address != address; };
    std::ranges::stable_sort(vacant, {}, is_other);
    return std::ranges::any_of(vacant, [&](unsigned i) { return group.occupy(i, address); });
}

} // namespace millrace::control
