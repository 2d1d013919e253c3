#include "control/upstream/admission.hpp"

#include <algorithm>
#include <array>

#include "cache/keyed_hash.hpp"

namespace millrace::control {

namespace {

constexpr unsigned spared_part = 4; // a collection leaves this part of the places to others

} // namespace

Admission::Admission(std::span<Upstreams> groups, std::uint32_t places)
    : groups_(groups), questions_(places), asked_(places) {
    for (std::uint32_t place = places; place-- > 0;) free_.push_back(place);
}

bool Admission::is_open(const cache::Key& key, unsigned upstream) const {
    const Upstreams& group = groups_[key.group];
    for (unsigned place = 0; place < group.size(); ++place) {
        if (group.endpoint(place) == group.endpoint(upstream) && is_asked(key, place)) return true;
    }
    return false;
}

bool Admission::has_room(unsigned group, unsigned upstream) const {
    bool has_places = !free_.empty() || !collections_.empty();
    bool is_below_cap =
        groups_[group].has_room(upstream) || oldest_collection(group, upstream) != collections_.end();
    return has_places && is_below_cap;
}

/// The end when there is none.
std::set<Admission::Collection>::const_iterator Admission::oldest_collection(unsigned group,
                                                                             unsigned upstream) const {
    auto oldest = collections_.lower_bound({group, upstream, 0, 0});
    bool found =
        oldest != collections_.end() && std::get<0>(*oldest) == group && std::get<1>(*oldest) == upstream;
    return found ? oldest : collections_.end();
}

bool Admission::make_room(const cache::Key& key, unsigned upstream, Purpose purpose, Time now,
                          const std::function<void(std::uint32_t place)>& displace) {
    using Share = Upstreams::Share;
    Upstreams& group = groups_[key.group];
    if (purpose == Purpose::collection) {
        return free_.size() > questions_.size() / spared_part && group.has_room(upstream, Share::most) &&
               group.is_in_rate(upstream, now, Share::most);
    }
    if (!group.is_in_rate(upstream, now, Share::all)) {
        group.count_over_rate(upstream);
        return false;
    }
    if (!group.has_room(upstream)) {
        auto oldest = oldest_collection(key.group, upstream);
        if (oldest != collections_.end()) displace(std::get<3>(*oldest));
    }
    if (!group.has_room(upstream)) { // or the cap was lowered while more were in flight
        group.count_over_outstanding(upstream);
        return false;
    }
    if (free_.empty() && !collections_.empty()) displace(std::get<3>(*collections_.begin()));
    return !free_.empty();
}

void Admission::enter(const cache::Key& key, unsigned upstream, Purpose purpose) {
    std::uint32_t place = free_.back();
    free_.pop_back();
    questions_[place] = {&key, upstream};
    asked_.add(hash_of(key, upstream), place);
    if (purpose == Purpose::collection) mark_collecting(place);
}

void Admission::mark_collecting(std::uint32_t place) {
    Question& question = questions_[place];
    if (question.collection) return;
    question.collection = ++collections_begun_;
    collections_.insert({question.key->group, question.upstream, question.collection, place});
}

void Admission::leave(std::uint32_t place) {
    const Question& question = questions_[place];
    asked_.remove(place);
    if (question.collection) {
        collections_.erase({question.key->group, question.upstream, question.collection, place});
    }
    free_.push_back(place);
}

bool Admission::is_open_to(const dataplane::Address& address, const cache::Key& question) const {
    static const std::array shared{*dataplane::parse_address("127.0.0.1"), *dataplane::parse_address("::1")};
    if (std::ranges::find(shared, address) != shared.end()) return false;
    cache::Key key = question;
    for (key.group = 0; key.group < groups_.size(); ++key.group) {
        const Upstreams& group = groups_[key.group];
        for (unsigned upstream = 0; upstream < group.size(); ++upstream) {
            if (group.endpoint(upstream).address != address) continue;
            for (std::uint8_t flavour :
                 {cache::plain, cache::checking_disabled}) { // DO makes no question of its own
                key.flavour = flavour;
                if (is_asked(key, upstream)) return true;
            }
        }
    }
    return false;
}

std::uint64_t Admission::hash_of(const cache::Key& key, unsigned upstream) {
    return cache::keyed_hash(key.bytes(), upstream);
}

bool Admission::is_asked(const cache::Key& key, unsigned upstream) const {
    auto fits = [&](std::uint32_t place) {
        return questions_[place].upstream == upstream && *questions_[place].key == key;
    };
    return asked_.find(hash_of(key, upstream), fits).has_value();
}

} // namespace millrace::control
