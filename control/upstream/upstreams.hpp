// What is known about the servers of one upstream group: where they are, how fast, how healthy.
//
// Each has a breaker, and a question of our own, the probe, is the only thing that opens it. Any accepted
// reply, whatever its rcode, shows that the server is alive: SERVFAIL and REFUSED are answers about a name.
// Questions that hear nothing from it, several in a row without one reply between them, or an ICMP error,
// which anybody can send, have it probed; only when the probe hears nothing either, the breaker opens. Silent
// names and forgers thus cost a probe a second. While it is open the server is asked by probes alone, at
// back-offs; half-open means that one is under way. Any reply closes it, unless several probes in a row are
// asked for (probe_rise). Where the operator wants that, servers without any suspicion are probed, too.
//
// While no breaker of the group is closed, all servers are asked as if all were.
//
// The operator's word (Override) goes before all that: a server that is down is asked by nobody, not even by
// probes; of one that is up the breaker stays closed.
//
// A server given by name has a fixed number of places, so that no server's index ever changes: some for its
// IPv4 addresses, then as many for those of IPv6. Each is a server of its own while it has an address, and is
// vacant, and asked nothing, while it has none (ServerNames fills them).
//
// Control thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/key.hpp"
#include "cache/time.hpp"
#include "control/config/config.hpp"
#include "control/limits.hpp"
#include "control/upstream/habits.hpp"
#include "control/upstream/random.hpp"
#include "control/upstream/state_log.hpp"
#include "dataplane/address.hpp"
#include "dataplane/histogram.hpp"

namespace millrace::control {

struct UpstreamCounters {
    std::uint64_t sent = 0;     ///< questions asked: first datagrams
    std::uint64_t replies = 0;  ///< answers; SERVFAIL and REFUSED are failures
    std::uint64_t timeouts = 0; ///< questions whose deadline passed without an accepted reply
    std::uint64_t failures = 0; ///< replies that say SERVFAIL or REFUSED
    std::uint64_t probes = 0;   ///< questions of our own, in `sent` too
    std::uint64_t opened = 0;   ///< times that the breaker opened
    std::uint64_t over_outstanding = 0, over_rate = 0; ///< questions that a cap kept from being asked, though
                                                       ///< somebody waited for them
    dataplane::Histogram round_trips;                  ///< of the answers that `srtt` is of
};

enum class Breaker : std::uint8_t { closed, open, half_open };
std::string_view to_string(Breaker state); ///< "closed", "open", "half-open"

/// What the operator says of a server: nothing, or that it is well, or not to be asked, whatever is found.
/// Said of one given by name it goes for each address that it has or gets and of which nothing else is said.
enum class Override : std::uint8_t { automatic, up, down };
std::string_view to_string(Override word); ///< "auto", "up", "down"

/// Of a server's state: its breaker, closed or not, and what the operator says.
struct StateChange {
    Time at{};
    std::string_view reason; ///< a literal
};

/// How the group is kept. Defaults are for ordinary use; tests lower them.
struct UpstreamPolicy {
    unsigned outstanding = 4096;  ///< questions in flight to one upstream
    unsigned rate = 100'000;      ///< questions per second to one upstream, a second's worth at once
    unsigned silences = 4;        ///< questions in a row without a reply that have the server probed
    Time suspect_interval = 1s;   ///< between two probes of a server under suspicion
    Time probe_deadline = 1500ms; ///< how long a probe waits
    Time probe_interval{};        ///< between two of any server, +- 1/4 by chance; 0: none without suspicion
    unsigned probe_fall = 1; ///< silent probes in a row, nothing heard between them, that open the breaker:
                             ///< with probe_interval of any server, else of one that had `silences`
    unsigned probe_rise = 1; ///< probes heard in a row that close it; one reply, while none is closed
    Time back_off = 500ms;   ///< from opening to the next probe; doubles with each that hears nothing,
    Time longest_back_off = 2s;        ///< up to this: a name is to be had within 5 s of an outage's end
    cache::Key probe = root_servers(); ///< what it asks: name and type
    unsigned max_rrset = limits::rrset_records; ///< records of one RRset in a reply that is of use

    static cache::Key root_servers(); ///< ". NS"
};

class Upstreams {
  public:
    explicit Upstreams(const std::vector<Config::Server>& servers, UpstreamPolicy policy = {});

    unsigned size() const { return unsigned(servers_.size()); } ///< places, the vacant ones included
    const dataplane::Endpoint& endpoint(unsigned upstream) const {
        return servers_[upstream].config.endpoint;
    }
    const Config::Server& config(unsigned upstream) const { return servers_[upstream].config; }
    bool is_trusted(unsigned upstream) const { return servers_[upstream].config.trusted; }
    /// Whether its word that a name fails DNSSEC validation is final: trusted, or in a group without marks.
    bool is_validator(unsigned upstream) const;
    bool randomises_case(unsigned upstream) const { return servers_[upstream].config.randomise_case; }
    bool is_tcp_only(unsigned upstream) const { return servers_[upstream].config.tcp_only; }
    unsigned priority(unsigned upstream) const { return servers_[upstream].config.priority; }
    unsigned weight(unsigned upstream) const { return servers_[upstream].config.weight; }
    Habits& habits(unsigned upstream) { return servers_[upstream].habits; }
    const Habits& habits(unsigned upstream) const { return servers_[upstream].habits; }
    const UpstreamCounters& counters(unsigned upstream) const { return servers_[upstream].counters; }
    unsigned outstanding(unsigned upstream) const { return servers_[upstream].outstanding; }

    /// Smoothed round trip (RFC 6298 2, alpha 1/8); 100 ms while unmeasured.
    Time srtt(unsigned upstream) const;
    bool is_measured(unsigned upstream) const { return servers_[upstream].srtt.has_value(); }
    /// How long to wait before the first resend: clamp(4 x srtt, 50 ms, 1 s).
    Time resend_after(unsigned upstream) const;
    Breaker breaker(unsigned upstream) const { return servers_[upstream].breaker; }
    /// But for those that are down.
    bool is_any_closed() const;
    /// How many times one could be asked again: what was silent answers, or the operator says so.
    std::uint64_t recoveries() const { return recoveries_; }
    void recover() { ++recoveries_; } ///< so do addresses, where no server had any

    /// Those that may be asked, by priority, the lowest number first; among equals by srtt, or, when some
    /// server of the group has another weight than 1, drawn by weight (RFC 2782: each place in proportion to
    /// the weights of those that have none yet). All when all are down, who then refuse: never empty.
    std::vector<unsigned> ranked(Random& random) const;
    /// Whether it is among them.
    bool may_be_asked(unsigned upstream) const;

    /// How much of a cap one may use: collections leave a quarter to questions that clients wait for.
    enum class Share : std::uint8_t { most, all };
    /// Below the cap on questions in flight.
    bool has_room(unsigned upstream, Share share = Share::all) const;
    /// Below the cap on questions per second: a token bucket, which this brings up to date.
    bool is_in_rate(unsigned upstream, Time now, Share share);

    /// Share of the latest 32 waits for a message of its that heard nothing (smoothed, alpha 1/32): the waits
    /// that judge_silence() and probes count. None yet: nullopt.
    std::optional<double> loss(unsigned upstream) const;
    /// The latest change of its state; none: it is as it was at first.
    const std::optional<StateChange>& changed(unsigned upstream) const { return servers_[upstream].changed; }
    Override override_of(unsigned upstream) const { return word_of(servers_[upstream]); }
    Override name_override(unsigned upstream) const { return servers_[upstream].name_word; }
    /// Holds as long as the server is configured. What it is being asked goes on.
    void set_override(unsigned upstream, Override word, Time now);
    /// The word of the name that this is a place of. What was said of its addresses is void.
    void set_name_override(unsigned upstream, Override word, Time now);
    bool has_any() const;     ///< some place is not vacant
    bool is_all_down() const; ///< or vacant. Nobody is asked: clients get stale data or SERVFAIL
    /// Log lines that are due.
    void tick(Time now);

    /// What the log calls its servers, before the endpoint: "group default: upstream".
    void set_label(std::string label) { label_ = std::move(label); }
    std::string title(unsigned upstream) const { return title(servers_[upstream]); }

    unsigned max_rrset() const { return policy_.max_rrset; }
    void set_policy(const UpstreamPolicy& policy);
    bool has_servers(const std::vector<Config::Server>& servers) const; ///< just these, in this order
    /// Other servers. One that stays keeps what is known of it, one given by name its addresses, too. No
    /// question may be in flight.
    void replace(const std::vector<Config::Server>& servers);

    // The places of a server given by name.

    bool is_vacant(unsigned upstream) const { return servers_[upstream].is_vacant; }
    /// Nothing more is asked; what is in flight goes on.
    void vacate(unsigned upstream);
    /// Nothing is known of the server, unless it has left this place or another: then all that was, the
    /// operator's word, too. No other place has it. False: something that the one that left this place was
    /// asked is still in flight.
    bool occupy(unsigned upstream, const dataplane::Address& address);

    /// Called by Exchanges. `begin` counts a question as sent and outstanding; only while there is room.
    /// Every begun question ends with `end`.
    void begin(unsigned upstream);
    void end(unsigned upstream);
    void count_over_outstanding(unsigned upstream) { ++servers_[upstream].counters.over_outstanding; }
    void count_over_rate(unsigned upstream) { ++servers_[upstream].counters.over_rate; }

    // The verdicts: what the end of a question says about the server.

    /// An accepted reply. False: it says SERVFAIL or REFUSED.
    bool judge_reply(unsigned upstream, unsigned rcode, Time now);
    /// It is alive, if only with a truncated reply, or with one of no use.
    void heard(unsigned upstream, Time now);
    /// None came until the deadline.
    void judge_timeout(unsigned upstream, Time waited, Time now);
    /// None came for so long, then nobody waited any more (another server answered, a collection's limit). A
    /// wait shorter than resend_after(), or than 100 ms, says nothing.
    void judge_silence(unsigned upstream, Time waited, Time now);
    /// An ICMP error, which anybody may have sent, or a quicker server: it has this one probed, nothing else.
    void suspect(unsigned upstream, Time now);

    // Probes. Each that is due is begun, and ends with judge_probe(): cancelled, too, when it was not sent.

    const cache::Key& probe() const { return policy_.probe; }
    Time probe_deadline() const { return policy_.probe_deadline; }
    std::optional<unsigned> probe_due(Time now) const;
    /// When the next is due, or is to be planned; Time::max() when none is.
    Time next_probe() const;
    Time next_probe(unsigned upstream) const { return due(servers_[upstream]); }
    /// A server whose next regular probe has no time yet, and giving it one, by chance.
    std::optional<unsigned> unplanned() const;
    void plan_probe(unsigned upstream, Time now, std::uint64_t random);
    bool is_probed(unsigned upstream) const { return servers_[upstream].is_probed; }
    void begin_probe(unsigned upstream);
    enum class ProbeEnd : std::uint8_t { heard, silent, cancelled };
    void judge_probe(unsigned upstream, ProbeEnd end, Time now);

    /// Of an answer over UDP; over TCP, the handshake included, of a server that is asked over nothing else.
    void measured(unsigned upstream, Time round_trip);

  private:
    struct Server {
        Config::Server config; ///< of one given by name with its latest address
        bool is_vacant = false;
        std::uint64_t left = 0; ///< when it became that: counts upwards
        unsigned place = 0;     ///< among those of its name
        std::optional<Time> srtt;
        unsigned outstanding = 0;
        std::optional<double> tokens; ///< questions that the rate allows now; none: as many as at once
        Time filled{};                ///< when `tokens` was brought up to date
        unsigned silences = 0;        ///< questions without a reply since the last reply
        Breaker breaker = Breaker::closed;
        bool is_probed = false;              ///< a probe is under way
        Time probe_at = Time::max();         ///< when the next is due, for a reason,
        std::optional<Time> regular_at{};    ///< and without one; only while the breaker is closed
        unsigned fallen = 0, risen = 0;      ///< probes in a row that were silent; heard, while it is open
        std::optional<Time> probed{};        ///< when the latest ended
        Time back_off{};                     ///< while not closed: how long it is left alone
        bool was_heard = false;              ///< something came since the latest probe was sent
        Override word = Override::automatic; ///< of this address,
        Override name_word = Override::automatic; ///< and of the name that this is a place of
        std::optional<StateChange> changed;
        StateLog log;
        double loss = 0;
        unsigned waits = 0; ///< that `loss` is of, 32 at most
        UpstreamCounters counters;
        Habits habits;
    };
    double burst() const { return policy_.rate; }
    static std::vector<Server> places_of(const std::vector<Config::Server>& servers);
    static bool is_out(const Server& server); ///< asked by nobody, whatever its breaker says
    static bool is_usable(const Server& server);
    static Override word_of(const Server& server) {
        return server.word == Override::automatic ? server.name_word : server.word;
    }
    void change_words(Server& server, Override own, Override name_word, Time now);
    static void move_in(Server& server, const dataplane::Endpoint& at, Server* known);
    void draw_by_weight(std::span<unsigned> order, Random& random) const;
    std::string title(const Server& server) const;
    static Time due(const Server& server);
    static void note_wait(Server& server, bool is_lost);
    void open(Server& server, Time now) const;
    void close(Server& server, std::string_view reason, Time now);

    UpstreamPolicy policy_;
    std::vector<Server> servers_;
    std::uint64_t recoveries_ = 0;
    std::uint64_t departures_ = 0; ///< of servers given by name
    std::string label_ = "upstream";
};

} // namespace millrace::control
