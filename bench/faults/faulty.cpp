// faulty: an upstream server for made-up names (authority.hpp) that is healthy until SIGUSR1, and has its
// fault from then on. Every reply goes out after a delay. At its end it prints how many questions came since.
//
// Basic algorithm: replies wait in a heap, the earliest first; ppoll sleeps until the earliest is due or a
// question comes. One thread. UDP alone: over TCP nobody listens.
#include <csignal>
#include <cstdio>
#include <queue>
#include <random>
#include <vector>

#include <CLI/CLI.hpp>
#include <poll.h>
#include <sys/prctl.h>
#include <time.h>

#include "bench/load/authority.hpp"
#include "bench/load/udp_server.hpp"

namespace millrace::bench {
namespace {

volatile std::sig_atomic_t fault_begins = 0, ends = 0;

struct Conduct {
    Authority authority;
    double delay = 0.005; ///< seconds until a reply
    double loss = 0;      ///< share of the datagrams that are lost, each way
};

struct Reply {
    std::int64_t due; ///< nanoseconds of CLOCK_MONOTONIC
    sockaddr_storage client;
    std::vector<std::uint8_t> octets;

    bool operator<(const Reply& other) const { return due > other.due; } ///< the earliest is on top
};

std::int64_t now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return std::int64_t(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

class Server {
  public:
    Server(int descriptor, Conduct healthy, Conduct faulty)
        : descriptor_(descriptor), healthy_(std::move(healthy)), faulty_(std::move(faulty)) {}

    /// Until SIGTERM; returns how many questions came since the fault began.
    std::uint64_t serve() {
        while (ends == 0) {
            wait();
            while (receive()) continue;
            for (std::int64_t time = now(); !waiting_.empty() && waiting_.top().due <= time; waiting_.pop())
                send(waiting_.top());
        }
        return asked_;
    }

  private:
    void wait() const {
        pollfd wanted{descriptor_, POLLIN, 0};
        // A signal that comes before ppoll is seen a moment later.
        std::int64_t left =
            waiting_.empty() ? 100'000'000 : std::max<std::int64_t>(0, waiting_.top().due - now());
        timespec time{left / 1'000'000'000, left % 1'000'000'000};
        ppoll(&wanted, 1, &time, nullptr);
    }

    /// False: nothing has come.
    bool receive() {
        std::array<std::uint8_t, 2048> buffer;
        Reply reply{};
        socklen_t size = sizeof reply.client;
        auto octets = recvfrom(descriptor_, buffer.data(), buffer.size() / 2, MSG_DONTWAIT,
                               reinterpret_cast<sockaddr*>(&reply.client), &size);
        if (octets < 0) return false;
        if (fault_begins != 0) ++asked_;
        const Conduct& conduct = fault_begins != 0 ? faulty_ : healthy_;
        bool heard = !is_lost(conduct), comes_back = !is_lost(conduct);
        std::size_t length = conduct.authority.reply(buffer, std::size_t(octets));
        if (!heard || !comes_back || length == 0) return true;
        reply.due = now() + std::int64_t(conduct.delay * 1e9);
        reply.octets.assign(buffer.begin(), buffer.begin() + std::ptrdiff_t(length));
        waiting_.push(std::move(reply));
        return true;
    }

    void send(const Reply& reply) const {
        sendto(descriptor_, reply.octets.data(), reply.octets.size(), 0,
               reinterpret_cast<const sockaddr*>(&reply.client), sizeof reply.client);
    }

    bool is_lost(const Conduct& conduct) { return share_(random_) < conduct.loss; }

    int descriptor_;
    Conduct healthy_, faulty_;
    std::priority_queue<Reply> waiting_;
    std::uint64_t asked_ = 0;
    std::mt19937 random_{1};
    std::uniform_real_distribution<double> share_{0, 1};
};

int main(int argc, char** argv) {
    CLI::App app("faulty: an upstream server that has a fault from SIGUSR1 on");
    std::string listen;
    Conduct healthy, faulty;
    double delay = 5, slow = 0;
    bool servfail = false;
    app.add_option("listen", listen, "address:port")->required();
    app.add_option("--delay", delay, "of every reply, milliseconds")->capture_default_str();
    app.add_option("--ttl", healthy.authority.ttl, "seconds")->capture_default_str();
    app.add_option("--slow", slow, "the fault: this delay instead, milliseconds");
    app.add_option("--loss", faulty.loss, "the fault: this share of the datagrams each way; 1: dead");
    app.add_flag("--servfail", servfail, "the fault: SERVFAIL to everything");
    app.add_option("--wrong-every", faulty.authority.wrong_every,
                   "the fault: a wrong address for each name whose number this divides");
    app.add_option("--bogus-every", faulty.authority.bogus_every,
                   "no fault, but what is seen of one: SERVFAIL, extended error 6, for such names");
    CLI11_PARSE(app, argc, argv);
    auto descriptor = open_udp(listen);
    if (!descriptor) {
        std::fprintf(stderr, "faulty: %s\n", descriptor.error().c_str());
        return 1;
    }
    healthy.delay = delay / 1000;
    faulty.delay = (slow > 0 ? slow : delay) / 1000;
    faulty.authority.ttl = healthy.authority.ttl;
    if (servfail) faulty.authority.rcode = dns::Rcode::servfail;
    std::signal(SIGUSR1, [](int) { fault_begins = 1; });
    std::signal(SIGTERM, [](int) { ends = 1; });
    prctl(PR_SET_TIMERSLACK, 1); // a delay as long as asked for
    std::printf("%llu\n",
                static_cast<unsigned long long>(Server(descriptor->get(), healthy, faulty).serve()));
    return 0;
}

} // namespace
} // namespace millrace::bench

int main(int argc, char** argv) {
    return millrace::bench::main(argc, argv);
}
