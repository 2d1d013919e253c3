#include "dataplane/eal_log.hpp"

#include <algorithm>
#include <cstdio>

#include <rte_log.h>

namespace millrace::dataplane {

namespace {

void write_to_stderr(unsigned, std::string_view message) {
    std::fprintf(stderr, "%.*s\n", int(message.size()), message.data());
}

EalLog log_of_eal = write_to_stderr; // written before EAL's threads are there

/// DPDK flushes after each message, so `text` is a whole one.
ssize_t write_message(void*, const char* text, std::size_t size) {
    std::string_view message(text, size);
    if (is_eal_noise(message)) return ssize_t(size);
    message = message.substr(0, message.find_last_not_of('\n') + 1);
    if (!message.empty()) log_of_eal(unsigned(std::max(rte_log_cur_msg_loglevel(), 0)), message);
    return ssize_t(size);
}

} // namespace

void send_eal_log_to(EalLog log) {
    log_of_eal = log;
}

void take_eal_log() {
    std::FILE* stream = fopencookie(nullptr, "w", {nullptr, write_message, nullptr, nullptr});
    if (stream != nullptr) rte_openlog_stream(stream);
}

bool is_eal_noise(std::string_view message) {
    return message.find(" hugepages reported") != message.npos;
}

} // namespace millrace::dataplane
