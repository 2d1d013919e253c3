#include "control/daemon/tcp_server.hpp"

#include "cache/capitals.hpp"
#include "control/daemon/tcp_connection.hpp"
#include "control/limits.hpp"
#include "dataplane/answer.hpp"

namespace millrace::control {

using asio::ip::tcp;
using dataplane::Event;
using dataplane::Query;
using dataplane::Verdict;
namespace answer = dataplane::answer;

namespace {

dataplane::Endpoint endpoint_of(const tcp::endpoint& from) {
    sockaddr_storage raw{};
    std::memcpy(&raw, from.data(), from.size());
    return dataplane::from_sockaddr(raw);
}

tcp::endpoint endpoint_of(const dataplane::Endpoint& from) {
    if (from.address.is_v4()) {
        asio::ip::address_v4::bytes_type v4;
        std::memcpy(v4.data(), from.address.v4_octets(), v4.size());
        return {asio::ip::address_v4(v4), from.port};
    }
    return {asio::ip::address_v6(from.address.octets), from.port};
}

/// Writes into a buffer that is then cut to what was written.
template <class Write>
std::vector<std::uint8_t> written(std::size_t room, Write write) {
    std::vector<std::uint8_t> out(room);
    out.resize(write(std::span(out)));
    return out;
}

std::size_t room_for(const dataplane::Head& head, std::size_t rest = 0) {
    constexpr std::size_t opt_with_error = 32;
    return dns::header_octets + head.question_size + rest + opt_with_error;
}

std::size_t room_for(const dataplane::Head& head, const cache::Entry& entry) {
    return room_for(head, std::size_t(entry.records_size) + entry.info_size);
}

asio::error_code bind_and_listen(tcp::acceptor& acceptor, const tcp::endpoint& local, bool held) {
    asio::error_code error;
    acceptor.open(local.protocol(), error);
    if (!error && local.protocol() == tcp::v6()) acceptor.set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    int on = 1; // for IPv6, too: it is one flag
    if (!error && !held && setsockopt(acceptor.native_handle(), IPPROTO_IP, IP_FREEBIND, &on, sizeof on) != 0)
        error.assign(errno, asio::error::get_system_category());
    if (!error) acceptor.bind(local, error);
    if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
    return error;
}

} // namespace

TcpServer::TcpServer(asio::io_context& io, const cache::Table& table, FetchTable& fetches,
                     const cache::Replaceable<dataplane::Rules>& rules, const Config::Tcp& policy)
    : io_(io), table_(table), fetches_(fetches), scratch_(cache::limits::message_octets),
      gate_(rules, counters_) {
    set_policy(policy);
}

void TcpServer::set_policy(const Config::Tcp& policy) {
    policy_ = policy;
    // Of the descriptors, sockets towards upstreams take the greater part.
    policy_.connections = std::min(policy.connections, exchange_capacity() / 2);
}

void TcpServer::forget(const Connection& connection) {
    TcpPlaces::Id id = connection.id();
    places_.remove(id);
    open_.erase(id); // may be the end of it
}

void TcpServer::close_one(TcpPlaces::Id id) {
    auto connection = open_.at(id);
    connection->close();
}

void TcpServer::tick(Time now) {
    for (unsigned closed = 0; closed < limits::closes_per_turn; ++closed) {
        auto id = places_.overdue(now);
        if (!id) return;
        ++(open_.at(*id)->is_within_question() ? connections_.unfinished : connections_.timeouts);
        close_one(*id);
    }
}

TcpServer::~TcpServer() {
    close();
}

tl::expected<void, std::string> TcpServer::listen(const dataplane::Endpoint& endpoint, bool held,
                                                  dataplane::Descriptor handed) {
    auto listener = std::make_unique<Listener>(io_);
    tcp::endpoint local = endpoint_of(endpoint);
    asio::error_code error;
    if (!handed) {
        error = bind_and_listen(listener->acceptor, local, held);
    } else if (!listener->acceptor.assign(local.protocol(), handed.get(), error)) {
        handed.release();
    }
    if (error) return tl::unexpected(to_string(endpoint) + " (TCP): " + error.message());
    listeners_.push_back(std::move(listener));
    accept(*listeners_.back());
    return {};
}

std::vector<int> TcpServer::listeners() {
    std::vector<int> all;
    for (auto& listener : listeners_) all.push_back(listener->acceptor.native_handle());
    return all;
}

void TcpServer::stop_listening() {
    for (auto& listener : listeners_) {
        asio::error_code error;
        // Not closed by asio, which leaves it to the kernel to end the watch; and that lasts as long as a
        // successor has the socket.
        dataplane::Descriptor socket(listener->acceptor.release(error));
        listener->retry.cancel();
    }
}

void TcpServer::accept(Listener& listener) {
    if (!listener.acceptor.is_open()) return; // a successor's
    listener.acceptor.async_accept([this, &listener](asio::error_code error, tcp::socket socket) {
        if (error == asio::error::operation_aborted) return;
        if (!error) {
            take(std::move(socket));
            return accept(listener);
        }
        ++connections_.refused;
        // Without descriptors the next accept would fail at once, and again: wait for some to be closed.
        listener.retry.expires_after(100ms);
        listener.retry.async_wait([this, &listener](asio::error_code cancelled) {
            if (!cancelled) accept(listener);
        });
    });
}

/// A client that has connected; what is not kept is closed as `socket` ends.
void TcpServer::take(tcp::socket socket) {
    asio::error_code gone;
    dataplane::Endpoint client = endpoint_of(socket.remote_endpoint(gone));
    gate_.take_rules();
    if (!gone && !gate_.access().allows(client.address)) {
        ++connections_.foreign;
        return;
    }
    std::uint64_t prefix = gate_.access().prefix_of(client.address);
    bool full = places_.of_client(client.address) >= policy_.per_client;
    if (gone || full || !make_room(client.address, prefix)) {
        ++connections_.refused;
        return;
    }
    ++connections_.accepted;
    auto connection = std::make_shared<Connection>(*this, std::move(socket), ++last_id_, client);
    open_.emplace(last_id_, connection);
    places_.add(last_id_, client.address, prefix, connection->state());
    connection->start();
}

bool TcpServer::make_room(const dataplane::Address& client, std::uint64_t prefix) {
    if (places_.size() < policy_.connections) return true;
    auto id = places_.gives_way_to(client, prefix);
    if (!id) return false;
    ++connections_.displaced;
    close_one(*id);
    return true;
}

void TcpServer::answer(Connection& connection, std::span<const std::uint8_t> message) {
    gate_.take_rules();
    if (!gate_.access().allows(connection.client().address)) { // since a reload
        ++connections_.foreign;
        return connection.close();
    }
    Query query;
    std::size_t reply = 0;
    Time now = boot_time();
    if (top_) top_->note(connection.client(), message);
    if (log_) {
        log_->add(
            {connection.client(), now, {}, 0, dataplane::LoggedKind::client_query, dataplane::Transport::tcp},
            message);
    }
    dataplane::Gate::Message judged{message, dataplane::Transport::tcp, connection.client().address, now};
    if (gate_.admit(judged, query, scratch_, reply)) {
        return look_up(connection, query, message.subspan(dns::header_octets, query.head.question_size));
    }
    if (reply == 0) return connection.close();
    connection.reply({scratch_.begin(), scratch_.begin() + std::ptrdiff_t(reply)});
}

void TcpServer::look_up(Connection& connection, const Query& query, std::span<const std::uint8_t> question) {
    if (answer_from_cache(connection, query, question)) return counters_.add(Verdict::answered);
    counters_.add(Verdict::missed);
    std::uint64_t token = ++last_id_;
    pending_.emplace(token,
                     Pending{connection.weak_from_this(), query.head, {question.begin(), question.end()}});
    connection.wait();
    std::uint64_t capitals = cache::capitals_of(question.first(question.size() - dns::type_class_octets));
    Waiter waiter{Waiter::tcp_source, token, connection.client(), query.head.id, boot_time(), capitals};
    fetches_.resolve(query.key, table_.hasher()(query.key), waiter, waiter.arrived);
}

bool TcpServer::answer_from_cache(Connection& connection, const Query& query,
                                  std::span<const std::uint8_t> question) {
    cache::Hash hash = table_.hasher()(query.key);
    const cache::Entry* entry = table_.find(query.key, hash);
    if (!entry || entry->version.generation <= table_.floor(query.key.group)) return false;
    Time now = boot_time();
    bool fresh = now < entry->expiry;
    bool stale = !fresh && entry->is_answered_stale(now);
    if (!fresh && !stale) return false;
    counters_.add(fresh ? Event::hit : Event::stale_hit);
    entry->visited.store(1, std::memory_order_relaxed);
    auto age = fresh ? answer::Age::counted : answer::Age::stale;
    connection.reply(written(room_for(query.head, *entry), [&](auto out) {
        return answer::write(query.head, question, *entry, now, age, out);
    }));
    if (entry->claim_refresh(now, dataplane::limits::refresh_retry)) {
        counters_.add(Event::refresh_asked);
        fetches_.refresh(query.key, hash, entry->version, now);
    }
    return true;
}

void TcpServer::wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) {
    auto node = pending_.extract(waiter.token);
    if (node.empty()) return;
    Pending& pending = node.mapped();
    bool abandoned = kind == dataplane::Wake::Kind::abandon;
    counters_.add(abandoned ? Event::wake_abandoned : Event::wake_answered);
    if (!abandoned) {
        Time waited = std::max<Time>(boot_time() - waiter.arrived, Time{});
        counters_.miss_time.add(std::uint64_t(waited.count()) * 1000);
    }
    auto connection = pending.connection.lock();
    if (!connection) return;
    if (!abandoned && connection->owes_much()) {
        // Questions were taken in while there was room; their answers may be 64 KiB each.
        connection->reply(written(room_for(pending.head), [&](auto out) {
            return answer::write_failure(pending.head, pending.question, cache::Entry::no_info, out);
        }));
    } else if (!abandoned) {
        auto age = kind == dataplane::Wake::Kind::stale ? answer::Age::stale : answer::Age::counted;
        connection->reply(written(room_for(pending.head, *entry), [&](auto out) {
            return answer::write(pending.head, pending.question, *entry, boot_time(), age, out);
        }));
    }
    connection->skip();
}

void TcpServer::close() {
    listeners_.clear();
    while (!open_.empty()) open_.begin()->second->close();
}

} // namespace millrace::control
