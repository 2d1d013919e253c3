#include "control/command/watch.hpp"

#include <csignal>
#include <cstdint>
#include <string>
#include <thread>

#include <unistd.h>

namespace millrace::control {

using nlohmann::json;

namespace {

void flatten(const json& counters, const std::string& path, json& out) {
    for (const auto& [key, value] : counters.items()) {
        std::string name = path.empty() ? key : path + "." + key;
        if (value.is_structured())
            flatten(value, name, out);
        else if (value.is_number())
            out[name] = value;
    }
}

} // namespace

json Rates::of(const json& counters, std::chrono::steady_clock::time_point now) {
    json flat = json::object(), rows = json::array();
    flatten(counters, "", flat);
    double seconds = std::chrono::duration<double>(now - at_).count();
    for (const auto& [name, total] : flat.items()) {
        json row{{"counter", name}, {"total", total}};
        bool is_known = before_.is_object() && before_.contains(name) && seconds > 0;
        if (is_known) {
            double rate = (total.get<double>() - before_[name].get<double>()) / seconds;
            row["per_second"] = double(std::int64_t(rate * 10)) / 10;
        }
        rows.push_back(std::move(row));
    }
    before_ = std::move(flat);
    at_ = now;
    return rows;
}

int watch(double seconds, const std::function<std::optional<int>()>& look) {
    // At once, also while a daemon is silent: there is nothing to put in order.
    for (int ends : {SIGINT, SIGTERM}) std::signal(ends, [](int) { _exit(0); });
    while (true) {
        if (auto code = look()) return *code;
        std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    }
}

} // namespace millrace::control
