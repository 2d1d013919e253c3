// A Unix socket that datagrams are sent to, and what has come. `name`: a path, or "@name". Single thread.
#pragma once

#include <array>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "dataplane/descriptor.hpp"
#include "dataplane/unix_address.hpp"

namespace millrace::test {

class Datagrams {
  public:
    explicit Datagrams(const std::string& name)
        : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        auto address = dataplane::unix_or_abstract_address(name);
        EXPECT_TRUE(address && ::bind(socket_.get(), address->get(), address->size) == 0) << name;
    }
    /// The next one; none: nothing has come.
    std::optional<std::string> read() {
        std::array<char, 65536> buffer;
        ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
        return size < 0 ? std::nullopt : std::optional(std::string(buffer.data(), std::size_t(size)));
    }

  private:
    dataplane::Descriptor socket_;
};

} // namespace millrace::test
