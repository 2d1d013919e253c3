// Small configurations, and what is said about wrong ones.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "control/config/config.hpp"

namespace millrace::control {

inline const std::string upstreams = "upstreams: [{group: g, servers: [192.0.2.1]}]\n";
inline const std::string port = "ports: [{device: net_tap0, lcores: [1], addresses: [192.0.2.9]}]\n";

/// A port on the device, with other keys.
inline std::string port_on(const std::string& device, const std::string& more) {
    return upstreams + "ports: [{device: '" + device + "', lcores: [1], addresses: [192.0.2.9], " + more +
           "}]\n";
}

inline const std::string block = "block: [{file: /a}]\n";
inline const std::string dns64 = "dns64: [{clients: [10.0.0.0/8]}]\n";

inline Config parsed(const std::string& text) {
    auto config = parse_config(text, "t");
    EXPECT_TRUE(config) << text << (config ? "" : to_string(config.error()));
    return config.value_or(Config{});
}

inline std::string complaint(const std::string& text) {
    auto config = parse_config(text, "t");
    return config ? "no complaint" : to_string(config.error());
}

inline std::string in_map(const char* map, const char* entry) {
    return upstreams + map + ": {" + entry + "}\n";
}

/// The rule of `dns64` with another entry.
inline std::string dns64_map(const std::string& entry) {
    return upstreams + "dns64: [{clients: [10.0.0.0/8], " + entry + "}]\n";
}

inline std::string manual_path() {
    return MILLRACE_SOURCE_ROOT "/deploy/man/millrace.yaml.5";
}

inline std::string sample_path() {
    return MILLRACE_SOURCE_ROOT "/deploy/millrace.yaml";
}

} // namespace millrace::control
