#include "control/daemon/log.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <rte_log.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "control/daemon/log_sink.hpp"
#include "control/limits.hpp"

namespace millrace::control {

namespace {

constexpr std::size_t most_octets =
    PIPE_BUF / 2; // of a line: one that says what was dropped may go before it

std::string_view name_of(spdlog::level::level_enum level) {
    switch (level) {
    case spdlog::level::critical: return "critical";
    case spdlog::level::err: return "error";
    case spdlog::level::warn: return "warning";
    default: return "info";
    }
}

class JsonFormatter final : public spdlog::formatter {
  public:
    void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
        auto since_epoch = message.time.time_since_epoch();
        auto s = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
        auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch - s);
        nlohmann::ordered_json object = {
            {"time", fmt::format("{:%FT%T}.{:03}Z", fmt::gmtime(s.count()), ms.count())},
            {"level", name_of(message.level)}};
        std::string_view text(message.payload.data(), message.payload.size());
        std::string written;
        do {
            object["message"] = text;
            written = object.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
            text = text.substr(0, text.size() / 2);
        } while (written.size() >= most_octets);
        written += '\n';
        line.append(written.data(), written.data() + written.size());
    }
    std::unique_ptr<spdlog::formatter> clone() const override { return json_formatter(); }
};

} // namespace

bool LineRate::take(Time now, std::uint64_t& missing) {
    std::lock_guard held(mutex_);
    bool is_new = lines_ == 0 || now - since_ >= limits::eal_log_interval;
    if (is_new) {
        since_ = now;
        lines_ = 0;
    }
    if (lines_ == limits::eal_log_lines) {
        ++missing_;
        return false;
    }
    ++lines_;
    missing = std::exchange(missing_, 0);
    return true;
}

std::unique_ptr<spdlog::formatter> json_formatter() {
    return std::make_unique<JsonFormatter>();
}

tl::expected<void, std::string> start_log(Config::LogFormat format) {
    spdlog::sink_ptr sink;
    bool is_journal = format == Config::LogFormat::journal;
    if (is_journal && ::access(JournalSink::usual_socket, W_OK) != 0)
        return tl::unexpected(
            fmt::format("log: format: journal: cannot write to {}: {}; is systemd-journald running? "
                        "text and json go to standard error",
                        JournalSink::usual_socket, std::strerror(errno)));
    if (is_journal) sink = std::make_shared<JournalSink>();
    if (!sink) sink = std::make_shared<LogSink>(STDERR_FILENO);
    auto logger = std::make_shared<spdlog::logger>("millraced", std::move(sink));
    if (format == Config::LogFormat::json) logger->set_formatter(json_formatter());
    spdlog::set_default_logger(std::move(logger));
    return {};
}

void set_log_level(Config::LogLevel level) {
    switch (level) {
    case Config::LogLevel::error: return spdlog::set_level(spdlog::level::err);
    case Config::LogLevel::warning: return spdlog::set_level(spdlog::level::warn);
    default: return spdlog::set_level(spdlog::level::info);
    }
}

void log_of_eal(unsigned level, std::string_view message) {
    static LineRate rate;
    std::uint64_t missing = 0;
    if (!rate.take(boot_time(), missing)) return;
    if (missing > 0) spdlog::warn("DPDK: {} more lines were not logged", missing);
    auto severity = level <= RTE_LOG_ERR       ? spdlog::level::err
                    : level == RTE_LOG_WARNING ? spdlog::level::warn
                                               : spdlog::level::info;
    spdlog::log(severity, "{}", message);
}

} // namespace millrace::control
