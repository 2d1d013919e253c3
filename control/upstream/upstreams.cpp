#include "control/upstream/upstreams.hpp"

#include <algorithm>
#include <cassert>
#include <tuple>
#include <utility>

#include <spdlog/spdlog.h>

#include "cache/dns.hpp"

namespace millrace::control {

using dataplane::Endpoint;

namespace {

constexpr Time shortest_silence = 100ms; // who has to ask others first takes as long

std::string_view reason_of(Override word) {
    switch (word) {
    case Override::automatic: return "left to its breaker by the operator";
    case Override::up: return "set up by the operator";
    case Override::down: return "set down by the operator";
    }
    return "unknown";
}

} // namespace

cache::Key UpstreamPolicy::root_servers() {
    cache::Key key;
    key.name = *cache::parse_name(".");
    key.qtype = dns::type_ns;
    key.qclass = dns::class_in;
    return key;
}

Upstreams::Upstreams(const std::vector<Config::Server>& servers, UpstreamPolicy policy)
    : policy_(policy), servers_(places_of(servers)) {}

/// As if nothing were known of any.
std::vector<Upstreams::Server> Upstreams::places_of(const std::vector<Config::Server>& servers) {
    std::vector<Server> places;
    for (const auto& server : servers) {
        unsigned count = server.is_named() ? 2 * limits::name_addresses : 1;
        for (unsigned place = 0; place < count; ++place) {
            places.emplace_back().config = server;
            places.back().is_vacant = server.is_named();
            places.back().place = place;
        }
    }
    return places;
}

Time Upstreams::srtt(unsigned upstream) const {
    return servers_[upstream].srtt.value_or(100ms);
}

Time Upstreams::resend_after(unsigned upstream) const {
    return std::clamp<Time>(4 * srtt(upstream), 50ms, 1s);
}

bool Upstreams::is_validator(unsigned upstream) const {
    auto is_marked = [](const Server& s) { return s.config.trusted; };
    return is_trusted(upstream) || std::ranges::none_of(servers_, is_marked);
}

bool Upstreams::is_any_closed() const {
    return std::ranges::any_of(servers_, is_usable);
}

bool Upstreams::has_any() const {
    return !std::ranges::all_of(servers_, &Server::is_vacant);
}

bool Upstreams::is_all_down() const {
    return std::ranges::all_of(servers_, is_out);
}

bool Upstreams::is_out(const Server& server) {
    return server.is_vacant || word_of(server) == Override::down;
}

bool Upstreams::is_usable(const Server& server) {
    return server.breaker == Breaker::closed && !is_out(server);
}

std::vector<unsigned> Upstreams::ranked(Random& random) const {
    std::vector<unsigned> order;
    order.reserve(size());
    for (unsigned i = 0; i < size(); ++i) {
        if (may_be_asked(i) || is_all_down()) order.push_back(i);
    }
    std::ranges::sort(order, {}, [&](unsigned i) { return std::tuple(priority(i), srtt(i), i); });
    bool is_weighted = std::ranges::any_of(servers_, [](const Server& s) { return s.config.weight != 1; });
    for (std::size_t first = 0, last = 0; is_weighted && first < order.size(); first = last) {
        while (last < order.size() && priority(order[last]) == priority(order[first])) ++last;
        draw_by_weight(std::span(order).subspan(first, last - first), random);
    }
    return order;
}

void Upstreams::draw_by_weight(std::span<unsigned> order, Random& random) const {
    std::uint64_t rest = 0; // of the weights
    for (unsigned upstream : order) rest += weight(upstream);
    for (; order.size() > 1; order = order.subspan(1)) {
        std::uint64_t drawn = random.bits() % rest;
        auto at = order.begin();
        for (; drawn >= weight(*at); ++at) drawn -= weight(*at);
        rest -= weight(*at);
        std::rotate(order.begin(), at, at + 1); // those that stay behind keep their order
    }
}

bool Upstreams::may_be_asked(unsigned upstream) const {
    const Server& server = servers_[upstream];
    return is_usable(server) || (!is_out(server) && !is_any_closed());
}

bool Upstreams::has_room(unsigned upstream, Share share) const {
    unsigned spared = share == Share::most ? policy_.outstanding / 4 : 0;
    return servers_[upstream].outstanding < policy_.outstanding - spared;
}

bool Upstreams::is_in_rate(unsigned upstream, Time now, Share share) {
    Server& server = servers_[upstream];
    double gained = std::chrono::duration<double>(now - server.filled).count() * policy_.rate;
    server.tokens = std::min(burst(), server.tokens.value_or(burst()) + gained);
    server.filled = now;
    return *server.tokens >= (share == Share::most ? std::min(1 + burst() / 4, burst()) : 1);
}

bool Upstreams::has_servers(const std::vector<Config::Server>& servers) const {
    auto is_as_configured = [](const Server& now, const Server& wanted) {
        Config::Server config = now.config;
        if (config.is_named()) config.endpoint.address = {};
        return config == wanted.config;
    };
    return std::ranges::equal(servers_, places_of(servers), is_as_configured);
}

void Upstreams::replace(const std::vector<Config::Server>& servers) {
    assert(std::ranges::all_of(servers_, [](const Server& s) { return s.outstanding == 0; }));
    std::vector<Server> before = std::exchange(servers_, places_of(servers));
    auto identity_of = [](const Server& server) {
        const Config::Server& config = server.config;
        Endpoint at{config.is_named() ? dataplane::Address{} : config.endpoint.address, config.endpoint.port,
                    config.endpoint.zone};
        return std::tuple(config.name, at, server.place);
    };
    for (Server& server : servers_) {
        auto known = std::ranges::find(before, identity_of(server), identity_of);
        if (known == before.end()) continue;
        Config::Server config = std::exchange(server, *known).config;
        if (config.is_named()) config.endpoint = server.config.endpoint;
        server.config = config;
    }
}

void Upstreams::vacate(unsigned upstream) {
    Server& server = servers_[upstream];
    if (server.is_vacant) return;
    server.is_vacant = true;
    server.left = ++departures_;
}

bool Upstreams::occupy(unsigned upstream, const dataplane::Address& address) {
    Server& server = servers_[upstream];
    assert(server.is_vacant);
    Endpoint at{address, server.config.endpoint.port};
    bool is_other = server.config.endpoint != at;
    if (is_other && server.outstanding > 0) return false;
    Server* known = nullptr; // where it was last
    for (Server& s : servers_) {
        bool was_here = s.is_vacant && s.config.endpoint == at && (!known || s.left > known->left);
        if (was_here) known = &s;
    }
    if (known != &server) move_in(server, at, known);
    server.is_vacant = false;
    return true;
}

/// A probe that is under way from where it was before tells nothing here: the next is due at once. Where the
/// name is up, so is who moves in.
void Upstreams::move_in(Server& server, const Endpoint& at, Server* known) {
    Server moved = known ? *known : Server();
    if (known) known->counters = {};
    moved.config = server.config;
    moved.config.endpoint = at;
    moved.place = server.place;
    moved.outstanding = server.outstanding;
    moved.is_probed = server.is_probed;
    moved.name_word = server.name_word;
    bool is_cut_short = moved.breaker == Breaker::half_open && !moved.is_probed;
    if (is_cut_short) {
        moved.breaker = Breaker::open;
        moved.probe_at = Time{};
    }
    if (word_of(moved) == Override::up && moved.breaker != Breaker::closed) {
        moved.breaker = Breaker::closed;
        moved.probe_at = Time::max();
    }
    server = std::move(moved);
}

std::string Upstreams::title(const Server& server) const {
    return label_ + " " + to_string(server.config.endpoint);
}

void Upstreams::begin(unsigned upstream) {
    assert(has_room(upstream));
    Server& server = servers_[upstream];
    ++server.outstanding;
    server.tokens = server.tokens.value_or(burst()) - 1;
    ++server.counters.sent;
}

void Upstreams::end(unsigned upstream) {
    assert(servers_[upstream].outstanding > 0);
    --servers_[upstream].outstanding;
}

bool Upstreams::judge_reply(unsigned upstream, unsigned rcode, Time now) {
    heard(upstream, now);
    bool is_failure = rcode == unsigned(dns::Rcode::servfail) || rcode == unsigned(dns::Rcode::refused);
    UpstreamCounters& counters = servers_[upstream].counters;
    ++(is_failure ? counters.failures : counters.replies);
    return !is_failure;
}

void Upstreams::heard(unsigned upstream, Time now) {
    Server& server = servers_[upstream];
    note_wait(server, false);
    server.silences = server.fallen = 0;
    server.was_heard = true;
    bool is_enough = policy_.probe_rise == 1 || !is_any_closed(); // nobody else is better
    if (server.breaker != Breaker::closed && is_enough) close(server, "a reply came", now);
}

void Upstreams::close(Server& server, std::string_view reason, Time now) {
    server.breaker = Breaker::closed;
    server.probe_at = Time::max();
    ++recoveries_;
    server.changed = {now, reason};
    server.log.note({title(server), "closed", reason}, now);
}

void Upstreams::open(Server& server, Time now) const {
    std::string_view reason = server.silences < policy_.silences
                                  ? "silent to probes in a row"
                                  : "silent to questions in a row, then to a probe";
    ++server.counters.opened;
    server.breaker = Breaker::open;
    server.back_off = policy_.back_off;
    server.probe_at = now + server.back_off;
    server.risen = 0;
    server.changed = {now, reason};
    server.log.note({title(server), "open", reason}, now);
}

void Upstreams::judge_timeout(unsigned upstream, Time waited, Time now) {
    ++servers_[upstream].counters.timeouts;
    judge_silence(upstream, waited, now);
}

void Upstreams::judge_silence(unsigned upstream, Time waited, Time now) {
    if (waited < std::max(shortest_silence, resend_after(upstream))) return;
    note_wait(servers_[upstream], true);
    if (++servers_[upstream].silences >= policy_.silences) suspect(upstream, now);
}

void Upstreams::suspect(unsigned upstream, Time now) {
    Server& server = servers_[upstream];
    bool is_needless = server.breaker != Breaker::closed || server.is_probed || is_out(server);
    if (is_needless) return;
    Time earliest = server.probed ? *server.probed + policy_.suspect_interval : now;
    server.probe_at = std::min(server.probe_at, std::max(now, earliest));
}

std::optional<unsigned> Upstreams::probe_due(Time now) const {
    auto first = std::ranges::find_if(servers_, [&](const Server& s) { return due(s) <= now; });
    if (first == servers_.end()) return std::nullopt;
    return unsigned(first - servers_.begin());
}

Time Upstreams::next_probe() const {
    Time next = unplanned() ? Time{} : Time::max();
    for (const Server& server : servers_) next = std::min(next, due(server));
    return next;
}

Time Upstreams::due(const Server& server) {
    if (server.is_probed || is_out(server)) return Time::max();
    bool is_regular = server.breaker == Breaker::closed && server.regular_at;
    return is_regular ? std::min(server.probe_at, *server.regular_at) : server.probe_at;
}

std::optional<unsigned> Upstreams::unplanned() const {
    if (policy_.probe_interval == Time{}) return std::nullopt;
    auto waits = [](const Server& s) { return !s.regular_at && !s.is_probed && !s.is_vacant; };
    auto first = std::ranges::find_if(servers_, waits);
    return first == servers_.end() ? std::nullopt : std::optional(unsigned(first - servers_.begin()));
}

/// The first within one interval, so that servers that come together are not probed together.
void Upstreams::plan_probe(unsigned upstream, Time now, std::uint64_t random) {
    Server& server = servers_[upstream];
    Time interval = policy_.probe_interval;
    Time least = server.probed ? interval / 4 * 3 : Time{};
    Time span = server.probed ? interval / 2 : interval;
    server.regular_at = now + least + Time(random % (std::uint64_t(span.count()) + 1));
}

void Upstreams::set_policy(const UpstreamPolicy& policy) {
    bool is_other = policy.probe_interval != policy_.probe_interval;
    policy_ = policy;
    for (Server& server : servers_) {
        if (is_other) server.regular_at.reset();
    }
}

void Upstreams::begin_probe(unsigned upstream) {
    Server& server = servers_[upstream];
    server.is_probed = true;
    server.was_heard = false;
    server.probe_at = Time::max();
    server.regular_at.reset();
    if (server.breaker == Breaker::open) server.breaker = Breaker::half_open;
    ++server.counters.probes;
}

void Upstreams::judge_probe(unsigned upstream, ProbeEnd end, Time now) {
    Server& server = servers_[upstream];
    server.is_probed = false;
    server.probed = now;
    bool is_silent = end == ProbeEnd::silent;
    if (is_silent) {
        note_wait(server, true);
        server.fallen = server.was_heard ? 0 : server.fallen + 1;
        server.risen = 0;
    }
    if (server.breaker == Breaker::closed) {
        // Any reply that came meanwhile, to whatever question, has begun the count anew.
        if (!is_silent) return;
        bool is_suspect = ++server.silences >= policy_.silences || policy_.probe_interval > Time{};
        bool is_dead = is_suspect && server.fallen >= policy_.probe_fall;
        if (!is_dead || word_of(server) == Override::up) return suspect(upstream, now);
        return open(server, now);
    }
    if (is_silent) server.back_off = std::min(2 * server.back_off, policy_.longest_back_off);
    server.breaker = Breaker::open;
    bool is_heard = end == ProbeEnd::heard;
    if (is_heard && ++server.risen >= policy_.probe_rise) return close(server, "its probes were heard", now);
    server.probe_at = now + (is_heard ? policy_.suspect_interval : server.back_off);
}

std::optional<double> Upstreams::loss(unsigned upstream) const {
    const Server& server = servers_[upstream];
    return server.waits == 0 ? std::nullopt : std::optional(server.loss);
}

/// The mean of the first ones, then smoothed: a server that never replied shows at once.
void Upstreams::note_wait(Server& server, bool is_lost) {
    server.waits = std::min(server.waits + 1, 32u);
    server.loss += (double(is_lost) - server.loss) / server.waits;
}

void Upstreams::set_override(unsigned upstream, Override word, Time now) {
    Server& server = servers_[upstream];
    change_words(server, word, server.name_word, now);
}

void Upstreams::set_name_override(unsigned upstream, Override word, Time now) {
    const Config::Server named = config(upstream);
    if (servers_[upstream].name_word != word)
        spdlog::info("{} {}: {}", label_, to_string(named), reason_of(word));
    for (Server& server : servers_) {
        bool is_of_it =
            server.config.name == named.name && server.config.endpoint.port == named.endpoint.port;
        if (is_of_it) change_words(server, Override::automatic, word, now);
    }
}

/// A breaker that opened before may be wrong by now: its server is probed at once.
void Upstreams::change_words(Server& server, Override own, Override name_word, Time now) {
    Override before = word_of(server);
    bool was_usable = is_usable(server);
    server.word = own;
    server.name_word = name_word;
    Override word = word_of(server);
    if (word == before) return;
    if (server.breaker != Breaker::closed) {
        bool is_up = word == Override::up;
        if (is_up) server.breaker = Breaker::closed;
        server.probe_at = is_up ? Time::max() : now;
    }
    if (!was_usable && is_usable(server)) ++recoveries_;
    server.changed = {now, reason_of(word)};
    server.log.write_held_back();
    if (!server.is_vacant) spdlog::info("{}: {}", title(server), reason_of(word));
}

void Upstreams::tick(Time now) {
    for (Server& server : servers_) server.log.tick(now);
}

void Upstreams::measured(unsigned upstream, Time round_trip) {
    servers_[upstream].counters.round_trips.add(round_trip);
    auto& srtt = servers_[upstream].srtt;
    srtt = srtt ? *srtt + (round_trip - *srtt) / 8 : round_trip;
}

std::string_view to_string(Breaker state) {
    switch (state) {
    case Breaker::closed: return "closed";
    case Breaker::open: return "open";
    case Breaker::half_open: return "half-open";
    }
    return "unknown";
}

std::string_view to_string(Override word) {
    switch (word) {
    case Override::automatic: return "auto";
    case Override::up: return "up";
    case Override::down: return "down";
    }
    return "unknown";
}

} // namespace millrace::control
