// The addresses of servers that the operator gives by name: asked of the group's bootstrap servers, A and
// AAAA apart, and put into the places that the group keeps for the name (Upstreams).
//
// They are asked again after their TTL, within bounds. Who cannot be asked, or denies, takes nothing away:
// the addresses known so far stay, and the next bootstrap server is asked, all of them again at back-offs.
// While one is silent, the next is soon asked beside it, so that a start need not wait for its deadline.
// Nothing of it goes through the cache. An Exchange of no Fetch carries each question, so that what replies
// must be like is the same as for any other; the bootstrap servers are a group of their own, which no
// client's question names (bootstrap_of), with health, breakers and caps.
//
// An address is not taken that nobody or millraced itself answers on, or that is on loopback, unless who
// tells it is there, too: nobody outside opens this machine's own services. What several of a group have is
// one server: the one that is given by address, else the first name's; when that loses it, the next name's.
//
// A reload has the new names asked for before their servers are in place (restart, when_heard, place).
//
// Threads: control only. It stands before the FetchTable as the listener of the Exchanges, and passes on
// what concerns Fetches.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/key.hpp"
#include "cache/time.hpp"
#include "control/config/config.hpp"
#include "control/upstream/exchange.hpp"
#include "control/upstream/upstreams.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

class ServerNames final : public ExchangeListener {
  public:
    /// The group of the bootstrap servers of a group.
    static constexpr unsigned bootstrap_of(unsigned group) { return unsigned(cache::limits::groups) + group; }

    /// Whether this program answers there.
    using IsOwn = std::function<bool(const dataplane::Endpoint&)>;

    /// `groups`: limits::groups of them. They outlive this, and so do the exchanges, whose listener is there
    /// already: this stands before it.
    ServerNames(Exchanges& exchanges, std::span<Upstreams> groups, IsOwn is_own);
    ~ServerNames() override;
    ServerNames(const ServerNames&) = delete;
    ServerNames& operator=(const ServerNames&) = delete;

    /// Takes back what is asked: afterwards no question is open to a bootstrap server, but for probes.
    void close(Time now);
    /// The names of these groups from now on, all to be asked at once of the bootstrap servers, which are
    /// there already. What was found of a name stays, if it stays in its group, but for what is our own at
    /// its ports now. After close().
    void restart(std::span<const Config::Group> groups);
    /// The servers of restart() are in place now: addresses get places there.
    void place();
    /// Questions that are due, and addresses that found no free place before.
    void tick(Time now);
    /// Whether a name that has no address yet may get one: it was not heard of in one way or the other.
    bool is_pending() const;
    /// Calls `then` once, from here or a later tick, when none is. It may restart.
    void when_heard(std::function<void()> then);
    /// Whether some name of the group, as of restart(), has an address.
    bool is_known(unsigned group) const;

    void on_answer(FetchId fetch, Answer&& answer) override;
    void on_exchange_failed(FetchId fetch, unsigned upstream, ExchangeFailure failure) override;
    void on_exchange_hint(FetchId fetch, unsigned upstream, Time now) override;
    bool may_resend(FetchId fetch) override;
    void on_exchange_event(FetchId fetch, unsigned upstream, ExchangeEvent event, Time now) override;

  private:
    /// A server as configured, and where its addresses of one family go.
    struct Server {
        Config::Server config;
        unsigned first; ///< of its places, limits::name_addresses in a row
    };
    /// A name and one type of addresses.
    struct Question {
        unsigned group = 0;
        std::string group_name;
        cache::Key key;
        std::vector<Server> servers{};           ///< of this name; their ports differ
        std::vector<dataplane::Address> found{}; ///< as of the latest answer with some
        bool is_heard = false;                   ///< an answer came, or all have failed
        std::vector<unsigned> asked{};           ///< the bootstrap servers that are being asked,
        std::vector<unsigned> left{};            ///< and those that are not yet asked this time
        unsigned failures = 0;                   ///< times in a row that all have failed
        Time due{};                              ///< when the next one is asked
        std::optional<Time> logged{};            ///< when the log said that all have failed, last
    };
    /// An address that is to have a place of a server.
    struct Claim {
        unsigned first;
        dataplane::Address address;
        bool operator==(const Claim&) const = default;
    };

    Question* find(FetchId fetch);
    static FetchId id_of(std::size_t question) { return {std::uint32_t(question), 0}; }
    void add(const Config::Group& group, unsigned index, const Config::Server& server, unsigned first);
    static std::string title(const Question& question);
    void ask(std::size_t index, Time now);
    void fail(Question& question, unsigned bootstrap, std::string_view why, Time now);
    bool is_to_be_told(const Question& question, bool is_nodata, Time now) const;
    void take(Question& question, const Answer& answer);
    bool is_own(const Question& question, const dataplane::Address& address) const;
    bool is_fit(const Question& question, unsigned bootstrap, const dataplane::Address& address) const;
    bool is_shared(const Question& question, const dataplane::Address& address) const;
    std::vector<dataplane::Address> placed(const Question& question) const;
    void settle(unsigned group);
    std::vector<Claim> claims(unsigned group) const;
    bool find_place(Upstreams& group, const Claim& claim);

    Exchanges& exchanges_;
    std::span<Upstreams> groups_;
    IsOwn is_own_;
    ExchangeListener* fetches_;
    std::vector<Question> questions_; ///< of each name A, then AAAA
    bool is_placed_ = false;          ///< place() was called
    std::uint32_t unsettled_ = 0;     ///< groups in which an address waits for a place, a bit each
    std::function<void()> heard_;     ///< when_heard()
    Time next_{};                     ///< tick() has nothing to do before
    Time now_{};                      ///< of the latest tick
};

} // namespace millrace::control
