#include "control/config/eal.hpp"

#include <algorithm>

namespace millrace::control {

namespace {

struct Derived {
    char letter;           ///< short option, or 0
    std::string_view name; ///< long option without its dashes, or empty
    const char* why;
};

constexpr const char* from_lcores = "lcores come from the lcores of ports";
constexpr const char* from_devices = "devices come from the device of ports";
constexpr const char* in_memory = "millraced always runs with --in-memory, and shares nothing through files";

constexpr Derived derived[] = {
    {'l', "lcores", from_lcores},
    {'c', "", from_lcores},
    {'s', "", from_lcores},
    {'S', "", from_lcores},
    {0, "main-lcore", from_lcores},
    {'a', "allow", from_devices},
    {'b', "block", from_devices},
    {0, "vdev", from_devices},
    {0, "no-pci", from_devices},
    {0, "in-memory", in_memory},
    {0, "file-prefix", in_memory},
    {0, "no-shconf", in_memory},
    {0, "huge-unlink", in_memory},
    {0, "huge-dir", in_memory},
    {0, "proc-type", "millraced is always the primary process"},
    {0, "legacy-mem", in_memory},
    {'h', "help", "it would make millraced print something and exit"},
};

const char* check_long(std::string_view argument) {
    std::string_view name = argument.substr(2, argument.find('=') - 2);
    if (name.empty()) return "it would end EAL's arguments";
    for (const auto& option : derived) {
        if (!option.name.empty() && option.name.starts_with(name)) return option.why;
    }
    return nullptr;
}

} // namespace

const char* derived_eal_argument(std::string_view argument) {
    if (argument.starts_with("--")) return check_long(argument);
    if (argument.size() < 2 || argument[0] != '-') return nullptr; // the value of the argument before it
    // What follows a letter is its value, but for -v, which has none and may be bundled with others.
    std::size_t first = argument.find_first_not_of('v', 1);
    for (const auto& option : derived) {
        if (first != argument.npos && option.letter == argument[first]) return option.why;
    }
    return nullptr;
}

} // namespace millrace::control
