#include "control/fetch/caps.hpp"

#include <string_view>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cache/keyed_hash.hpp"
#include "control/limits.hpp"

namespace millrace::control {

using Taken = dataplane::Access::Taken;

namespace {

constexpr std::string_view keys[] = {"fetches", "fetches-per-client", "fetches-per-question",
                                     "fetches-per-zone"};

/// A question's name and type, whatever else the key says: DO and the client's other wishes are no way to
/// start it more often.
std::uint64_t question_of(const cache::Key& key) {
    return cache::keyed_mix(cache::keyed_hash(key.name.bytes(), key.group), key.qtype);
}

std::string prefix_text(const dataplane::Address& client, unsigned ipv4_prefix, unsigned ipv6_prefix) {
    return fmt::format("the /{} of client {}", client.is_v4() ? ipv4_prefix : ipv6_prefix, to_string(client));
}

} // namespace

std::optional<ZoneCuts::Charge> Caps::admit(const cache::Key& key, cache::Hash hash, const Waiter& waiter,
                                            bool is_known, Time now) {
    if (!rules_.access()) return ZoneCuts::Charge{};
    if (!is_within(key, hash, waiter, now)) {
        ++counters_.limited;
        return std::nullopt;
    }
    return admit_to_zone(key, is_known, now);
}

bool Caps::is_within(const cache::Key& key, cache::Hash hash, const Waiter& waiter, Time now) {
    const dataplane::Access& access = *rules_.access();
    const dataplane::RateLimits& limit = access.limits();
    const dataplane::Address& client = waiter.client.address;
    auto passes = [&, this](Taken taken, Limit which, std::uint64_t what, auto name) {
        if (taken == Taken::displacing) ++counters_.rate_table_full;
        return taken != Taken::no || is_dry(which, what, name, now);
    };
    if (limit.fetches_per_client > 0) {
        std::uint64_t narrow = access.narrow_prefix_of(client);
        auto name = [&] { return prefix_text(client, limit.client_ipv4_prefix, limit.client_ipv6_prefix); };
        Taken taken = access.takes_fetch_of_client(narrow, waiter.is_tcp(), now);
        if (!passes(taken, Limit::client, narrow, name)) return false;
    }
    auto wide_name = [&] { return prefix_text(client, limit.ipv4_prefix, limit.ipv6_prefix); };
    Taken of_prefix = access.takes_fetch(waiter.prefix, waiter.is_tcp(), now);
    if (!passes(of_prefix, Limit::prefix, waiter.prefix, wide_name)) return false;
    Taken of_key = access.takes_fetch_of_key(waiter.prefix, hash, now);
    if (of_key == Taken::displacing) ++counters_.rate_table_full;
    if (of_key == Taken::no) return false;
    std::uint64_t question = question_of(key);
    auto question_name = [&] { return cache::to_string(key.name.bytes()); };
    return passes(access.takes_fetch_of_question(question, now), Limit::question, question, question_name);
}

std::optional<ZoneCuts::Charge> Caps::admit_to_zone(const cache::Key& key, bool is_known, Time now) {
    unsigned rate = rules_.access() ? rules_.access()->limits().fetches_per_zone : 0;
    if (rate == 0) return ZoneCuts::Charge{};
    if (is_known) {
        cuts_.touch(key, now);
        return ZoneCuts::Charge{.is_spared = true};
    }
    ZoneCuts::Admission admission = cuts_.admit(key, rate, now);
    if (!admission.is_over) return admission.charge;
    auto zone = key.name.bytes().subspan(admission.cut_at);
    auto name = [&] { return cache::to_string(zone); };
    bool passes = is_dry(Limit::zone, cache::keyed_hash(zone, key.group), name, now);
    if (passes) return ZoneCuts::Charge{.is_spared = true}; // refused, it would have had no end to be charged
    ++counters_.limited;
    return std::nullopt;
}

void Caps::refund(const ZoneCuts::Charge& charge) {
    unsigned rate = rules_.access() ? rules_.access()->limits().fetches_per_zone : 0;
    if (rate > 0) cuts_.refund(charge, rate);
}

void Caps::learn(const cache::Key& key, const Answer& answer, const ZoneCuts::Charge& charge, Time now) {
    unsigned rate = rules_.access() ? rules_.access()->limits().fetches_per_zone : 0;
    if (rate > 0) cuts_.learn(key, answer, charge, rate, now);
}

template <class Name>
bool Caps::is_dry(Limit limit, std::uint64_t which, const Name& name, Time now) {
    bool is_dry_run = rules_.access()->limits().dry_run;
    auto& counts = is_dry_run ? counters_.dry_run : counters_.limited_by;
    ++counts[std::size_t(limit)];
    if (now >= named_since_ + limits::log_interval) {
        named_.clear();
        named_since_ = now;
    }
    bool is_new = named_.size() < limits::named_limits && named_.insert(which).second;
    if (is_new) {
        spdlog::info("limits: {}: {} {} over the limit{}", keys[std::size_t(limit)], name(),
                     is_dry_run ? "would be" : "is", is_dry_run ? " (dry-run)" : "");
    }
    return is_dry_run;
}

} // namespace millrace::control
