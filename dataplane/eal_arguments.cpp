#include "dataplane/eal_arguments.hpp"

#include <algorithm>
#include <iterator>
#include <sstream>

namespace millrace::dataplane {

namespace {

struct Option {
    std::string_view name;
    const char* refusal = nullptr; ///< null: may be given
};

constexpr const char* from_lcores = "lcores come from the lcores of ports";
constexpr const char* from_devices = "devices come from the device of ports";
constexpr const char* no_files = "millraced shares no memory through files";
constexpr const char* prints = "it would make millraced print something and exit";
constexpr const char* abbreviated = "it is an abbreviation; write the option out";

/// What millraced derives itself, what would break it, and what it looks at. EAL judges the rest.
constexpr Option options[] = {
    {"-l", from_lcores},
    {"-c", from_lcores},
    {"-s", from_lcores},
    {"-S", from_lcores},
    {"--lcores", from_lcores},
    {"--main-lcore", from_lcores},
    {"-a", from_devices},
    {"-b", from_devices},
    {"--allow", from_devices},
    {"--block", from_devices},
    {"--vdev", from_devices},
    {"--no-pci", from_devices},
    {"--no-shconf", no_files},
    {"--huge-unlink", no_files},
    {"--huge-dir", no_files},
    {"--legacy-mem", no_files},
    {"--proc-type", "millraced is always the primary process"},
    {"-h", prints},
    {"--help", prints},
    {"--", "it would end EAL's arguments"},
    {"-m"},
    {"--socket-mem"},
    {"--no-huge"},
    {"--in-memory"},
    {"--single-file-segments"},
    {"--file-prefix"},
    {"--log-level"},
};

/// "-m" of "-m512" and of "-vm512", "--file-prefix" of "--file-prefix=x"; empty for a value.
std::string name_of(std::string_view argument) {
    if (argument.starts_with("--")) return std::string(argument.substr(0, argument.find('=')));
    if (argument.size() < 2 || argument[0] != '-') return {};
    // What follows a letter is its value, but for -v, which has none and may be bundled with others.
    std::size_t letter = argument.find_first_not_of('v', 1);
    return {'-', letter == argument.npos ? 'v' : argument[letter]};
}

} // namespace

std::vector<std::string> split_eal_arguments(const std::vector<std::string>& configured) {
    std::vector<std::string> words;
    for (const std::string& argument : configured) {
        std::istringstream in(argument);
        for (std::string word; in >> word;) words.push_back(word);
    }
    return words;
}

const char* refusal_of(std::string_view argument) {
    std::string name = name_of(argument);
    if (name.empty()) return nullptr;
    const auto* known = std::ranges::find(options, name, &Option::name);
    if (known != std::end(options)) return known->refusal;
    bool is_short_for_one =
        std::ranges::any_of(options, [&](const Option& option) { return option.name.starts_with(name); });
    return is_short_for_one ? abbreviated : nullptr;
}

bool gives(const std::vector<std::string>& arguments, std::initializer_list<std::string_view> names) {
    return std::ranges::any_of(arguments, [&](const std::string& argument) {
        return std::ranges::find(names, name_of(argument)) != names.end();
    });
}

} // namespace millrace::dataplane
