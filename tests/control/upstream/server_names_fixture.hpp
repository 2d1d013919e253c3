// A group's servers given by name, and the bootstrap servers that tell their addresses: the whole control
// plane, as tests of fetches have it.
#pragma once

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "control/upstream/server_names.hpp"
#include "tests/control/fetch/fixture.hpp"

namespace millrace::control {

inline dataplane::Address address_at(const std::string& text) {
    return *dataplane::parse_address(text);
}

class ServerNamesTest : public FetchTest {
  protected:
    ServerNamesTest() : FetchTest(0) {
        configure({named()});
        for (const auto& from : bootstrap)
            groups[ServerNames::bootstrap_of(0)].habits(index(from)).heard_opt();
    }

    ~ServerNamesTest() override { names.close(clock.now); }

    static Config::Server named(std::uint16_t port = 53, const std::string& name = "dns.example.net.") {
        Config::Server server(dataplane::Endpoint{{}, port});
        server.name = name;
        return server;
    }
    /// As a reload does it.
    void configure(const std::vector<Config::Server>& servers) {
        names.close(clock.now);
        upstreams.replace(servers);
        Upstreams& resolvers = groups[ServerNames::bootstrap_of(0)];
        std::vector<Config::Server> wanted(bootstrap.begin(), bootstrap.end());
        if (!resolvers.has_servers(wanted)) resolvers.replace(wanted);
        restart({group_of(servers)});
    }
    void restart(const std::vector<Config::Group>& configured) {
        names.restart(configured);
        names.place();
    }
    Config::Group group_of(const std::vector<Config::Server>& servers, const std::string& name = "g") const {
        Config::Group group{name, servers};
        group.bootstrap = bootstrap;
        return group;
    }
    unsigned index(const dataplane::Endpoint& of) const { return of == bootstrap[0] ? 0 : 1; }

    /// What a bootstrap server says, by type.
    void tell(const Hosts& v4, const Hosts& v6 = {}, unsigned ttl = 300, unsigned which = 0) {
        network.serve(bootstrap[which], [=](FakeNetwork& net, const Sent& sent) {
            bool is_v6 = sent.message[12 + 17 + 1] == LDNS_RR_TYPE_AAAA; // behind the header and the name
            ReplySpec spec;
            for (const std::string& host : is_v6 ? v6 : v4) {
                spec.answer.push_back("dns.example.net. " + std::to_string(ttl) + " IN " +
                                      (is_v6 ? "AAAA " : "A ") + host);
            }
            if (spec.answer.empty()) spec.authority = {"example.net. 60 IN SOA a. b. 1 2 3 4 60"};
            net.reply(sent, make_reply(sent.message, spec), 1ms);
        });
    }
    void say(const ReplySpec& spec, unsigned which = 0) {
        network.serve(bootstrap[which], [=](FakeNetwork& net, const Sent& sent) {
            net.reply(sent, make_reply(sent.message, spec), 1ms);
        });
    }
    void be_silent(unsigned which = 0) {
        network.serve(bootstrap[which], [](FakeNetwork&, const Sent&) {});
    }
    void run(Time span) {
        Time step = span > 2min ? 1s : 10ms;
        for (Time end = clock.now + span; clock.now < end;) {
            names.tick(clock.now);
            FetchTest::run(std::min<Time>(step, end - clock.now));
        }
    }
    /// Who is asked, by place.
    Hosts known() const {
        Hosts hosts;
        for (unsigned i = 0; i < upstreams.size(); ++i) {
            if (!upstreams.is_vacant(i)) hosts.push_back(to_string(upstreams.endpoint(i).address));
        }
        return hosts;
    }
    unsigned place_of(const std::string& host) const {
        unsigned i = 0;
        while (upstreams.is_vacant(i) || upstreams.endpoint(i).address != address_at(host)) ++i;
        return i;
    }
    /// First datagrams of the question for the name's addresses of one type.
    std::size_t asked(unsigned which = 0, std::uint8_t type = LDNS_RR_TYPE_A) const {
        return std::size_t(std::ranges::count_if(network.sent, [&](const Sent& sent) {
            bool is_name = sent.message.size() > 31 && sent.message[12] == 3 && !sent.tcp;
            return sent.to == bootstrap[which] && is_name && sent.message[12 + 17 + 1] == type;
        }));
    }
    void answer_at(const std::string& host, Time delay = 1ms) {
        network.serve({address_at(host), 53}, [=](FakeNetwork& net, const Sent& sent) {
            net.reply(sent, make_reply(sent.message, {.answer = {"a.com. 60 IN A 1.1.1.1"}}), delay);
        });
    }
    std::size_t queries_at(const std::string& host) const {
        return std::size_t(
            std::ranges::count(network.sent, dataplane::Endpoint{address_at(host), 53}, &Sent::to));
    }

    std::vector<dataplane::Endpoint> bootstrap{*dataplane::parse_endpoint("203.0.113.1", 53)};
    dataplane::Endpoint own{address_at("10.0.0.53"), 53};
    ServerNames names{exchanges, groups, [this](const dataplane::Endpoint& at) { return at == own; }};
};

class ServerNamesLog : public ServerNamesTest {
  protected:
    ServerNamesLog() {
        spdlog::set_default_logger(
            std::make_shared<spdlog::logger>("t", std::make_shared<spdlog::sinks::ostream_sink_mt>(text)));
        spdlog::set_pattern("%v");
    }
    ~ServerNamesLog() override { spdlog::set_default_logger(before); }
    std::size_t count(const std::string& words) const {
        std::size_t found = 0;
        std::string all = text.str();
        for (auto at = all.find(words); at != all.npos; at = all.find(words, at + 1)) ++found;
        return found;
    }
    std::ostringstream text;
    std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
};

} // namespace millrace::control
