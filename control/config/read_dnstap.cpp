// The query log: who reads it, and what is in it.
#include <sys/un.h>

#include "control/config/readers.hpp"

namespace millrace::control {

using yaml::Value;
using Kind = Config::DnstapTarget::Kind;

namespace {

constexpr unsigned most_sampled = 1'000'000;
constexpr std::size_t longest_identity = 255;

Config::DnstapTarget read_target(const Value& at) {
    constexpr const char* form = "\"unix:/run/dnstap.sock\", \"tcp:192.0.2.1:6000\", "
                                 "\"file:/var/log/millrace/queries.dnstap\", or nothing";
    std::string text = at.text(form, Value::Emptiness::allowed);
    Config::DnstapTarget out;
    if (text.empty()) return out;
    std::size_t colon = text.find(':');
    for (const auto& choice : dnstap_targets) {
        if (text.substr(0, colon) == choice.name) out.kind = choice.value;
    }
    if (out.kind == Kind::none || colon == text.npos) {
        at.fail(form);
        return {};
    }
    std::string place = text.substr(colon + 1);
    if (out.kind == Kind::tcp) {
        constexpr std::uint16_t no_port = 0;
        auto endpoint = dataplane::parse_endpoint(place, no_port);
        if (!endpoint || endpoint->port == no_port) at.fail(form);
        if (endpoint) out.endpoint = *endpoint;
        return out;
    }
    bool is_long = out.kind == Kind::unix_socket && place.size() >= sizeof(sockaddr_un::sun_path);
    if (place.empty() || place.front() != '/' || is_long) at.fail(form);
    out.path = place;
    return out;
}

std::string read_identity(const Value& at) {
    constexpr const char* form = "a text of at most 255 octets, or \"\" for none";
    std::string text = at.text(form, Value::Emptiness::allowed);
    if (text.size() > longest_identity) at.fail(form);
    return text;
}

template <class Item, std::size_t N>
std::vector<Item> read_choices(const Value& at, const Choice<Item> (&choices)[N]) {
    std::vector<Item> out;
    at.list(N, [&](const Value& item) {
        Item value = read_choice(item, choices);
        if (std::find(out.begin(), out.end(), value) != out.end()) item.fail("each item once");
        out.push_back(value);
    });
    return out;
}

} // namespace

void read_dnstap(const Value& at, Config& out) {
    Config::Dnstap& what = out.live.dnstap;
    at.map({
        {"to", [&](const Value& v) { out.boot.dnstap_to = read_target(v); }},
        {"identity", [&](const Value& v) { out.boot.dnstap_identity = read_identity(v); }},
        {"messages", [&](const Value& v) { what.messages = read_choices(v, logged_messages); }},
        {"sample", [&](const Value& v) { what.sample = unsigned(v.number(1, most_sampled)); }},
        {"clients", [&](const Value& v) { what.clients = read_allow(v); }},
        {"rcodes", [&](const Value& v) { what.rcodes = read_choices(v, rcodes); }},
    });
}

} // namespace millrace::control
