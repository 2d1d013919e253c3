#include "control/daemon/reload.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "control/config/warnings.hpp"
#include "control/config/yaml.hpp"
#include "control/daemon/log.hpp"
#include "control/limits.hpp"

namespace millrace::control {

namespace {

std::vector<std::string> live_keys(const Config::Live& now, const Config::Live& next) {
    std::vector<std::string> keys;
    if (now.allow != next.allow) keys.push_back("allow");
    if (now.limits != next.limits) keys.push_back("limits");
    if (now.tcp != next.tcp) keys.push_back("tcp");
    if (now.local != next.local) keys.push_back("local");
    if (now.block != next.block) keys.push_back("block");
    if (now.dns64 != next.dns64) keys.push_back("dns64");
    if (now.upstreams != next.upstreams) keys.push_back("upstreams");
    if (now.routes != next.routes) keys.push_back("routes");
    if (now.fanout != next.fanout) keys.push_back("fanout");
    if (now.merge != next.merge) keys.push_back("merge");
    if (now.ranking != next.ranking) keys.push_back("ranking");
    if (now.dnstap != next.dnstap) keys.push_back("dnstap");
    if (now.log_level != next.log_level) keys.push_back("log.level");
    if (now.min_ttl != next.min_ttl) keys.push_back("cache.min-ttl");
    if (now.max_ttl != next.max_ttl) keys.push_back("cache.max-ttl");
    if (now.negative_ttl != next.negative_ttl) keys.push_back("cache.negative-ttl");
    if (now.stale != next.stale) keys.push_back("cache.stale");
    if (now.stale_answer != next.stale_answer) keys.push_back("cache.stale-answer");
    if (now.prefetch != next.prefetch) keys.push_back("cache.prefetch");
    if (now.keep_warm != next.keep_warm) keys.push_back("cache.keep-warm");
    if (now.keep_warm_rate != next.keep_warm_rate) keys.push_back("cache.keep-warm-rate");
    if (now.file != next.file) keys.push_back("cache.file");
    if (now.save_interval != next.save_interval) keys.push_back("cache.save-interval");
    if (now.rotate != next.rotate) keys.push_back("cache.rotate");
    if (now.max_rrset != next.max_rrset) keys.push_back("cache.max-rrset");
    bool hardens = now.harden_below_nxdomain != next.harden_below_nxdomain;
    if (hardens) keys.push_back("cache.harden-below-nxdomain");
    return keys;
}

/// Lists are known by their files.
std::vector<Reload::ListChange> changed_lists(const std::vector<ReadList>& now,
                                              const std::vector<ReadList>& next) {
    std::vector<Reload::ListChange> changes;
    for (const ReadList& list : next) {
        auto before = std::ranges::find(now, list.file, &ReadList::file);
        bool is_same = std::ranges::any_of(now, [&](const ReadList& l) {
            return l.file == list.file && l.digest == list.digest && l.skipped == list.skipped;
        });
        std::size_t names = before == now.end() ? 0 : before->names;
        if (!is_same) changes.push_back({list.file, names, list.names, list.skipped});
    }
    for (const ReadList& list : now) {
        bool is_gone = std::ranges::find(next, list.file, &ReadList::file) == next.end();
        if (is_gone) changes.push_back({list.file, list.names, 0, 0});
    }
    return changes;
}

/// Whether all answers that are cached already depend on the key. Those of some groups: changed_groups().
bool concerns_answers(const std::string& key) {
    // With the last four answers keep what they were made with.
    static constexpr std::string_view others[] = {"allow",
                                                  "fanout",
                                                  "limits",
                                                  "tcp",
                                                  "local",
                                                  "block",
                                                  "merge",
                                                  "routes",
                                                  "upstreams",
                                                  "log.level",
                                                  "cache.stale-answer",
                                                  "cache.prefetch",
                                                  "cache.keep-warm",
                                                  "cache.keep-warm-rate",
                                                  "cache.file",
                                                  "dnstap",
                                                  "cache.save-interval"};
    return std::ranges::find(others, key) == std::end(others);
}

/// Each group to its new place, with what is known of its servers; those that are no more are empty.
void move_groups(std::span<Upstreams> groups, const std::vector<Config::Group>& now,
                 const std::vector<Config::Group>& next) {
    std::vector<Upstreams> moved(groups.size(), Upstreams({}));
    for (unsigned i = 0; i < next.size(); ++i) {
        auto before = std::ranges::find(now, next[i].name, &Config::Group::name);
        if (before != now.end()) moved[i] = std::move(groups[std::size_t(before - now.begin())]);
    }
    std::ranges::move(moved, groups.begin());
}

} // namespace

TtlPolicy ttl_policy(const Config::Live& live, const Config::Group& group) {
    bool rotates = live.rotate && live.merge_of(group).policy != Config::MergePolicy::order;
    bool at_once = live.stale_answer == Config::StaleAnswer::at_once;
    return {live.min_ttl, live.max_ttl, live.negative_ttl, live.stale, at_once, live.prefetch, rotates};
}

UpstreamPolicy upstream_policy(const Config::Live& live, const Config::Group& group) {
    const Config::Fanout& fanout = live.fanout_of(group);
    UpstreamPolicy policy;
    policy.outstanding = fanout.outstanding;
    policy.rate = fanout.rate;
    policy.max_rrset = live.max_rrset;
    policy.probe = parse_probe(fanout.probe).value_or(policy.probe);
    policy.probe_interval = fanout.probe_interval;
    policy.probe_fall = fanout.probe_fall;
    policy.probe_rise = fanout.probe_rise;
    return policy;
}

FetchPolicy fetch_policy(const Config::Live& live, const Config::Group& group) {
    return {live.fanout_of(group), live.merge_of(group), ttl_policy(live, group), live.ranking.max_addresses,
            live.harden_below_nxdomain};
}

void ask_for_names(const Parts& parts, const Config::Live& live) {
    for (unsigned i = 0; i < live.upstreams.size(); ++i) {
        const Config::Group& group = live.upstreams[i];
        std::vector<Config::Server> bootstrap(group.bootstrap.begin(), group.bootstrap.end());
        Upstreams& resolvers = parts.groups[ServerNames::bootstrap_of(i)];
        if (!resolvers.has_servers(bootstrap)) resolvers.replace(bootstrap);
        resolvers.set_label(fmt::format("group {}: bootstrap server", group.name));
    }
    parts.names.restart(live.upstreams);
}

void put_groups_in_place(const Parts& parts, const Config::Live& live) {
    for (unsigned i = 0; i < live.upstreams.size(); ++i) {
        const Config::Group& group = live.upstreams[i];
        if (!parts.groups[i].has_servers(group.servers)) parts.groups[i].replace(group.servers);
        parts.groups[i].set_label(fmt::format("group {}: upstream", group.name));
        parts.groups[i].set_policy(upstream_policy(live, group));
        parts.publisher.set_policy(i, ttl_policy(live, group));
        parts.fetches.set_policy(i, fetch_policy(live, group));
    }
    parts.names.place();
}

unsigned server_count(std::span<const Upstreams> groups) {
    unsigned count = 0;
    for (const Upstreams& group : groups) count += group.size();
    return count;
}

void log_warnings(const std::vector<std::string>& warnings) {
    for (const std::string& warning : warnings) spdlog::warn("{}", warning);
}

dataplane::ClientPolicy client_policy(const Config::Live& live) {
    dataplane::ClientPolicy policy{live.allow, live.limits};
    for (const Config::Dns64& rule : live.dns64) {
        std::vector<std::uint8_t> groups;
        for (std::size_t i = 0; i < live.upstreams.size(); ++i) {
            bool is_named = std::ranges::find(rule.groups, live.upstreams[i].name) != rule.groups.end();
            if (is_named) groups.push_back(std::uint8_t(i));
        }
        policy.dns64.push_back({rule.prefix, rule.clients, rule.exclude, std::move(groups)});
    }
    return policy;
}

Reload::Reload(Document document, Config current, std::vector<ReadList> lists, const Parts& parts)
    : document_(std::move(document)), helper_cpus_(current.boot), current_(std::move(current)),
      lists_(std::move(lists)), p_(parts) {}

Reload::~Reload() {
    hand_over(nullptr);
    if (helper_.joinable()) helper_.join();
}

void Reload::apply(LoadResult loaded) {
    if (!loaded) {
        hand_over(nullptr);
        return finish(tl::unexpected(loaded.error()));
    }
    Changes changes{live_keys(current_.live, loaded->config.live), loaded->needs_restart, {}};
    if (loaded->local) changes.lists = changed_lists(lists_, loaded->local->lists);
    if (!job_.edit) changes.dropped = document_.edits.size();
    loaded_ = std::move(*loaded);
    await_names(current_.live, loaded_.config.live);
    p_.names.when_heard([this, changes] { go_on(changes); });
}

/// The old servers serve until the new names have addresses, or it is known that there are none to be had.
void Reload::await_names(const Config::Live& from, const Config::Live& to) {
    p_.names.close(boot_time());
    if (from.upstreams != to.upstreams) p_.exchanges.close_probes(boot_time());
    move_groups(p_.groups.subspan(ServerNames::bootstrap_of(0)), from.upstreams, to.upstreams);
    ask_for_names(p_, to);
}

/// One that has servers now and would have none: its name; else empty.
std::string Reload::lost_group() const {
    const Config::Live &now = current_.live, &next = loaded_.config.live;
    for (unsigned i = 0; i < next.upstreams.size(); ++i) {
        const Config::Group& group = next.upstreams[i];
        bool will_serve =
            !std::ranges::all_of(group.servers, &Config::Server::is_named) || p_.names.is_known(i);
        std::size_t was = now.index_of(group.name);
        if (!will_serve && was < now.upstreams.size() && p_.groups[was].has_any()) return group.name;
    }
    return {};
}

void Reload::go_on(const Changes& changes) {
    if (std::string group = lost_group(); !group.empty()) {
        return refuse(
            fmt::format("no address is known of any server of group {}, see the log; nothing was changed",
                        yaml::quote(group)));
    }
    if (!flush(changes)) refuse("too many flushes are under way; try again");
}

void Reload::refuse(const std::string& why) {
    await_names(loaded_.config.live, current_.live);
    p_.names.place();
    hand_over(std::move(loaded_.rules));
    finish(tl::unexpected(why));
}

/// What is loaded is put in place when nothing that depends on what was before is at work; the
/// acknowledgement comes later. False: nothing was changed.
bool Reload::flush(const Changes& changes) {
    const Config::Live& next = loaded_.config.live;
    bool flushes = std::ranges::any_of(changes.changed, concerns_answers);
    auto then = [this] { put_in_place(); };
    auto acknowledge = [this, changes](std::size_t) {
        hand_over(std::move(before_)); // no worker can be reading it any more
        finish(changes);
    };
    // Answers made by rules are in the table too, and others that new rules name. A list's file may have
    // changed though its key did not.
    bool rewrites = loaded_.local && (next.local != current_.live.local || !next.block.empty() ||
                                      !current_.live.block.empty());
    bool regroups = !std::ranges::equal(next.upstreams, current_.live.upstreams, {}, &Config::Group::name,
                                        &Config::Group::name);
    // Keys name groups by their place.
    if (flushes || regroups) return p_.flushes.flush_all(acknowledge, then);
    Flushes::Outdated outdated;
    outdated.rules = dataplane::CurrentRules(p_.rules);
    outdated.local = rewrites;
    outdated.routes = next.routes != current_.live.routes;
    outdated.groups = changed_groups();
    if (outdated.is_any()) return p_.flushes.flush_outdated(outdated, acknowledge, then);
    bool begun = p_.flushes.wait(acknowledge);
    if (begun) put_in_place();
    return begun;
}

/// Those whose servers, or what is made of their answers, are others; a bit each.
std::uint32_t Reload::changed_groups() const {
    const Config::Live &now = current_.live, &next = loaded_.config.live;
    std::uint32_t changed = 0;
    for (std::size_t i = 0; i < next.upstreams.size(); ++i) {
        const Config::Group &before = now.upstreams[i], &after = next.upstreams[i];
        bool is_same = before.servers == after.servers && now.merge_of(before) == next.merge_of(after);
        changed |= std::uint32_t(!is_same) << i;
    }
    return changed;
}

/// In one step.
void Reload::put_in_place() {
    Config::Live& next = loaded_.config.live;
    before_ = p_.rules.exchange(std::move(loaded_.rules));
    if (next.upstreams != current_.live.upstreams) p_.exchanges.close_probes(boot_time());
    move_groups(p_.groups.first(cache::limits::groups), current_.live.upstreams, next.upstreams);
    put_groups_in_place(p_, next);
    p_.ways.place(next);
    p_.tcp.set_policy(next.tcp);
    p_.prober.set_policy(next.ranking);
    p_.store.set(next, boot_time());
    if (next.dnstap != current_.live.dnstap) p_.dnstap.set(next.dnstap, p_.grace);
    if (loaded_.local) put_lists_in_place(std::move(*loaded_.local), next);
    set_log_level(next.log_level);
    log_warnings(new_warnings(current_.live, next));
    document_ = std::move(loaded_.document);
    current_.live = std::move(next);
}

void Reload::put_lists_in_place(LocalRules&& rules, const Config::Live& next) {
    auto changed = changed_lists(lists_, rules.lists);
    bool is_as_warm = next.keep_warm == current_.live.keep_warm &&
                      next.keep_warm_rate == current_.live.keep_warm_rate &&
                      std::ranges::find(changed, next.keep_warm, &ListChange::file) == changed.end();
    if (!is_as_warm) p_.warm.set(std::move(rules.warm), next.keep_warm_rate);
    lists_ = std::move(rules.lists);
}

void Reload::finish(const tl::expected<Changes, std::string>& result) {
    for (const Done& done : std::exchange(job_.done, {})) done(result);
    if (watcher_) watcher_(false);
    if (!next_.empty() && !is_busy()) start();
}

} // namespace millrace::control
