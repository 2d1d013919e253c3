#include "control/fetch/flush.hpp"

#include <algorithm>

#include "cache/dns.hpp"
#include "control/limits.hpp"
#include "control/local/alias.hpp"
#include "control/local/crossing.hpp"
#include "control/message/records.hpp"

namespace millrace::control {

namespace {

/// Whether the rules have, or had, a say in a cached answer:
/// an alias for its name, or a blocked name in its chain.
bool is_ruled(const dataplane::LocalNames& local, const cache::KeyRef& key, const cache::Entry& entry) {
    using Action = dataplane::LocalNames::Action;
    if (entry.rewritten) return true;
    auto match = local.find(key.name());
    if (match && local.action(*match) == Action::alias) return true;
    return leads_to_blocked(local, key.name(), entry);
}

} // namespace

Flushes::Flushes(cache::Table& table, cache::Grace& grace, FetchTable& fetches)
    : table_(table), grace_(grace), fetches_(fetches) {
    fetches.set_forbidden(
        [this](const cache::KeyRef& key, const cache::Entry& entry) { return forbids(key, entry); });
}

bool Flushes::forbids(const cache::KeyRef& key, const cache::Entry& entry) const {
    return std::ranges::any_of(jobs_, [&](const Job& job) {
        bool is_walking = job.matches && !job.period;
        return is_walking && entry.version.generation <= job.last && job.matches(key, entry);
    });
}

/// By the name that was asked, or by one that its chain of CNAMEs leads to. DNS64 makes NODATA of an NXDOMAIN
/// of the A question, when the AAAA question has NODATA.
bool Flushes::concerns(const cache::KeyRef& key, const cache::Entry& entry, const NamePredicate& matches) {
    bool is_negative = entry.answers == 0 || entry.authorities > 0;
    bool is_denied = entry.rcode == unsigned(dns::Rcode::nxdomain) || (key.dns64() != 0 && is_negative);
    auto is_concerned = [&](const cache::Name& target) { return matches(target.bytes(), is_denied); };
    return matches(key.name(), is_denied) ||
           (entry.chained && std::ranges::any_of(chain_targets(key.name(), entry), is_concerned));
}

bool Flushes::flush_name(const cache::Name& name, Done done) {
    auto matches = [name](std::span<const std::uint8_t> other, bool is_denied) {
        return is_denied ? cache::is_at_or_below(other, name.bytes())
                         : std::ranges::equal(name.bytes(), other);
    };
    return begin(matches, std::move(done));
}

bool Flushes::flush_zone(const cache::Name& zone, Done done) {
    auto matches = [zone](std::span<const std::uint8_t> name, bool) {
        return cache::is_at_or_below(name, zone.bytes());
    };
    return begin(matches, std::move(done));
}

bool Flushes::wait(Done done) {
    if (jobs_.size() >= limits::flushes) return false;
    jobs_.push_back({nullptr, 0, std::move(done), {.shard = table_.shard_count()}, 0, std::nullopt});
    return true;
}

bool Flushes::flush_all(Done done, std::function<void()> then) {
    if (jobs_.size() >= limits::flushes) return false;
    raise_floors(~0u);
    auto everything = [](std::span<const std::uint8_t>, bool) { return true; };
    return begin(everything, std::move(done), std::move(then));
}

void Flushes::raise_floors(std::uint32_t groups) {
    for (unsigned group = 0; group < cache::limits::groups; ++group) {
        if (groups >> group & 1) table_.raise_floor(group, fetches_.last_generation());
    }
}

bool Flushes::flush_outdated(const Outdated& what, Done done, std::function<void()> then) {
    if (jobs_.size() >= limits::flushes) return false;
    raise_floors(what.groups);
    auto matches = [what](const cache::KeyRef& key, const cache::Entry& entry) {
        bool is_of_groups = what.groups >> key.group() & 1 || ((what.groups || what.routes) && entry.crossed);
        return is_of_groups || (what.routes && leaves_group(*what.rules.routes(), key, entry)) ||
               (what.local && is_ruled(*what.rules.local(), key, entry));
    };
    ++begun_;
    jobs_.push_back({matches, fetches_.last_generation(), std::move(done), {}, 0, std::nullopt});
    // What one group completed for another's name, some other may be about to get.
    auto is_concerned = [what](const cache::Key& key, const cache::Entry* told) {
        bool is_of_groups = what.groups >> key.group & 1 || (what.groups && told && told->crossed);
        return what.local || what.routes || is_of_groups;
    };
    fetches_.supersede(is_concerned, std::move(then));
    return true;
}

bool Flushes::flush_negative(Done done) {
    if (jobs_.size() >= limits::flushes) return false;
    // What there is none of has an SOA record (RFC 2308 2). A signed answer by way of a wildcard goes, too.
    auto matches = [](const cache::KeyRef&, const cache::Entry& entry) {
        return entry.rcode != 0 || entry.authorities > 0 || entry.answers == 0;
    };
    ++begun_;
    jobs_.push_back({matches, fetches_.last_generation(), std::move(done), {}, 0, std::nullopt});
    fetches_.supersede([](const cache::Key&, const cache::Entry*) { return true; }, nullptr);
    return true;
}

bool Flushes::begin(const NamePredicate& matches, Done done, std::function<void()> then) {
    if (jobs_.size() >= limits::flushes) return false;
    ++begun_;
    cache::Generation last = fetches_.last_generation();
    auto is_of_it = [matches](const cache::Key& key, const cache::Entry* told) {
        return told ? concerns({0, key.bytes().data()}, *told, matches) : matches(key.name.bytes(), false);
    };
    fetches_.supersede(is_of_it, std::move(then));
    auto is_made_of_it = [matches](const cache::KeyRef& key, const cache::Entry& entry) {
        return concerns(key, entry, matches);
    };
    jobs_.push_back({is_made_of_it, last, std::move(done), {}, 0, std::nullopt});
    return true;
}

bool Flushes::is_made_otherwise(const dataplane::LocalNames& local, const dataplane::Routes& routes,
                                const cache::KeyRef& key, const cache::Entry& entry) {
    return entry.crossed || leaves_group(routes, key, entry) || is_ruled(local, key, entry);
}

bool Flushes::tick() {
    if (jobs_.empty()) return false;
    // What a reload changes is in place then: the slots are judged by that.
    if (fetches_.is_superseding()) return true;
    Job& job = jobs_.front();
    for (std::size_t steps = limits::flush_slots_per_tick;
         steps > 0 && job.at.shard < table_.shard_count();) {
        job.emptied += table_.flush(job.at, steps, job.last, job.matches);
    }
    if (job.at.shard < table_.shard_count()) return true;
    if (!job.period) job.period = grace_.begin();
    if (!grace_.passed(*job.period)) return false;
    Job finished = std::move(job);
    jobs_.pop_front();
    finished.done(finished.emptied);
    return !jobs_.empty();
}

} // namespace millrace::control
