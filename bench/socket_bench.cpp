// What the kernel takes for a query to an upstream and its reply, by how the source port is had: the floor
// under the cost of a miss. CPU time of the asking thread; 32 questions at a time, an echo on another CPU.
//
//   new_socket   socket, bind to a random port, epoll_ctl, connect, send, recv, close: Unbound's way
//   new_port     UdpSockets: a socket that stays, connected afresh, the port drawn by the kernel: ours
//   kept_port    a connected socket that keeps its port: dnsdist's way
#include <algorithm>
#include <array>
#include <thread>

#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/upstream/random.hpp"
#include "control/upstream/udp_sockets.hpp"
#include "dataplane/eal_plan.hpp"

namespace millrace::control {
namespace {

constexpr unsigned batch = 32;

void run_on(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/// Sends back what comes. Never ends.
sockaddr_in start_echo() {
    int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(socket, reinterpret_cast<sockaddr*>(&address), size);
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
    std::thread([socket] {
        run_on(dataplane::Machine::inspect().cpus.front());
        for (;;) {
            std::array<std::uint8_t, 512> message;
            sockaddr_in from;
            socklen_t from_size = sizeof from;
            auto* sender = reinterpret_cast<sockaddr*>(&from);
            auto octets = ::recvfrom(socket, message.data(), message.size(), 0, sender, &from_size);
            if (octets > 0) ::sendto(socket, message.data(), std::size_t(octets), 0, sender, from_size);
        }
    }).detach();
    return address;
}

struct NewSocket {
    static constexpr bool lasts = false;
    int take() {
        int descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        sockaddr_in local{};
        local.sin_family = AF_INET;
        do local.sin_port = htons(std::uint16_t(1024 + random.bits() % (65536 - 1024)));
        while (::bind(descriptor, reinterpret_cast<sockaddr*>(&local), sizeof local) != 0);
        epoll_event wanted{};
        wanted.events = EPOLLIN;
        wanted.data.fd = descriptor;
        epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &wanted);
        return descriptor;
    }
    void give_back(int descriptor) { ::close(descriptor); }
    int epoll_set() const { return set; }

    int set = epoll_create1(EPOLL_CLOEXEC);
    SystemRandom random;
};

struct NewPort {
    static constexpr bool lasts = false;
    int take() { return *sockets.take(AF_INET); }
    void give_back(int descriptor) { sockets.give_back(descriptor, AF_INET); }
    int epoll_set() const { return sockets.epoll_set(); }

    UdpSockets sockets;
};

struct KeptPort : NewPort {
    static constexpr bool lasts = true;
};

template <class Way>
void exchange(benchmark::State& state) {
    static const sockaddr_in echo = start_echo();
    run_on(dataplane::Machine::inspect().cpus.back());
    Way way;
    std::array<int, batch> descriptors{};
    auto open = [&](int& descriptor) {
        descriptor = way.take();
        ::connect(descriptor, reinterpret_cast<const sockaddr*>(&echo), sizeof echo);
    };
    if (Way::lasts) std::ranges::for_each(descriptors, open);
    std::array<std::uint8_t, 64> message{};
    std::int64_t exchanged = 0;
    for (auto _ : state) {
        for (int& descriptor : descriptors) {
            if (!Way::lasts) open(descriptor);
            ::send(descriptor, message.data(), message.size(), 0);
        }
        for (unsigned left = batch; left > 0;) {
            std::array<epoll_event, batch> ready;
            int count = epoll_wait(way.epoll_set(), ready.data(), batch, 1000);
            if (count <= 0) return state.SkipWithError("a reply is missing");
            for (int i = 0; i < count; ++i) {
                int descriptor = ready[std::size_t(i)].data.fd;
                if (::recv(descriptor, message.data(), message.size(), MSG_DONTWAIT) <= 0) continue;
                if (!Way::lasts) way.give_back(descriptor);
                --left;
            }
        }
        exchanged += batch;
    }
    if (Way::lasts) std::ranges::for_each(descriptors, [&](int descriptor) { way.give_back(descriptor); });
    state.counters["by_query"] = benchmark::Counter(
        double(exchanged), benchmark::Counter::kIsRate | benchmark::Counter::kInvert); // CPU seconds
}
BENCHMARK(exchange<NewSocket>)->Name("new_socket");
BENCHMARK(exchange<NewPort>)->Name("new_port");
BENCHMARK(exchange<KeptPort>)->Name("kept_port");

} // namespace
} // namespace millrace::control

BENCHMARK_MAIN();
