// A socket for ICMP echo requests of one address family (RFC 792, RFC 4443 4): a ping
// socket, which needs no privileges where net.ipv4.ping_group_range lets this group have
// one, else a raw one, which takes CAP_NET_RAW. Not blocking. Any one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <system_error>

#include <tl/expected.hpp>

#include "dataplane/address.hpp"

namespace millrace::control {

class EchoSocket {
  public:
    /// What a request carries and its reply brings back.
    using Token = std::array<std::uint8_t, 16>;
    struct Reply {
        dataplane::Address from;
        Token token;
    };

    /// permission_denied, operation_not_permitted: neither kind is open to this process.
    static tl::expected<EchoSocket, std::errc> open(int family);

    EchoSocket(EchoSocket&& other) noexcept;
    EchoSocket& operator=(EchoSocket&&) = delete;
    ~EchoSocket();

    std::errc send(const dataplane::Address& to, const Token& token); ///< errc{}: it has left
    /// Of what has arrived, the next. errc::operation_would_block: nothing is
    /// left. errc::bad_message: no reply of that size; the next may be one.
    tl::expected<Reply, std::errc> receive();

    int descriptor() const { return descriptor_; }

  private:
    EchoSocket(int descriptor, int family, bool is_raw)
        : descriptor_(descriptor), family_(family), is_raw_(is_raw) {}

    int descriptor_, family_;
    bool is_raw_;
    std::uint16_t sequence_ = 0;
};

} // namespace millrace::control
