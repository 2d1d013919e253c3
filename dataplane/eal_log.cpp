#include "dataplane/eal_log.hpp"

#include <cstdio>

#include <rte_log.h>
#include <unistd.h>

namespace millrace::dataplane {

namespace {

/// DPDK flushes after each message, so `text` is a whole one. What cannot be written is lost.
ssize_t write_message(void*, const char* text, std::size_t size) {
    if (is_eal_noise({text, size})) return ssize_t(size);
    for (std::size_t done = 0; done < size;) {
        ssize_t wrote = write(STDERR_FILENO, text + done, size - done);
        if (wrote <= 0) break;
        done += std::size_t(wrote);
    }
    return ssize_t(size);
}

} // namespace

void take_eal_log() {
    std::FILE* stream = fopencookie(nullptr, "w", {nullptr, write_message, nullptr, nullptr});
    if (stream != nullptr) rte_openlog_stream(stream);
}

bool is_eal_noise(std::string_view message) {
    return message.find(" hugepages reported") != message.npos;
}

} // namespace millrace::dataplane
