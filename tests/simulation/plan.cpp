#include "tests/simulation/plan.hpp"

#include <algorithm>
#include <istream>
#include <ostream>
#include <sstream>

namespace millrace::simulation {

namespace {

constexpr std::array<std::string_view, dangers> danger_names{
    "loss",       "duplication", "reordering",    "lateness",          "forgery",
    "truncation", "icmp",        "failures",      "negatives",         "chains",
    "signatures", "scopes",      "disagreement",  "private_addresses", "many_addresses",
    "zero_ttl",   "few_ports",   "socket_errors", "zombies",           "naps",
    "ranking",    "port_trouble"};
constexpr std::array<std::string_view, std::size_t(PlanEvent::Action::count_)> action_names{
    "query", "crowd",        "flush_name",    "flush_zone", "flush_all", "reload",
    "trace", "stall_worker", "stall_control", "outage",     "shutdown"};
constexpr std::array<std::string_view, std::size_t(Point::count_)> point_names{
    "between_turns", "receiving", "saving", "composing", "sending"};

struct Field {
    std::string_view name;
    unsigned PlanEvent::*member;
};
constexpr std::array<Field, 9> fields{{{"name", &PlanEvent::name},
                                       {"span", &PlanEvent::span},
                                       {"client", &PlanEvent::client},
                                       {"id", &PlanEvent::id},
                                       {"aspects", &PlanEvent::aspects},
                                       {"worker", &PlanEvent::worker},
                                       {"count", &PlanEvent::count},
                                       {"server", &PlanEvent::server},
                                       {"point", &PlanEvent::point}}};

bool read_field(PlanEvent& event, const std::string& word) {
    std::size_t equals = word.find('=');
    if (equals == std::string::npos) return false;
    std::string_view name(word.data(), equals);
    std::istringstream value(word.substr(equals + 1));
    if (name == "length") {
        std::int64_t microseconds = 0;
        value >> microseconds;
        event.length = Time(microseconds);
        return !value.fail();
    }
    auto field = std::ranges::find(fields, name, &Field::name);
    return field != fields.end() && value >> event.*(field->member);
}

bool read_event(std::istringstream& line, Plan& plan) {
    PlanEvent event;
    std::int64_t at = 0;
    std::string action, word;
    line >> at >> action;
    auto found = std::ranges::find(action_names, action);
    if (line.fail() || found == action_names.end()) return false;
    event.at = Time(at);
    event.action = PlanEvent::Action(found - action_names.begin());
    while (line >> word) {
        if (!read_field(event, word)) return false;
    }
    plan.events.push_back(event);
    return true;
}

bool read_line(const std::string& text, Plan& plan) {
    std::istringstream line(text);
    std::string word, value;
    if (!(line >> word) || word.starts_with('#')) return true;
    if (word == "at") return read_event(line, plan);
    if (word == "seed") return bool(line >> plan.seed);
    if (word == "danger") {
        line >> value;
        auto found = std::ranges::find(danger_names, value);
        if (found == danger_names.end()) return false;
        plan.on.set(std::size_t(found - danger_names.begin()));
        return true;
    }
    auto size = std::ranges::find(sizes, word, &Size::name);
    return size != sizes.end() && line >> plan.*(size->member);
}

} // namespace

const std::array<Size, 23> sizes{{{"workers", &Plan::workers},
                                  {"servers", &Plan::servers},
                                  {"intensity", &Plan::intensity},
                                  {"entries", &Plan::entries},
                                  {"bytes", &Plan::bytes},
                                  {"exchanges", &Plan::exchanges},
                                  {"outstanding", &Plan::outstanding},
                                  {"active", &Plan::active},
                                  {"batch", &Plan::batch},
                                  {"stale_seconds", &Plan::stale_seconds, 0},
                                  {"min_ttl_seconds", &Plan::min_ttl_seconds, 0},
                                  {"merge", &Plan::merge, 0},
                                  {"quorum", &Plan::quorum},
                                  {"rate", &Plan::rate},
                                  {"routed", &Plan::routed, 0},
                                  {"max_addresses", &Plan::max_addresses, 0},
                                  {"priorities", &Plan::priorities},
                                  {"weights", &Plan::weights},
                                  {"at_once", &Plan::at_once, 0},
                                  {"dns64", &Plan::dns64, 0},
                                  {"nat64", &Plan::nat64, 0},
                                  {"dns64_group", &Plan::dns64_group, 0},
                                  {"excluded", &Plan::excluded, 0}}};

std::string_view to_string(Danger danger) {
    return danger_names[std::size_t(danger)];
}
std::string_view to_string(Point point) {
    return point_names[std::size_t(point)];
}
std::string_view to_string(PlanEvent::Action action) {
    return action_names[std::size_t(action)];
}

bool Plan::is_calm() const {
    const Plan roomy;
    bool is_roomy = entries >= roomy.entries && bytes >= roomy.bytes && exchanges >= roomy.exchanges &&
                    outstanding >= roomy.outstanding && rate >= roomy.rate;
    return on.none() && is_roomy && std::ranges::all_of(events, [](const PlanEvent& event) {
               using Action = PlanEvent::Action;
               bool is_operator = event.action == Action::flush_name || event.action == Action::flush_zone ||
                                  event.action == Action::flush_all || event.action == Action::trace;
               return event.action == Action::query || is_operator || event.action == Action::reload;
           });
}

void write(const Plan& plan, std::ostream& out) {
    out << "seed " << plan.seed << '\n';
    for (std::size_t i = 0; i < dangers; ++i) {
        if (plan.on[i]) out << "danger " << danger_names[i] << '\n';
    }
    for (const Size& size : sizes) out << size.name << ' ' << plan.*(size.member) << '\n';
    for (const PlanEvent& event : plan.events) {
        out << "at " << event.at.count() << ' ' << to_string(event.action);
        for (const Field& field : fields) {
            if (event.*(field.member)) out << ' ' << field.name << '=' << event.*(field.member);
        }
        if (event.length.count()) out << " length=" << event.length.count();
        out << '\n';
    }
}

std::optional<Plan> read_plan(std::istream& in, std::string& error) {
    Plan plan;
    std::string line;
    for (unsigned number = 1; std::getline(in, line); ++number) {
        if (read_line(line, plan)) continue;
        error = "line " + std::to_string(number) + " is no part of a plan: " + line;
        return std::nullopt;
    }
    std::ranges::stable_sort(plan.events, {}, &PlanEvent::at);
    return plan;
}

} // namespace millrace::simulation
