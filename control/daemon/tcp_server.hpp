// Clients over TCP (RFC 7766): length-prefixed, pipelined, replies in the order in which they are ready.
//
// The same Query::parse and answer::write as on every port. A question that the cache does not answer waits
// in the FetchTable like any other, but without a ring or a credit: bounded by connections and by questions
// per connection, beyond which a connection is not read from. Control thread only.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <asio.hpp>
#include <tl/expected.hpp>

#include "cache/table.hpp"
#include "control/config/config.hpp"
#include "control/fetch/table.hpp"
#include "dataplane/gate.hpp"

namespace millrace::control {

struct TcpCounters {
    std::uint64_t accepted = 0; ///< connections
    std::uint64_t refused = 0;  ///< connections closed at once: too many, in all or of one client
    std::uint64_t timeouts = 0; ///< closed because idle
};

class TcpServer {
  public:
    /// `local` may be null, as a worker's.
    TcpServer(asio::io_context& io, const cache::Table& table, FetchTable& fetches,
              const dataplane::Access& access, const cache::Replaceable<dataplane::LocalNames>* local,
              const Config::Tcp& policy);
    ~TcpServer();

    /// Listens on one more endpoint; an error is a sentence.
    tl::expected<void, std::string> listen(const dataplane::Endpoint& endpoint);

    /// The end of a wait of one of our waiters.
    void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind);

    /// For connections and questions that come from here on.
    void set_policy(const Config::Tcp& policy);

    /// Closes listeners and connections. Waiters left in the FetchTable find nothing afterwards.
    void close();

    const dataplane::Counters& counters() const { return counters_; } ///< of the questions, as a worker's
    const TcpCounters& connections() const { return connections_; }

  private:
    class Connection;
    /// A question in the FetchTable.
    struct Pending {
        std::weak_ptr<Connection> connection;
        dataplane::Head head;
        std::vector<std::uint8_t> question;
    };

    struct Listener {
        explicit Listener(asio::io_context& io) : acceptor(io), retry(io) {}
        asio::ip::tcp::acceptor acceptor;
        asio::steady_timer retry; ///< of an accept that failed
    };
    void accept(Listener& listener);
    bool has_room(const dataplane::Address& client) const;
    void forget(const Connection& connection);
    void answer(Connection& connection, std::span<const std::uint8_t> message);
    void look_up(Connection& connection, const dataplane::Query& query,
                 std::span<const std::uint8_t> question);
    bool answer_from_cache(Connection& connection, const dataplane::Query& query,
                           std::span<const std::uint8_t> question);

    asio::io_context& io_;
    const cache::Table& table_;
    FetchTable& fetches_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    std::unordered_map<std::uint64_t, std::shared_ptr<Connection>> open_;
    std::unordered_map<std::uint64_t, Pending> pending_;
    Config::Tcp policy_;
    std::map<dataplane::Address, unsigned> connections_of_client_; ///< an IPv6 client is its /64
    std::vector<std::uint8_t> scratch_;                            ///< a reply of the gate's
    std::uint64_t last_id_ = 0;
    dataplane::Counters counters_;
    dataplane::Gate gate_;
    TcpCounters connections_;
};

} // namespace millrace::control
