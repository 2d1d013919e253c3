// upstream: an authoritative server for one zone of made-up names (zone.hpp), quick enough to fill
// caches with millions of them. A: the address that the number encodes; x names: NXDOMAIN; everything
// else: no such record.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "bench/load/udp_server.hpp"
#include "bench/load/zone.hpp"
#include "cache/dns.hpp"
#include "cache/wire.hpp"
#include "dataplane/limits.hpp"

namespace millrace::bench {
namespace {

using cache::WireReader;
using cache::WireWriter;

constexpr std::uint32_t ttl = 86'400;

struct Zone {
    cache::Name name;
    std::uint32_t wrong_every = 0; ///< names with a number that it divides get a wrong address; 0: none
};

void write_soa(WireWriter& out, const Zone& zone) {
    out.bytes(zone.name.bytes());
    out.u16(dns::type_soa);
    out.u16(dns::class_in);
    out.u32(ttl);
    out.u16(2 + 5 * 4);
    out.u8(0); // primary and mailbox: the root
    out.u8(0);
    for (std::uint32_t number : {1U, 3600U, 600U, ttl, ttl}) out.u32(number);
}

void write_address(WireWriter& out, std::uint32_t number, const Zone& zone) {
    Ipv4 address = address_of(number);
    if (zone.wrong_every != 0 && number % zone.wrong_every == 0) address[3] ^= 1;
    out.u16(dns::pointer_to_question);
    out.u16(dns::type_a);
    out.u16(dns::class_in);
    out.u32(ttl);
    out.u16(4);
    out.bytes(address);
}

/// The reply over the query; 0: nothing that can be answered.
std::size_t reply(std::span<std::uint8_t> buffer, std::size_t size, const Zone& zone) {
    WireReader in(buffer.first(size));
    in.skip(2);
    std::uint16_t flags = in.u16(), questions = in.u16();
    in.u32();
    bool edns = in.u16() > 0;
    cache::Name name;
    if (questions != 1 || (flags & (dns::response | dns::opcode_mask)) != 0 || !cache::read_name(in, name))
        return 0;
    std::uint16_t type = in.u16();
    in.u16();
    if (!in.ok()) return 0;
    auto host = host_of(name, zone.name);
    bool found = host && host->kind != Kind::absent && type == dns::type_a;
    bool absent = host && host->kind == Kind::absent;
    WireWriter out(buffer.subspan(in.position()));
    found ? write_address(out, host->number, zone) : write_soa(out, zone);
    if (edns) {
        out.u8(0);
        out.u16(dns::type_opt);
        out.u16(dataplane::limits::edns_octets);
        out.u32(0);
        out.u16(0);
    }
    WireWriter header(buffer.subspan(2, dns::header_octets - 2));
    auto rcode = absent ? dns::Rcode::nxdomain : dns::Rcode::noerror;
    header.u16(std::uint16_t(dns::response | dns::authoritative | (flags & dns::recursion_desired) |
                             unsigned(rcode)));
    header.u16(1);
    header.u16(found);
    header.u16(!found);
    header.u16(edns);
    return in.position() + out.size();
}

int main(int argc, char** argv) {
    CLI::App app("upstream: answers for a zone of made-up names");
    std::string listen, name = "load.example";
    Zone zone;
    app.add_option("listen", listen, "address:port")->required();
    app.add_option("--zone", name)->capture_default_str();
    app.add_option("--wrong-every", zone.wrong_every,
                   "a wrong address for each name whose number this divides; 0: none");
    CLI11_PARSE(app, argc, argv);
    auto parsed = cache::parse_name(name);
    auto descriptor = open_udp(listen);
    if (!parsed || !descriptor) {
        std::fprintf(stderr, "upstream: %s\n", parsed ? descriptor.error().c_str() : "--zone takes a name");
        return 1;
    }
    zone.name = *parsed;
    serve_udp(descriptor->get(),
              [&](std::span<std::uint8_t> buffer, std::size_t size) { return reply(buffer, size, zone); });
}

} // namespace
} // namespace millrace::bench

int main(int argc, char** argv) {
    return millrace::bench::main(argc, argv);
}
