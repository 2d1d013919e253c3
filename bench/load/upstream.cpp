// upstream: an authoritative server for one zone of made-up names (authority.hpp), quick enough to fill
// caches with millions of them.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "bench/load/authority.hpp"
#include "bench/load/udp_server.hpp"

namespace millrace::bench {
namespace {

int main(int argc, char** argv) {
    CLI::App app("upstream: answers for a zone of made-up names");
    std::string listen, name = "load.example";
    Authority authority;
    app.add_option("listen", listen, "address:port")->required();
    app.add_option("--zone", name)->capture_default_str();
    app.add_option("--wrong-every", authority.wrong_every,
                   "a wrong address for each name whose number this divides; 0: none");
    CLI11_PARSE(app, argc, argv);
    authority.zone = cache::parse_name(name);
    auto descriptor = open_udp(listen);
    if (!authority.zone || !descriptor) {
        std::fprintf(stderr, "upstream: %s\n",
                     authority.zone ? descriptor.error().c_str() : "--zone takes a name");
        return 1;
    }
    serve_udp(descriptor->get(), [&](std::span<std::uint8_t> buffer, std::size_t size) {
        return authority.reply(buffer, size);
    });
}

} // namespace
} // namespace millrace::bench

int main(int argc, char** argv) {
    return millrace::bench::main(argc, argv);
}
