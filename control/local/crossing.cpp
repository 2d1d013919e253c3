#include "control/local/crossing.hpp"

#include <algorithm>
#include <iterator>

#include "control/message/records.hpp"

namespace millrace::control {

namespace {

cache::Name owner_name(const Record& record) {
    return name_of(ldns_rr_owner(record.get()));
}

} // namespace

void cut_at_crossing(const dataplane::Routes& routes, const cache::Key& key, Answer& answer) {
    auto crosses = [&](const Record& record) {
        if (!is_cname(record)) return false;
        return routes.group_of(name_of(ldns_rr_rdf(record.get(), 0)).bytes(), key.qtype) != key.group;
    };
    auto link = std::ranges::find_if(answer.chain, crosses);
    if (link == answer.chain.end()) return;
    answer.chain.erase(std::next(link), answer.chain.end());
    answer.kind = Kind::incomplete;
    answer.is_cut = true;
    answer.records.clear();
    answer.authority.clear();
    auto is_of_chain = [&](const Record& signature) {
        return std::ranges::find(answer.chain, owner_name(signature), owner_name) != answer.chain.end();
    };
    std::erase_if(answer.signatures, [&](const Record& r) { return !is_of_chain(r); });
    auto is_others = [&](const Record& r) {
        return routes.group_of(owner_name(r).bytes(), ldns_rr_get_type(r.get())) != key.group;
    };
    std::erase_if(answer.proofs, is_others);
}

bool leaves_group(const dataplane::Routes& routes, const cache::KeyRef& key, const cache::Entry& entry) {
    std::uint16_t qtype = key.key().qtype;
    auto is_others = [&](std::span<const std::uint8_t> name) {
        return routes.group_of(name, qtype) != key.group();
    };
    if (is_others(key.name())) return true;
    return entry.chained &&
           std::ranges::any_of(chain_targets(key.name(), entry),
                               [&](const cache::Name& name) { return is_others(name.bytes()); });
}

} // namespace millrace::control
