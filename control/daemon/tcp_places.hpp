// Who holds the TCP connections that there may be: which one gives way when there is no room, and which one
// has overstayed. Numbers alone, no sockets.
//
// Room is shared between client prefixes, as rates are (dataplane/access.hpp). Every call takes time
// logarithmic in the connections. Control thread only.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "cache/time.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

class TcpPlaces {
  public:
    using Id = std::uint64_t;

    struct State {
        bool busy = false; ///< a question is in work, or its answer on the way
        Time since{};      ///< boot time: when the client has last asked or been answered
        Time due{}; ///< boot time: until when it may stay like this; Time::max(): for as long as it takes

        bool operator==(const State&) const = default;
    };

    /// `prefix` is Access::prefix_of(client).
    void add(Id id, const dataplane::Address& client, std::uint64_t prefix, const State& state);
    /// Nothing happens where it has been removed.
    void set(Id id, const State& state);
    void remove(Id id);

    std::size_t size() const { return places_.size(); }
    /// Of this client; an IPv6 host has a whole /64 to itself (RFC 4291 2.5.1).
    unsigned of_client(const dataplane::Address& client) const;
    /// Which one gives way for one more of this prefix: of the prefix that holds most the one that has been
    /// idle for longest, or, when all are busy, busy for longest. None: no prefix holds more than this one,
    /// or, where a busy one would have to go, than this one would afterwards.
    std::optional<Id> gives_way_to(std::uint64_t prefix) const;
    /// One whose time has come.
    std::optional<Id> overdue(Time now) const;

  private:
    /// Who gives way first stands first.
    struct Rank {
        bool busy;
        Time since;
        Id id;
        auto operator<=>(const Rank&) const = default;
    };
    struct Place {
        dataplane::Address host;
        std::uint64_t prefix;
        State state;
    };
    using Holding = std::set<Rank>; ///< the connections of one prefix
    struct Standing {
        std::size_t held;
        Rank first;
        std::uint64_t prefix;
        bool operator<(const Standing& other) const {
            return held != other.held ? held > other.held : first < other.first;
        }
    };
    static Rank rank_of(Id id, const State& state) { return {state.busy, state.since, id}; }
    static Standing standing_of(std::uint64_t prefix, const Holding& holding) {
        return {holding.size(), *holding.begin(), prefix};
    }
    template <class Change>
    void change(std::uint64_t prefix, Change change);

    std::unordered_map<Id, Place> places_;
    std::unordered_map<std::uint64_t, Holding> holdings_; ///< by prefix, a keyed hash; none is empty
    std::set<Standing> standings_; ///< of every prefix; it that holds most stands first
    std::map<dataplane::Address, unsigned> hosts_;
    std::set<std::pair<Time, Id>> deadlines_;
};

} // namespace millrace::control
