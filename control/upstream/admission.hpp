// Which questions may be open at once: none twice to one upstream, no more than there are places, than an
// upstream's caps allow.
//
// Under pressure collections go first: they are refused while a share of every bound is still free, and give
// up their places, the oldest first, to questions that clients wait for.
//
// Control thread only. Nothing here knows of sockets or Fetches: a question is a place, from 0 on.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "cache/key.hpp"
#include "control/hash_places.hpp"
#include "control/upstream/upstreams.hpp"

namespace millrace::control {

/// For what an answer is wanted.
enum class Purpose : std::uint8_t {
    answer,    ///< clients wait for it
    collection ///< it completes an answer that they already have, or refreshes one ahead of time
};

class Admission {
  public:
    /// `groups` is indexed by Key::group and outlives this.
    Admission(std::span<Upstreams> groups, std::uint32_t places);

    /// Whether this very question is open to the upstream, be it as another name's, whose place it has left.
    bool is_open(const cache::Key& key, unsigned upstream) const;
    /// Whether it is, in whatever flavour, to an upstream of whatever group at this address: from there it is
    /// our own, coming back. Never at 127.0.0.1 and ::1, which every local client has.
    bool is_open_to(const dataplane::Address& address, const cache::Key& question) const;

    /// Whether there is room for one more that a client waits for, if only in the place of a collection.
    bool has_room(unsigned group, unsigned upstream) const;
    /// Whether one more may be asked. What a client waits for takes the place of the upstream's oldest
    /// collection; when it is places that are short, of some upstream's: `displace` ends it, and with
    /// it calls leave().
    bool make_room(const cache::Key& key, unsigned upstream, Purpose purpose, Time now,
                   const std::function<void(std::uint32_t place)>& displace);

    /// The place that the next question gets, after make_room().
    std::uint32_t next() const { return free_.back(); }
    /// Takes that place. `key` stays where it is until leave().
    void enter(const cache::Key& key, unsigned upstream, Purpose purpose);
    void mark_collecting(std::uint32_t place);
    void leave(std::uint32_t place);

  private:
    struct Question {
        const cache::Key* key = nullptr;
        unsigned upstream = 0;
        std::uint64_t collection = 0; ///< its age among those that collect; 0: it does not
    };
    /// Group, upstream, age, place of one that collects.
    using Collection = std::tuple<unsigned, unsigned, std::uint64_t, std::uint32_t>;

    static std::uint64_t hash_of(const cache::Key& key, unsigned upstream);
    bool is_asked(const cache::Key& key, unsigned upstream) const;
    std::set<Collection>::const_iterator oldest_collection(unsigned group, unsigned upstream) const;

    std::span<Upstreams> groups_;
    std::vector<Question> questions_; ///< by place
    std::vector<std::uint32_t> free_;
    HashPlaces asked_;                    ///< by key and upstream
    std::set<Collection> collections_;    ///< of each upstream the oldest first
    std::uint64_t collections_begun_ = 0; ///< ever
};

} // namespace millrace::control
