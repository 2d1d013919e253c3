// Networks and what is at the other end: the kernel's with plain sockets on loopback, and a port's, whose
// lcore and wire are the test's.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <asio/io_context.hpp>

#include "control/upstream/asio_network.hpp"
#include "control/upstream/port_network.hpp"
#include "control/upstream/random.hpp"
#include "tests/control/upstream/peer.hpp"
#include "tests/dataplane/frames.hpp"

namespace millrace::control {

/// A network of four sockets, and peers.
class Wire {
  public:
    virtual ~Wire() = default;

    virtual Network& network() = 0;
    virtual dataplane::Endpoint add_peer() = 0;
    /// The next datagram to a peer. Empty: there is none.
    virtual Octets receive(const dataplane::Endpoint& peer, dataplane::Endpoint& from) = 0;
    virtual void send(const dataplane::Endpoint& peer, const Octets& message,
                      const dataplane::Endpoint& to) = 0;
    virtual void run(Time length) = 0; ///< what has come is delivered
    virtual std::uint32_t open_count() const = 0;
    virtual std::uint64_t refused() const = 0;
    virtual std::uint64_t oversized() const = 0;
    virtual int source_ports() const = 0; ///< that are drawn from
};

class KernelWire final : public Wire {
  public:
    explicit KernelWire(bool v6) : address_(v6 ? "::1" : "127.0.0.1") {}

    Network& network() override { return network_; }
    dataplane::Endpoint add_peer() override {
        auto peer = std::make_unique<Peer>(SOCK_DGRAM, address_);
        dataplane::Endpoint at = peer->endpoint;
        peers_.emplace(at, std::move(peer));
        return at;
    }
    Octets receive(const dataplane::Endpoint& peer, dataplane::Endpoint& from) override {
        return peers_.at(peer)->receive(&from);
    }
    void send(const dataplane::Endpoint& peer, const Octets& message,
              const dataplane::Endpoint& to) override {
        peers_.at(peer)->send(message, to);
    }
    void run(Time length) override { context_.run_for(length), context_.restart(); }
    std::uint32_t open_count() const override { return network_.open_count(); }
    std::uint64_t refused() const override { return network_.counters().refused; }
    std::uint64_t oversized() const override { return network_.counters().oversized; }
    int source_ports() const override { return int(UdpSockets::source_ports()); }

  private:
    const char* address_;
    asio::io_context context_;
    AsioNetwork network_{context_, {.sockets = 4, .tcp_connections = 2}};
    std::map<dataplane::Endpoint, std::unique_ptr<Peer>> peers_;
};

/// A port of two lcores with two sources of each family, one router behind it. Group 0 asks by it.
class PortWire final : public Wire {
  public:
    static constexpr std::uint32_t link = 3;
    static inline const dataplane::Mac own{{2, 0, 0, 0, 0, 0x53}}, router{{2, 0, 0, 0, 0, 0xa}};

    bool is_taken = true; ///< what set_remotes of the daemon's says

    explicit PortWire(bool v6, std::uint32_t sockets = 4, Network* kernel = nullptr)
        : v6_(v6), network_(kernel ? *kernel : kernel_, random_, sockets) {
        sources = {tests::address("198.18.0.60"), tests::address("198.18.0.61"),
                   tests::address("2001:db8::60"), tests::address("2001:db8::61")};
        path_.emplace(dataplane::UpstreamPath::Setup{2, sources, own, 1500, &next_hops_, 0});
        path_->set_usable(true);
        way_ = {0, sources};
        network_.set_ports({{&*path_, [this](std::vector<dataplane::Endpoint> remotes) {
                                 told = remotes;
                                 path_->set_remotes(std::move(remotes), grace_);
                                 return is_taken;
                             }}});
        network_.set_ways({&way_});
    }

    Network& network() override { return network_; }
    dataplane::Endpoint add_peer() override {
        return {tests::address((v6_ ? "2001:db8:1::" : "192.0.2.") + std::to_string(++peers_)), 53};
    }
    Octets receive(const dataplane::Endpoint& peer, dataplane::Endpoint& from) override {
        Octets frame = take_frame();
        if (frame.empty()) return {};
        // To the parser of queries it is one, whoever is asked.
        dataplane::Service server;
        server.addresses = {peer.address};
        auto parsed = dataplane::Frame::parse(frame, server);
        EXPECT_TRUE(parsed) << "a query to another, or a broken one";
        if (!parsed) return {};
        from = parsed->source;
        return {frame.begin() + parsed->payload, frame.begin() + parsed->payload + parsed->payload_size};
    }
    void send(const dataplane::Endpoint& peer, const Octets& message,
              const dataplane::Endpoint& to) override {
        auto verdict = offer(reply(peer, message, to));
        bool is_closed = verdict == dataplane::Verdict::drop_unasked;
        EXPECT_TRUE(is_closed || verdict == dataplane::Verdict::to_control);
    }
    void run(Time) override { network_.poll(); }
    std::uint32_t open_count() const override { return network_.open_count(); }
    std::uint64_t refused() const override { return network_.counters().refused; }
    std::uint64_t oversized() const override { return network_.counters().oversized; }
    int source_ports() const override { return 65536 - 1024; }

    // The lcore's side.

    static tests::Query reply(const dataplane::Endpoint& peer, const Octets& message,
                              const dataplane::Endpoint& to) {
        static std::set<std::string> texts; // a Query borrows them
        auto text = [](const dataplane::Address& one) {
            return std::string_view(*texts.insert(dataplane::to_string(one)).first);
        };
        return {.v6 = !to.address.is_v4(),
                .source = text(peer.address),
                .destination = text(to.address),
                .source_port = peer.port,
                .destination_port = to.port,
                .payload = message};
    }
    dataplane::Verdict offer(const tests::Query& query) { return offer(tests::build(query)); }
    dataplane::Verdict offer(const Octets& frame) {
        return path_->queue(++offered_ % 2).offer(frame, dataplane::Service{}, {});
    }
    /// The next frame that an lcore would send; empty: none.
    Octets take_frame() {
        Octets frame(dataplane::UpstreamQueue::query_room);
        std::size_t size = path_->queue(0).take_query(frame.data());
        if (size == 0) size = path_->queue(1).take_query(frame.data());
        frame.resize(size);
        return frame;
    }
    void lose_the_router(bool is_lost = true) { next_hops_.replace(by_router(!is_lost), grace_); }

    dataplane::UpstreamPath& path() { return *path_; }
    PortNetwork& port_network() { return network_; }

    std::vector<dataplane::Address> sources;
    std::vector<dataplane::Endpoint> told; ///< whose replies are taken

  private:
    static std::unique_ptr<dataplane::NextHops> by_router(bool is_known) {
        static const std::vector<std::string> interfaces = {"dns0"};
        dataplane::KernelView kernel;
        kernel.links = {{link, "dns0"}};
        if (is_known) kernel.neighbours = {{link, tests::address("fe80::1"), router}};
        auto routes = std::make_shared<dataplane::KernelRoutes>();
        for (const char* all : {"0.0.0.0/0", "::/0"})
            routes->add(*dataplane::parse_prefix(all), 0, {{link, tests::address("fe80::1")}});
        routes->seal();
        kernel.routes = std::move(routes);
        return std::make_unique<dataplane::NextHops>(kernel, interfaces);
    }

    bool v6_;
    unsigned peers_ = 0, offered_ = 0;
    asio::io_context context_;
    AsioNetwork kernel_{context_, {.sockets = 4, .tcp_connections = 2}};
    SystemRandom random_;
    cache::Grace grace_;
    cache::Replaceable<dataplane::NextHops> next_hops_{by_router(true)};
    std::optional<dataplane::UpstreamPath> path_;
    PortNetwork::Way way_;
    PortNetwork network_;
};

} // namespace millrace::control
