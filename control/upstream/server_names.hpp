// The addresses of servers that the operator gives by name: asked of the group's bootstrap servers, A and
// AAAA apart, and put into the places that the group keeps for the name (Upstreams).
//
// They are asked again after their TTL, within bounds. Who cannot be asked, or denies, takes nothing away:
// the addresses known so far stay, and the next bootstrap server is asked, all of them again at back-offs.
// Nothing of it goes through the cache. An Exchange of no Fetch carries each question, so that what replies
// must be like is the same as for any other; the bootstrap servers are a group of their own, which no
// client's question names (bootstrap_of), with health, breakers and caps.
//
// An address is not taken that the group has already, that nobody or millraced itself answers on, or that is
// on loopback, unless who tells it is there, too: nobody outside opens this machine's own services.
//
// Threads: control only. It stands before the FetchTable as the listener of the Exchanges, and passes on
// what concerns Fetches.
#pragma once

#include <cstdint>
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

    /// `groups`: limits::groups of them, which outlive this, as the exchanges do. The listener of these is
    /// there already. `own`: endpoints that this program answers on.
    ServerNames(Exchanges& exchanges, std::span<Upstreams> groups, std::vector<dataplane::Endpoint> own);
    ~ServerNames() override;
    ServerNames(const ServerNames&) = delete;
    ServerNames& operator=(const ServerNames&) = delete;

    /// Takes back what is asked: afterwards no question is open to a bootstrap server, but for probes.
    void close(Time now);
    /// The names of the groups that are in place, all to be asked at once. After close().
    void restart();
    /// Questions that are due, and addresses that found no free place before.
    void tick(Time now);
    /// Whether some name was never heard of, in one way or the other.
    bool is_pending() const;

    void on_answer(FetchId fetch, Answer&& answer) override;
    void on_exchange_failed(FetchId fetch, unsigned upstream, ExchangeFailure failure) override;
    void on_exchange_hint(FetchId fetch, unsigned upstream, Time now) override;
    bool may_resend(FetchId fetch) override;
    void on_exchange_event(FetchId fetch, unsigned upstream, ExchangeEvent event, Time now) override;

  private:
    /// A name and one type of addresses.
    struct Question {
        unsigned group = 0;
        unsigned first = 0; ///< of its places, limits::name_addresses in a row
        cache::Key key;
        std::string server;                      ///< as configured
        std::vector<dataplane::Address> found{}; ///< as of the latest answer with some
        bool is_settled = true;                  ///< all of `found` have places
        bool is_heard = false;                   ///< an answer or a failure came
        std::optional<unsigned> asked{};         ///< the bootstrap server, while one is being asked
        unsigned failures = 0;                   ///< in a row
        Time due{};                              ///< when it is asked again
        std::optional<Time> logged{};            ///< when the log said that it has failed, last
    };

    Question* find(FetchId fetch);
    static FetchId id_of(std::size_t question) { return {std::uint32_t(question), 0}; }
    void ask(std::size_t index, Time now);
    void fail(Question& question, std::string_view why, Time now);
    bool is_to_be_told(const Question& question, bool is_nodata, Time now) const;
    void take(Question& question, const Answer& answer);
    bool is_fit(const Question& question, unsigned bootstrap, const dataplane::Address& address) const;
    std::vector<dataplane::Address> placed(const Question& question) const;
    void settle(Question& question);
    bool find_place(const Question& question, const dataplane::Address& address);

    Exchanges& exchanges_;
    std::span<Upstreams> groups_;
    std::vector<dataplane::Endpoint> own_;
    ExchangeListener* fetches_;
    std::vector<Question> questions_; ///< of each name A, then AAAA
    Time next_{};                     ///< tick() has nothing to do before
    Time now_{};                      ///< of the latest tick
};

} // namespace millrace::control
