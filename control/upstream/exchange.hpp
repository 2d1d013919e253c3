// One Exchange is one question to one upstream on behalf of one Fetch: its own random ID, source port
// and letter case, its own socket, resends, TCP when needed, and a deadline. Exchanges owns all of them
// in bounded slots.
//
// Servers that are not as they should be still answer: without EDNS where an OPT is met with an error or with
// silence; over TCP, on the side, where all datagrams are. An NXDOMAIN for a name in mixed letter case is
// believed of a server that knows such names; else TCP is asked for the name in lower case (Habits).
//
// It ends in exactly one way: an accepted reply (on_answer), a failure (on_exchange_failed), or close(),
// after which nothing of it is heard again. Whatever arrives that is not its reply is counted and thrown
// away, and it goes on waiting (TuDoor); so it does after an ICMP error, which is a hint (on_exchange_hint).
// A probe of an upstream is an Exchange too, of no Fetch; Upstreams says when, and is told how it ended.
//
// Threads: control only. Time is passed in, by the caller or by the network with each message.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cache/key.hpp"
#include "control/hash_places.hpp"
#include "control/message/answer.hpp"
#include "control/timers.hpp"
#include "control/upstream/admission.hpp"
#include "control/upstream/fetch_id.hpp"
#include "control/upstream/network.hpp"
#include "control/upstream/random.hpp"
#include "control/upstream/recent_pairs.hpp"
#include "control/upstream/upstreams.hpp"
#include "dataplane/query_log.hpp"

namespace millrace::control {

/// Why an exchange ended without a reply.
enum class ExchangeFailure : std::uint8_t {
    timeout,     ///< its deadline passed
    unreachable, ///< no route, or TCP refused or closed
    no_room, ///< a bound of ours ended it (sockets, or its place was needed); says nothing about the upstream
};
std::string_view to_string(ExchangeFailure failure);

/// What happens to an exchange before it ends; for traces.
enum class ExchangeEvent : std::uint8_t {
    sent,
    resent,
    icmp,
    over_tcp,
    wrong_id,
    wrong_case,
    other_question,
    malformed,
    spared,       ///< a resend that the question's budget does not allow
    without_edns, ///< asked again, or goes on, without OPT
    tried_tcp,    ///< silence: asked over TCP as well
    case_doubted, ///< denied: asked over TCP in lower case, before that is believed
    case_blamed   ///< found: its handling of the letter case is the cause
};
std::string_view to_string(ExchangeEvent event);

/// Who is told. The ends are told from tick() and from the network's poll, never from inside open(),
/// close() or collect(). The exchange is already gone then, so the listener may open and close any, its
/// own place included.
class ExchangeListener {
  public:
    virtual ~ExchangeListener() = default;

    /// `answer.upstream` says who. SERVFAIL, REFUSED and the like come this way too, as Kind::failure.
    virtual void on_answer(FetchId fetch, Answer&& answer) = 0;
    virtual void on_exchange_failed(FetchId fetch, unsigned upstream, ExchangeFailure failure) = 0;
    /// An ICMP error says that the upstream cannot be reached. Anybody may have sent it: it waits on.
    virtual void on_exchange_hint(FetchId fetch, unsigned upstream, Time now) = 0;
    /// Whether a datagram may be sent again, which then counts: one question has a budget.
    virtual bool may_resend(FetchId) { return true; }
    /// From anywhere; to be noted, nothing else.
    virtual void on_exchange_event(FetchId, unsigned /*upstream*/, ExchangeEvent, Time) {}
};

struct ExchangeCounters {
    std::uint64_t sent = 0;         ///< questions asked: first datagrams (upstream_queries)
    std::uint64_t resent = 0;       ///< identical datagrams sent again
    std::uint64_t tcp = 0;          ///< questions that went on over TCP
    std::uint64_t accepted = 0;     ///< replies delivered
    std::uint64_t late = 0;         ///< replies to another question than the socket's
    std::uint64_t mismatched = 0;   ///< the right question with another ID or letter case: old, or forged
    std::uint64_t malformed = 0;    ///< no reply at all, or one that cannot be understood
    std::uint64_t large_rrsets = 0; ///< replies of no use, as an RRset had more records than max-rrset
    std::uint64_t timeouts = 0;     ///< ended by their deadline
    std::uint64_t unreachable = 0;  ///< ended by a network error
    std::uint64_t icmp = 0;         ///< ICMP errors, which end nothing
    std::uint64_t cancelled = 0;    ///< ended by close()
    std::uint64_t refused_open = 0; ///< not opened: its breaker opened since it was ranked, or it is down
    std::uint64_t refused_full = 0; ///< not opened: slots, an upstream's caps, sockets, no unused port and ID
    std::uint64_t displaced = 0;    ///< collections that ended because their place was needed
    std::uint64_t spared = 0;       ///< resends that a question's budget did not allow
    std::uint64_t without_edns = 0; ///< questions that went on without OPT
    std::uint64_t tcp_tries = 0;    ///< made over TCP on the side: silence, or doubts about the letter case
    std::uint64_t tcp_tries_refused = 0; ///< not made, because too many are under way
    std::uint64_t tcp_displaced = 0;     ///< connections closed because another question needed one
};

/// Bounds. Every open exchange has one socket, and `tcp_tries` of them have two.
struct ExchangeLimits {
    std::uint32_t exchanges = 4096;
    unsigned resends = 2;    ///< datagrams after the first
    unsigned id_draws = 8;   ///< IDs tried when they were used just now, with the same port
    unsigned tcp_tries = 64; ///< under way at once: silent names do not take all connections
    Time tcp_reply = 1500ms; ///< a server that said TC=1 has the answer: it comes within this, or never
};

/// How many exchanges this process can have: the soft RLIMIT_NOFILE less a reserve for everything else,
/// at most 16384.
std::uint32_t exchange_capacity();

class Exchanges final : private NetworkHandler {
  public:
    /// `groups` is indexed by Key::group; it and the others outlive the exchanges.
    Exchanges(Network& network, Random& random, std::span<Upstreams> groups, ExchangeLimits limits);
    ~Exchanges() override; ///< closes what is open

    Exchanges(const Exchanges&) = delete;
    Exchanges& operator=(const Exchanges&) = delete;

    /// Has to be called before the first tick. Returns the one before, so that a new one can stand in
    /// front of it.
    ExchangeListener* set_listener(ExchangeListener& listener) { return std::exchange(listener_, &listener); }

    /// Asks. False, with nothing to be heard later, when a bound or the upstream's breaker refuses, or when
    /// this very question is already open to this upstream. A network that fails at once is reported by the
    /// next tick, as is a collection whose place was taken.
    bool open(FetchId fetch, const cache::Key& key, unsigned upstream, Time deadline, Time now,
              Purpose purpose = Purpose::answer);

    /// Where questions and replies are logged, or null. Before the first tick.
    void set_log(dataplane::QueryLog* log) { log_ = log; }

    /// Upstreams::ranked(), by chance of ours.
    std::vector<unsigned> ranked(unsigned group) { return groups_[group].ranked(random_); }

    /// Whether a question that a client waits for would find room.
    bool has_room(unsigned group, unsigned upstream) const { return admission_.has_room(group, upstream); }

    /// Cancels at once: socket and timers go. Unknown ones are ignored.
    void close(FetchId fetch, unsigned upstream, Time now);
    /// Cancels the probes: afterwards, when no Fetch has an exchange, none is open.
    void close_probes(Time now);
    /// ... and no more are begun.
    void end_probing(Time now);

    /// From now on a collection. Brings the deadline forward (never back); passing it is a timeout like any
    /// other. Unknown ones are ignored.
    void collect(FetchId fetch, unsigned upstream, Time deadline);

    void tick(Time now);     ///< resends, deadlines and probes that are due
    Time next_timer() const; ///< when the next is due; Time::max() when none is

    /// Whether a question is our own, coming back: from an upstream that it is open to
    /// (Admission::is_open_to), or with the very capitals (cache/capitals.hpp) that were drawn for one that
    /// is open, which hardly anybody else hits upon.
    bool is_asking(const dataplane::Address& address, const cache::Key& question,
                   std::uint64_t capitals = 0) const {
        return admission_.is_open_to(address, question) ||
               spellings_.contains(spelling_of(question, capitals));
    }

    std::uint32_t open_count() const { return std::uint32_t(by_owner_.size()); }
    /// No more sockets are open: one each, and the connections on the side.
    std::size_t most_sockets() const { return by_owner_.size() + sides_; }
    const ExchangeCounters& counters() const { return counters_; }

  private:
    /// Whether the question has an OPT, and if not, why.
    enum class Opt : std::uint8_t {
        sent,
        dropped, ///< the server was silent to two datagrams with it
        refused, ///< the server said that it does not understand it
        known    ///< as was found out before
    };
    /// Its place among those that have a TCP connection: who gives way first. Age 0: it has none.
    struct TcpTurn {
        bool is_waited_for = false;
        std::uint64_t age = 0;
        std::uint32_t place = 0;
        auto operator<=>(const TcpTurn&) const = default;
    };
    struct Exchange {
        std::uint32_t place = 0;
        std::uint32_t serial = 0; ///< counts the exchanges that this place has had
        bool is_open = false;
        bool over_tcp = false;
        bool is_driven = false;      ///< over TCP because of packets that anybody may have sent
        bool is_probe = false;       ///< of no Fetch
        bool is_collecting = false;  ///< nobody waits for it
        bool is_unreachable = false; ///< the network failed inside open(); the next tick says so
        bool was_case_wrong = false; ///< a reply had another letter case
        Opt opt = Opt::sent;
        FetchId fetch;
        cache::Key key;
        unsigned upstream = 0;
        Socket socket = 0;
        std::vector<std::uint8_t> query; ///< as sent
        unsigned resends = 0;
        Time sent_at{};                ///< the first datagram
        Time resend_after{};           ///< doubles with each
        Time resend_at = Time::max();  ///< the next
        Time try_tcp_at = Time::max(); ///< on the side, while the datagrams are waited for
        Time deadline{};
        Time timer{};                         ///< as it is in timers_
        Socket side = 0;                      ///< the connection on the side; 0: none
        std::vector<std::uint8_t> side_query; ///< in lower case while the server's case handling is unproved
        std::optional<Answer> denial;         ///< in doubt: what stands when the side does not refute it
        TcpTurn tcp;
    };
    struct Owner { ///< whose exchange it is
        FetchId fetch;
        unsigned upstream;
    };

    void on_message(Socket socket, std::uint64_t token, std::span<const std::uint8_t> message,
                    Time received) override;
    void on_network_error(Socket socket, std::uint64_t token, std::errc error, Time when) override;

    static std::uint64_t hash_of(FetchId fetch, unsigned upstream);
    Exchange* find(FetchId fetch, unsigned upstream);
    static bool is_mixed_case(const Exchange& exchange);
    Habits& habits_of(const Exchange& exchange) const { return group_of(exchange).habits(exchange.upstream); }
    static bool is_own_bound(std::errc error);
    static Time due(const Exchange& exchange);
    void schedule_resends(Exchange& exchange, Time now);
    void schedule_try(Exchange& exchange, Time now);
    void act(Exchange& exchange, Time now);
    bool start(FetchId fetch, const cache::Key& key, unsigned upstream, Time deadline, Time now,
               Purpose purpose);
    void start_probes(Time now);
    static FetchId probe_of(unsigned group);
    void displace(std::uint32_t place);
    void note(const Exchange& exchange, ExchangeEvent event, Time now);
    Upstreams& group_of(const Exchange& exchange) const;
    bool send_first(Exchange& exchange, Time now);
    std::errc send(const Exchange& exchange, Socket socket, std::span<const std::uint8_t> query);
    std::errc open_socket(Exchange& exchange, Time now);
    void write_query(const Exchange& exchange, std::uint16_t id, bool is_folded,
                     std::vector<std::uint8_t>& query);
    static std::uint64_t spelling_of(const cache::Key& question, std::uint64_t capitals);
    void note_spelling(const Exchange& exchange);
    bool is_unused(const Exchange& exchange, std::uint16_t port, std::uint16_t id, Time now);
    void resend(Exchange& exchange, Time now);

    bool is_tcp_only(const Exchange& exchange) const {
        return group_of(exchange).is_tcp_only(exchange.upstream);
    }
    bool may_drop_opt(const Exchange& exchange) const;
    void ask_without_opt(Exchange& exchange, Time now);

    void drive_to_tcp(Exchange& exchange, Time now);
    void go_tcp(Exchange& exchange, Time now);
    std::errc connect(Exchange& exchange, Time now);
    bool displace_tcp(bool for_collection, Time now);
    void rank_tcp(Exchange& exchange, bool is_waited_for);
    void leave_tcp(Exchange& exchange);
    void close_main(Exchange& exchange);
    bool open_side(Exchange& exchange);
    void close_side(Exchange& exchange);
    void on_side_reply(Exchange& exchange, std::span<const std::uint8_t> message, Time received);
    void on_side_end(Exchange& exchange, Time now);
    void blame_case(Exchange& exchange, Time now);
    void name_in_log(const Exchange& exchange, std::string_view what);

    void deliver(Exchange& exchange, std::span<const std::uint8_t> reply, bool is_case_kept, Time received);
    void deliver_nothing(Exchange& exchange, std::string_view why, std::uint64_t& counter, Time received);
    void learn(const Exchange& exchange, const Answer& answer, bool is_case_kept, Time now);
    bool doubt(Exchange& exchange, Answer& answer, Time now);
    void accept(Exchange& exchange, Answer&& answer);
    void finish(Exchange& exchange, Answer&& answer);
    void measure(const Exchange& exchange, Time now);
    void hint(Exchange& exchange, Time now);
    void fail(Exchange& exchange, ExchangeFailure failure, Time now);
    void judge_failure(const Exchange& exchange, ExchangeFailure failure, Time now);
    void set_timer(Exchange& exchange, Time at);
    void remove(Exchange& exchange);

    Network& network_;
    Random& random_;
    std::span<Upstreams> groups_;
    ExchangeLimits limits_;
    ExchangeListener* listener_ = nullptr;
    ExchangeCounters counters_;
    RecentPairs recent_;
    Admission admission_;
    std::vector<Exchange> exchanges_; ///< all of them by place, made once; an Exchange never moves
    HashPlaces by_owner_;             ///< the open ones
    Timers timers_;                   ///< of the open ones, by place
    HashPlaces spellings_;            ///< that were drawn for open ones
    std::vector<Owner> displaced_;    ///< to be told in the next tick
    std::set<TcpTurn> tcp_;           ///< those with a connection, who gives way first
    std::uint64_t tcp_begun_ = 0;     ///< connections ever
    unsigned sides_ = 0;              ///< open
    bool is_probing_ = true;
    dataplane::QueryLog* log_ = nullptr;
};

} // namespace millrace::control
