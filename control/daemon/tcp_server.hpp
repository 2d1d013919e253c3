// Clients over TCP (RFC 7766): length-prefixed, pipelined, replies in the order in which they are ready.
//
// The same Query::parse and answer::write as on every port. A question that the cache does not answer waits
// in the FetchTable like any other, but without a ring or a credit: bounded by connections and by questions
// per connection, beyond which a connection is not read from. When all connections are taken, who holds most
// gives way (tcp_places.hpp). Control thread only.
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
#include "control/daemon/tcp_places.hpp"
#include "control/fetch/table.hpp"
#include "control/traffic/top.hpp"
#include "dataplane/descriptor.hpp"
#include "dataplane/gate.hpp"
#include "dataplane/query_log.hpp"

namespace millrace::control {

/// Of connections.
struct TcpCounters {
    std::uint64_t accepted = 0;
    std::uint64_t foreign = 0;    ///< closed at once: outside `allow`
    std::uint64_t refused = 0;    ///< closed at once: too many, in all or of one client
    std::uint64_t displaced = 0;  ///< closed for one of a client prefix, or host, that holds fewer
    std::uint64_t unfinished = 0; ///< closed in the midst of a question
    std::uint64_t timeouts = 0;   ///< closed because idle, or because replies were not read
};

class TcpServer {
  public:
    TcpServer(asio::io_context& io, const cache::Table& table, FetchTable& fetches,
              const cache::Replaceable<dataplane::Rules>& rules, const Config::Tcp& policy);
    ~TcpServer();

    /// Listens on one more endpoint, which the kernel holds, or will: then it is not `held`. `handed`: a
    /// socket that a predecessor listens there with, or none. An error is a sentence.
    tl::expected<void, std::string> listen(const dataplane::Endpoint& endpoint, bool held = true,
                                           dataplane::Descriptor handed = {});
    std::vector<int> listeners(); ///< their descriptors, for a successor
    /// Who connects from here on is somebody else's. Who is connected is served on.
    void stop_listening();

    /// The end of a wait of one of our waiters.
    void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind);

    /// Closes whose time has come, so many in one call.
    void tick(Time now);

    /// For connections and questions that come from here on.
    void set_policy(const Config::Tcp& policy);

    /// Where queries and replies are logged, and queries counted; or null. Before the first connection.
    void set_log(dataplane::QueryLog* log, Top* top) {
        log_ = log;
        top_ = top;
    }

    /// Closes listeners and connections. Waiters left in the FetchTable find nothing afterwards.
    void close();

    const dataplane::Counters& counters() const { return counters_; } ///< of the questions, as a worker's
    const TcpCounters& connections() const { return connections_; }
    std::size_t open() const { return places_.size(); }     ///< connections now
    std::size_t waiting() const { return pending_.size(); } ///< questions in the FetchTable

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
    void take(asio::ip::tcp::socket socket);
    bool make_room(const dataplane::Address& client, std::uint64_t prefix);
    void close_one(TcpPlaces::Id id);
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
    std::unordered_map<TcpPlaces::Id, std::shared_ptr<Connection>> open_;
    TcpPlaces places_; ///< of open_
    std::unordered_map<std::uint64_t, Pending> pending_;
    Config::Tcp policy_;
    std::vector<std::uint8_t> scratch_; ///< a reply of the gate's
    std::uint64_t last_id_ = 0;
    dataplane::Counters counters_;
    dataplane::Gate gate_;
    TcpCounters connections_;
    dataplane::QueryLog* log_ = nullptr;
    Top* top_ = nullptr;
};

} // namespace millrace::control
