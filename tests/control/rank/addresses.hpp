// Addresses by their texts.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "dataplane/address.hpp"

namespace millrace::control {

using Texts = std::vector<std::string>;

inline dataplane::Address at(const std::string& text) {
    return dataplane::parse_address(text).value();
}

inline std::vector<dataplane::Address> all(const Texts& texts) {
    std::vector<dataplane::Address> addresses;
    for (const std::string& text : texts) addresses.push_back(at(text));
    return addresses;
}

inline Texts texts(std::span<const dataplane::Address> addresses) {
    Texts result;
    for (const auto& address : addresses) result.push_back(to_string(address));
    return result;
}

} // namespace millrace::control
