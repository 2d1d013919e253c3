#include "control/traffic/dnstap_sink.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include <fcntl.h>
#include <fstrm.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "control/limits.hpp"
#include "dataplane/unix_address.hpp"

namespace millrace::control {

using Kind = Config::DnstapTarget::Kind;

namespace {

constexpr char content_type[] = "protobuf:dnstap.Dnstap";

std::string failure(const char* what) {
    return std::string(what) + ": " + std::strerror(errno);
}

} // namespace

/// What libfstrm calls.
struct DnstapSink::Callbacks {
    static DnstapSink& of(void* sink) { return *static_cast<DnstapSink*>(sink); }
    static fstrm_res result(bool good) { return good ? fstrm_res_success : fstrm_res_failure; }

    static fstrm_res open(void*) { return fstrm_res_success; } // it is
    static fstrm_res close(void* sink) {
        of(sink).to_ = dataplane::Descriptor();
        return fstrm_res_success;
    }
    static fstrm_res read(void* sink, void* to, std::size_t octets) {
        return result(of(sink).read_all(to, octets));
    }
    static fstrm_res write(void* sink, const iovec* parts, int count) {
        return result(of(sink).write_all({parts, std::size_t(count)}));
    }
};

DnstapSink::DnstapSink(const Config::DnstapTarget& target)
    : target_(target), stopped_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!stopped_) throw std::bad_alloc();
}

DnstapSink::~DnstapSink() {
    close();
}

void DnstapSink::stop() {
    ::eventfd_write(stopped_.get(), 1);
}

tl::expected<dataplane::Descriptor, std::string> DnstapSink::connect() {
    constexpr mode_t owners_alone = 0600; // it says who asked for what
    if (target_.kind == Kind::file) {
        // An own one that was begun in vain, as the disk is full, say, is nothing worth keeping.
        if (has_made_file_) {
            ::unlink(target_.path.c_str());
        } else {
            ::rename(target_.path.c_str(), (target_.path + ".old").c_str());
        }
        dataplane::Descriptor file(
            ::open(target_.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, owners_alone));
        if (!file) return tl::unexpected(failure("cannot be created"));
        has_made_file_ = true;
        return file;
    }
    sockaddr_storage at{};
    socklen_t size = 0;
    if (target_.kind == Kind::tcp) {
        size = dataplane::to_sockaddr(target_.endpoint, at);
    } else if (auto name = dataplane::unix_address(target_.path)) {
        size = name->size;
        std::memcpy(&at, &name->name, size);
    }
    dataplane::Descriptor socket(::socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return tl::unexpected(failure("no socket"));
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&at), size) == 0) return socket;
    if (errno != EINPROGRESS) return tl::unexpected(failure("cannot be connected to"));
    return socket; // the first write waits for it
}

tl::expected<void, std::string> DnstapSink::open() {
    auto to = connect();
    if (!to) return tl::unexpected(to.error());
    to_ = std::move(*to);
    error_.clear();
    fstrm_rdwr* rdwr = fstrm_rdwr_init(this);
    fstrm_rdwr_set_open(rdwr, Callbacks::open);
    fstrm_rdwr_set_close(rdwr, Callbacks::close);
    fstrm_rdwr_set_write(rdwr, Callbacks::write);
    // With it, the reader is asked what it understands before anything is sent.
    if (target_.kind != Kind::file) fstrm_rdwr_set_read(rdwr, Callbacks::read);
    fstrm_writer_options* options = fstrm_writer_options_init();
    fstrm_writer_options_add_content_type(options, content_type, sizeof content_type - 1);
    writer_ = fstrm_writer_init(options, &rdwr);
    fstrm_writer_options_destroy(&options);
    if (writer_ && fstrm_writer_open(writer_) == fstrm_res_success) return {};
    std::string why = error_.empty() ? "its reader does not speak dnstap" : error_;
    if (writer_) fstrm_writer_destroy(&writer_);
    if (rdwr) fstrm_rdwr_destroy(&rdwr);
    to_ = dataplane::Descriptor();
    return tl::unexpected(why);
}

tl::expected<void, std::string> DnstapSink::write(std::span<const std::vector<std::uint8_t>> frames) {
    std::vector<iovec> parts;
    for (const auto& frame : frames) parts.push_back({const_cast<std::uint8_t*>(frame.data()), frame.size()});
    bool is_file = target_.kind == Kind::file;
    off_t end = is_file ? ::lseek(to_.get(), 0, SEEK_CUR) : 0;
    if (fstrm_writer_writev(writer_, parts.data(), int(parts.size())) == fstrm_res_success) return {};
    std::string why = error_.empty() ? "cannot be written" : error_;
    bool is_whole = is_file && ::ftruncate(to_.get(), end) == 0 && ::lseek(to_.get(), end, SEEK_SET) == end;
    if (!is_whole) close();
    return tl::unexpected(why);
}

void DnstapSink::close() {
    if (writer_) fstrm_writer_destroy(&writer_);
    to_ = dataplane::Descriptor();
}

/// False: not within the time, or nobody wants it any more.
bool DnstapSink::wait(short events, Time longest) {
    auto poll_for = [](pollfd* waits, nfds_t count, Time time) {
        auto ms = time == Time::max() ? -1 : int(std::max(Time{}, time) / 1ms);
        return ::poll(waits, count, ms) > 0;
    };
    pollfd waits[] = {{to_.get(), events, 0}, {stopped_.get(), POLLIN, 0}};
    if (end_ == Time{}) {
        poll_for(waits, 2, longest);
        if (waits[0].revents) return true;
        if (waits[1].revents) end_ = boot_time() + limits::dnstap_end;
    }
    if (end_ != Time{} && poll_for(waits, 1, end_ - boot_time())) return true;
    errno = ETIMEDOUT;
    return false;
}

bool DnstapSink::write_all(std::span<const iovec> parts) {
    for (const iovec& part : parts) {
        auto* from = static_cast<const std::uint8_t*>(part.iov_base);
        for (std::size_t left = part.iov_len; left > 0;) {
            ssize_t size = ::write(to_.get(), from, left);
            bool is_full = size < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN);
            if (is_full && wait(POLLOUT, Time::max())) continue;
            if (size < 0) {
                error_ = failure("cannot be written");
                return false;
            }
            from += size;
            left -= std::size_t(size);
        }
    }
    return true;
}

bool DnstapSink::read_all(void* to, std::size_t octets) {
    auto* at = static_cast<std::uint8_t*>(to);
    while (octets > 0) {
        ssize_t size = ::read(to_.get(), at, octets);
        bool is_empty = size < 0 && (errno == EAGAIN || errno == EINTR);
        if (is_empty && wait(POLLIN, limits::dnstap_answer)) continue;
        if (size <= 0) {
            error_ = size == 0 ? "has closed the connection" : failure("does not answer");
            return false;
        }
        at += size;
        octets -= std::size_t(size);
    }
    return true;
}

} // namespace millrace::control
