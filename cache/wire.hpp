// The only code that touches the bytes of DNS messages on the workers' path: two cursors with a sticky error.
//
// A cursor that ran past its end, or met something malformed, stays failed: every later read gives 0 and
// every later write is dropped, so a caller does a whole message and looks at ok() once at the end. Numbers
// are in network byte order (RFC 1035 2.3.2). Nothing here allocates or throws. Not shared by threads.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

namespace millrace::cache {

/// Reads a message from front to back. The bytes belong to the caller and outlive the cursor.
class WireReader {
  public:
    explicit WireReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    bool ok() const { return ok_; }
    void fail() { ok_ = false; }
    std::size_t position() const { return position_; }
    std::size_t remaining() const { return ok_ ? bytes_.size() - position_ : 0; }

    std::uint8_t u8() { return need(1) ? bytes_[position_++] : 0; }
    std::uint16_t u16() {
        if (!need(2)) return 0;
        auto v = std::uint16_t(bytes_[position_] << 8 | bytes_[position_ + 1]);
        position_ += 2;
        return v;
    }
    std::uint32_t u32() {
        std::uint32_t high = u16();
        return high << 16 | u16();
    }
    void skip(std::size_t count) {
        if (need(count)) position_ += count;
    }
    /// The next `count` bytes, or an empty span when there are fewer.
    std::span<const std::uint8_t> take(std::size_t count) {
        if (!need(count)) return {};
        position_ += count;
        return bytes_.subspan(position_ - count, count);
    }
    /// All that is left; empty when failed.
    std::span<const std::uint8_t> rest() const {
        return ok_ ? bytes_.subspan(position_) : std::span<const std::uint8_t>();
    }
    /// Steps over an owner name, compressed or not (RFC 1035 4.1.4), without following its pointer.
    void skip_name();

  private:
    bool need(std::size_t count) {
        ok_ = ok_ && bytes_.size() - position_ >= count;
        return ok_;
    }

    std::span<const std::uint8_t> bytes_;
    std::size_t position_ = 0;
    bool ok_ = true;
};

/// Writes a message from front to back into a buffer of the caller's.
class WireWriter {
  public:
    explicit WireWriter(std::span<std::uint8_t> room) : room_(room) {}

    bool ok() const { return ok_; }
    std::size_t size() const { return position_; }

    void u8(std::uint8_t v) {
        if (need(1)) room_[position_++] = v;
    }
    void u16(std::uint16_t v) {
        u8(std::uint8_t(v >> 8));
        u8(std::uint8_t(v));
    }
    void u32(std::uint32_t v) {
        u16(std::uint16_t(v >> 16));
        u16(std::uint16_t(v));
    }
    void bytes(std::span<const std::uint8_t> v) {
        if (!v.empty() && need(v.size())) {
            std::memcpy(room_.data() + position_, v.data(), v.size());
            position_ += v.size();
        }
    }

  private:
    bool need(std::size_t count) {
        ok_ = ok_ && room_.size() - position_ >= count;
        return ok_;
    }

    std::span<std::uint8_t> room_;
    std::size_t position_ = 0;
    bool ok_ = true;
};

/// Overwrites two or four octets at a place that is known to exist.
inline void store_u16(std::uint8_t* at, std::uint16_t v) {
    at[0] = std::uint8_t(v >> 8);
    at[1] = std::uint8_t(v);
}
inline void store_u32(std::uint8_t* at, std::uint32_t v) {
    store_u16(at, std::uint16_t(v >> 16));
    store_u16(at + 2, std::uint16_t(v));
}
inline std::uint16_t load_u16(const std::uint8_t* at) {
    return std::uint16_t(at[0] << 8 | at[1]);
}
inline std::uint32_t load_u32(const std::uint8_t* at) {
    return std::uint32_t(load_u16(at)) << 16 | load_u16(at + 2);
}

} // namespace millrace::cache
