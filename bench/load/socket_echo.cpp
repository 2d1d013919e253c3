// socket_echo ADDRESS:PORT: sends every datagram back with the DNS bit QR set. The floor of kernel sockets.
#include <cstdio>

#include "bench/load/udp_server.hpp"

int main(int argc, char** argv) {
    auto descriptor = millrace::bench::open_udp(argc == 2 ? argv[1] : "");
    if (!descriptor) {
        std::fprintf(stderr, "socket_echo: %s\n", descriptor.error().c_str());
        return 1;
    }
    millrace::bench::serve_udp(descriptor->get(), [](std::span<std::uint8_t> buffer, std::size_t size) {
        buffer[2] |= 0x80;
        return size;
    });
}
