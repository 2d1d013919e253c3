#include "control/config/warnings.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace millrace::control {

namespace {

using Policy = Config::MergePolicy;

bool has_policy(const Config::Live& live, Policy policy) {
    return std::ranges::any_of(
        live.upstreams, [&](const Config::Group& group) { return live.merge_of(group).policy == policy; });
}

void add_mixed_groups(const Config::Live& live, std::vector<std::string>& out) {
    for (const Config::Group& group : live.upstreams) {
        auto trusted = std::ranges::count_if(group.servers, &Config::Server::trusted);
        if (trusted == 0 || trusted == std::ssize(group.servers)) continue;
        out.push_back(fmt::format("upstreams, group {}: {} of {} servers are trusted; what the others say is "
                                  "served until a trusted one, asked at the same time, says that the name is "
                                  "bogus",
                                  group.name, trusted, group.servers.size()));
    }
}

void add_idle_hardening(const Config::Live& live, std::vector<std::string>& out) {
    auto is_trusting = [](const Config::Group& group) {
        return std::ranges::any_of(group.servers, &Config::Server::trusted);
    };
    if (!live.harden_below_nxdomain || std::ranges::any_of(live.upstreams, is_trusting)) return;
    out.push_back("cache.harden-below-nxdomain does nothing: no server is trusted");
}

void add_idle_ranking(const Config::Live& live, std::vector<std::string>& out) {
    const Config::Ranking& ranking = live.ranking;
    bool ranks = ranking.icmp || !ranking.ports.empty();
    constexpr const char* nobody = "`ranking` has neither ports nor icmp";
    if (!ranks && has_policy(live, Policy::order))
        out.push_back(
            fmt::format("merge.policy order leaves addresses as the first server has them: {}", nobody));
    if (!ranks && ranking.max_addresses > 0)
        out.push_back(fmt::format("ranking.max-addresses does nothing: {}", nobody));
    bool is_off = !has_policy(live, Policy::unite) && !has_policy(live, Policy::quorum) &&
                  !has_policy(live, Policy::order);
    if (ranks && is_off) out.push_back("ranking does nothing: merge.policy is off");
}

} // namespace

std::vector<std::string> warnings_of(const Config::Live& live) {
    std::vector<std::string> out;
    add_mixed_groups(live, out);
    add_idle_hardening(live, out);
    add_idle_ranking(live, out);
    if (live.stale == Time{} && live.stale_answer == Config::StaleAnswer::at_once)
        out.push_back("cache.stale-answer at-once does nothing: cache.stale is 0s");
    return out;
}

std::vector<std::string> new_warnings(const Config::Live& before, const Config::Live& live) {
    std::vector<std::string> old = warnings_of(before), out = warnings_of(live);
    std::erase_if(out, [&](const std::string& w) { return std::ranges::find(old, w) != old.end(); });
    return out;
}

} // namespace millrace::control
