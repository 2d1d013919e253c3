#include "tests/simulation/servers.hpp"

namespace millrace::simulation {

namespace {

/// A reload changes those of the first group alone.
unsigned layout(const Scene& scene, unsigned server) {
    return Servers::group_of(server) == 0 ? scene.layout : 0;
}

} // namespace

dataplane::Endpoint Servers::endpoint(unsigned server) {
    const std::uint8_t octets[4] = {198, 51, 100, std::uint8_t(server + 1)};
    return {dataplane::Address::v4(octets), 53};
}

std::vector<control::Config::Server> Servers::configured(const Scene& scene, unsigned mask) {
    std::vector<control::Config::Server> list;
    for (unsigned i = 0; i < pool + others; ++i) {
        if (!(mask >> i & 1)) continue;
        auto& server = list.emplace_back(endpoint(i), is_trusted(i));
        server.priority = priority_of(scene, i);
        server.weight =
            1 + unsigned(scene.chance.below(scene.plan.weights, Topic::weight, i, layout(scene, i)));
    }
    return list;
}

unsigned Servers::priority_of(const Scene& scene, unsigned server) {
    return unsigned(
        scene.chance.below(scene.plan.priorities, Topic::priority, server, layout(scene, server)));
}

unsigned Servers::server_of(const dataplane::Endpoint& endpoint) {
    return endpoint.address.v4_octets()[3] - 1u;
}

std::uint32_t Servers::answer(unsigned server, const Asked& asked, std::uint64_t nth, bool tcp,
                              control::Socket from) {
    const Chance& chance = scene_.chance;
    Said said;
    said.name = asked.name;
    said.qtype = asked.qtype;
    said.server = server;
    said.made = ++scene_.moment;
    said.asked_by = from;
    std::uint32_t low = scene_.has(Danger::zero_ttl) && chance.is(200, Topic::ttl, asked.name, nth) ? 0 : 1;
    said.ttl = low + std::uint32_t(chance.below(5, Topic::ttl, server, asked.name, nth)) * low;
    bool dissents =
        scene_.has(Danger::disagreement) && chance.is(200, Topic::dissent, server, asked.name, nth);
    draw_nature(said, dissents ? server + 1 : 0);
    if (scene_.has(Danger::failures) && chance.is(200, Topic::failure, server, asked.name, nth)) {
        said.nature = Nature::failure;
        said.rcode = nth % 2 ? rcode_servfail : rcode_refused;
        said.bogus = said.rcode == rcode_servfail && is_trusted(server);
    }
    if (asked.link) { // nobody has more of a chain than its beginning: asked for its end, nobody knows it
        said.nature = Nature::failure;
        said.rcode = rcode_servfail;
    }
    if (!tcp && scene_.has(Danger::truncation) &&
        chance.is(150, Topic::truncation, server, asked.name, nth)) {
        said.nature = Nature::truncated;
        said.rcode = rcode_noerror;
    }
    if (said.nature == Nature::positive && said.qtype != type_txt) draw_hosts(said, nth);
    return scene_.ledger.add(said);
}

/// Also the chain, and whether it is signed. `view`: whose idea of the name it is.
void Servers::draw_nature(Said& said, std::uint64_t view) {
    const Chance& chance = scene_.chance;
    auto draw = [&](int what, unsigned limit) {
        return unsigned(chance.below(limit, Topic::nature, what, said.name, said.qtype, view));
    };
    if (scene_.has(Danger::chains) && draw(0, 1000) < 500) said.chain = 1 + draw(1, chain_count - 1);
    if (scene_.has(Danger::signatures)) {
        said.is_signed = draw(2, 1000) < 250;
        said.authentic = draw(3, 1000) < 100;
    }
    said.scoped = scene_.has(Danger::scopes) && draw(5, 1000) < 150;
    if (said.qtype == type_aaaa && scene_.plan.dns64 && draw(6, 1000) < 500) { // the name has IPv4 alone
        said.nature = Nature::nodata;
        return;
    }
    if (!scene_.has(Danger::negatives)) return;
    static constexpr std::array<std::pair<unsigned, Nature>, 5> kinds{{{100, Nature::nxdomain},
                                                                       {130, Nature::bare_nxdomain},
                                                                       {200, Nature::nodata},
                                                                       {240, Nature::bare_nodata},
                                                                       {280, Nature::bare_cname}}};
    unsigned drawn = draw(4, 1000);
    for (auto [below, nature] : kinds) {
        if (drawn >= below) continue;
        said.nature = nature;
        if (nature == Nature::nxdomain || nature == Nature::bare_nxdomain) said.rcode = rcode_nxdomain;
        if (nature == Nature::bare_cname && said.chain == 0) said.chain = 1;
        if (nature == Nature::bare_nodata) said.chain = 0;
        return;
    }
}

void Servers::draw_hosts(Said& said, std::uint64_t nth) {
    auto draw = [&](int what, unsigned limit) {
        return unsigned(scene_.chance.below(limit, Topic::hosts, what, said.server, said.name, nth));
    };
    Host host{said.name, said.qtype, said.chain, said.server, said.made, false, false};
    unsigned own = 1 + draw(0, 3), shared = draw(1, 3);
    if (scene_.has(Danger::many_addresses) && draw(2, 1000) < 200) own = 12;
    for (unsigned i = 0; i < own; ++i) said.hosts.push_back(scene_.ledger.add(host));
    host.server = Host::several;
    // A new set after whatever an operator does: then each address tells on which side of that it was made.
    std::uint64_t bucket = std::uint64_t(scene_.now / 100ms) * 1000 + scene_.operator_actions;
    for (unsigned i = 0; i < shared; ++i) {
        auto at = said.hosts.begin() + std::ptrdiff_t(draw(3, unsigned(said.hosts.size()) + 1));
        said.hosts.insert(at, scene_.ledger.shared_host(host, bucket, i));
    }
    if (!scene_.has(Danger::private_addresses) || draw(4, 1000) >= 200) return;
    host.server = said.server;
    host.is_private = true;
    said.hosts.push_back(scene_.ledger.add(host));
}

std::uint32_t Servers::forge(unsigned server, const Asked& asked, control::Socket aimed_at) {
    Said said;
    said.name = asked.name;
    said.qtype = asked.qtype;
    said.server = server;
    said.ttl = 5;
    said.made = ++scene_.moment;
    said.asked_by = aimed_at;
    said.forged = true;
    Host host{said.name, said.qtype, 0, server, said.made, false, true};
    if (said.qtype != type_txt) said.hosts = {scene_.ledger.add(host)};
    return scene_.ledger.add(said);
}

} // namespace millrace::simulation
