#include "cache/wire.hpp"

#include "cache/dns.hpp"
#include "cache/limits.hpp"

namespace millrace::cache {

void WireReader::skip_name() {
    std::size_t octets = 0;
    while (ok_) {
        std::uint8_t length = u8();
        if (length == 0) return;
        if ((length & dns::pointer_bits) == dns::pointer_bits) return skip(1);
        octets += length + 1u;
        if (length > limits::label_octets || octets >= limits::name_octets) return fail();
        skip(length);
    }
}

} // namespace millrace::cache
