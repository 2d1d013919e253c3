// A file descriptor that closes itself.
#pragma once

#include <cerrno>
#include <utility>

#include <unistd.h>

namespace millrace::dataplane {

class Descriptor {
  public:
    Descriptor() = default;
    /// As the kernel returned it: a negative one is none.
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    /// Leaves errno alone: it tells why whatever was tried with the descriptor has failed.
    ~Descriptor() {
        int error = errno;
        if (number_ >= 0) ::close(number_);
        errno = error;
    }

    explicit operator bool() const { return number_ >= 0; }
    int get() const { return number_; }
    int release() { return std::exchange(number_, -1); } ///< closing it is the caller's

  private:
    int number_ = -1;
};

} // namespace millrace::dataplane
