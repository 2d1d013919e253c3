// Names that do not exist, nor anything below them (RFC 8020): where to look before something below one is
// asked for. Upstreams are spared that, and so are those who wait.
//
// A hint only: a name, by a keyed hash, and the type for which the table holds, or held, the NXDOMAIN. Fixed
// memory, from the first on; a newer name takes the place of an older one. Control thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "cache/key.hpp"
#include "cache/keyed_hash.hpp"
#include "control/limits.hpp"

namespace millrace::control {

class Denials {
  public:
    void note(const cache::Key& key) {
        if (places_.empty()) places_.resize(limits::denials);
        std::uint64_t hash = cache::keyed_hash(key.name.bytes(), key.group);
        places_[hash % places_.size()] = {hash, key.qtype};
    }

    /// The key of a name above that of `key`, the nearest, that is among them.
    std::optional<cache::Key> above(const cache::Key& key) const {
        if (places_.empty()) return std::nullopt;
        auto name = key.name.bytes();
        for (std::size_t at = 0; name[at] != 0;) {
            at += 1u + name[at];
            auto rest = name.subspan(at);
            std::uint64_t hash = cache::keyed_hash(rest, key.group);
            const Place& place = places_[hash % places_.size()];
            if (place.hash != hash) continue;
            cache::Key found = key;
            found.qtype = place.qtype;
            found.name.size = std::uint8_t(rest.size());
            std::ranges::copy(rest, found.name.octets.begin());
            return found;
        }
        return std::nullopt;
    }

  private:
    struct Place {
        std::uint64_t hash = 0;
        std::uint16_t qtype = 0;
    };
    std::vector<Place> places_;
};

} // namespace millrace::control
