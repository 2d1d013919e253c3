// Who holds the TCP connections that there may be: which one gives way when there is no room, and which one
// has overstayed. Numbers alone, no sockets.
//
// Room is shared between client prefixes, as rates are (dataplane/access.hpp), and within a prefix between
// its hosts: who shares one with a greedy host is not shut out. Every call takes time logarithmic in the
// connections. Control thread only.
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
    /// Which one gives way for one more of this client: of the host that holds most, in the prefix that holds
    /// most, the one that has been idle for longest, or, when all are busy, busy for longest. Where no prefix
    /// holds more than the client's own (or, if a busy one would have to go, than it would afterwards), so
    /// among the hosts of that prefix. None: no host of it does either.
    std::optional<Id> gives_way_to(const dataplane::Address& client, std::uint64_t prefix) const;
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
    template <class Holder>
    struct Standing {
        std::size_t held;
        Rank first; ///< of what it holds, to give way
        Holder holder;
        bool operator<(const Standing& other) const {
            return held != other.held ? held > other.held : first < other.first;
        }
    };
    /// Of whoever holds something; it that holds most stands first.
    template <class Holder>
    using Standings = std::set<Standing<Holder>>;
    using Host = std::set<Rank>; ///< its connections
    struct Prefix {
        std::map<dataplane::Address, Host> hosts; ///< none is empty
        Standings<dataplane::Address> standings;
        std::size_t held = 0;
    };
    static Rank rank_of(Id id, const State& state) { return {state.busy, state.since, id}; }
    static Standing<dataplane::Address> standing_of(const dataplane::Address& client, const Host& host) {
        return {host.size(), *host.begin(), client};
    }
    static Standing<std::uint64_t> standing_of(std::uint64_t hash, const Prefix& prefix) {
        return {prefix.held, prefix.standings.begin()->first, hash};
    }
    template <class Holder>
    static std::optional<Id> first_of(const Standings<Holder>& standings, std::size_t held);
    template <class Change>
    void change(const Place& place, Change change);

    std::unordered_map<Id, Place> places_;
    std::unordered_map<std::uint64_t, Prefix> prefixes_; ///< by a keyed hash; none is empty
    Standings<std::uint64_t> standings_;
    std::map<dataplane::Address, unsigned> hosts_; ///< a reload may give a host another prefix
    std::set<std::pair<Time, Id>> deadlines_;
};

} // namespace millrace::control
