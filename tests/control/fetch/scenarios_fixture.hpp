// What the tests of the scenarios share: replies that are no addresses, upstreams that answer by name, and a
// ranker whose results the test gives.
#pragma once

#include "tests/control/fetch/fixture.hpp"

namespace millrace::control {

using dataplane::Address;

inline const ReplySpec servfail{.rcode = 2}, refused{.rcode = 5};
inline const ReplySpec nxdomain{.authority = {"com. 900 IN SOA ns.com. h.com. 1 2 3 4 300"}, .rcode = 3};
inline const ReplySpec nodata{.authority = {"com. 900 IN SOA ns.com. h.com. 1 2 3 4 300"}};

/// Nothing is below a name that a validator denies.
inline FetchPolicy hardened() {
    FetchPolicy policy;
    policy.harden_below_nxdomain = true;
    return policy;
}

/// Notes what it is asked to rank; the test gives the results.
class FakeRanker final : public Ranker {
  public:
    struct Asked {
        FetchId fetch;
        std::vector<Address> addresses;
        bool cancelled = false;
    };
    bool rank(FetchId fetch, std::span<const Address> addresses) override {
        asked.push_back({fetch, {addresses.begin(), addresses.end()}});
        return true;
    }
    void cancel(FetchId fetch) override {
        for (Asked& a : asked) a.cancelled = a.cancelled || a.fetch == fetch;
    }
    std::vector<Asked> asked;
};

class Scenarios : public FetchTest {
  protected:
    using FetchTest::FetchTest;
    ~Scenarios() override { fetches.set_ranker(nullptr); } // ours goes before the fetches close

    /// From here on server `i` answers each name with its own hosts after its own delay.
    struct Said {
        Hosts hosts;
        Time delay;
        unsigned ttl = 60;
    };
    void serve_names(unsigned i, const std::map<std::string, Said>& said) {
        network.serve(server(i), [=](FakeNetwork& net, const Sent& sent) {
            const Said& s = said.at(question_name(sent));
            ReplySpec spec;
            for (const std::string& host : s.hosts) spec.answer.push_back(record(sent, host, s.ttl));
            net.reply(sent, make_reply(sent.message, spec), s.delay);
        });
    }
    Hosts sorted(const cache::Key& key) const {
        Hosts hosts = cached_addresses(key);
        std::ranges::sort(hosts);
        return hosts;
    }
    static std::vector<Address> reversed(std::vector<Address> addresses) {
        std::ranges::reverse(addresses);
        return addresses;
    }
    /// Puts an answer in for good, then lets its life end: it can only be served stale.
    void make_stale(const cache::Key& key) {
        for (unsigned i : {0u, 1u, 2u}) serve(i, {"192.0.2.99"}, 1ms, 1);
        ask(key);
        run(3s);
    }
    FakeRanker ranker;
};

} // namespace millrace::control
