// Zones that are asked for names which do not exist, and how often: so that random names under one zone reach
// the upstreams at a capped rate, and other zones' names do not feel it (`limits: fetches-per-zone`).
//
// Where a zone begins is learned from answers. A negative one names its zone: the owner of its SOA is a cut.
// A positive one shows that its name exists, and what is one label below the cut above it becomes a cut of
// its own, if that one has ever denied anything: so the zones of a registry that have never denied anything,
// and the existing names of a zone, do not share the account of the random ones. A name belongs to the
// deepest cut at or above it; to nobody, while none is known. What a known cut does not help is a name that
// comes for the first time, of a zone without one: while its registry is flooded, it is one of the flood.
//
// What is counted are questions that find nothing (of a registry's zone most find something, however many
// they are); one whose chain of CNAMEs leads to nothing counts to the cut of its own name. That is known only
// at the end, so each question is charged as the cut's last one ended, and put right when it has ended
// itself: all of a flood pay at their start, and a flood to servers that fall silent goes on paying, until a
// name below the cut is found while nothing is owed. The account is a token bucket (GCRA, see
// dataplane/rate_table.hpp), which answers may overdraw by limits::zone_debt: that much more came before the
// first was known.
//
// A name that exists may have nothing of the type that is asked for (NODATA): browsers ask for AAAA and HTTPS
// records of every name. That is charged, too, since there are servers that say so of any name (RFC 9824,
// wildcards); but it is paid back as soon as the name is found to have something.
//
// Lies. Anybody may own a zone, and name any zone above it in the SOA of its answers: "com." for the names of
// evil.com. That cut stands for all names below it without a cut of their own, and their account is used up
// when evil.com's names are asked for. But so it is when names are asked for that do not exist in com., which
// takes no zone and no lie; the names of zones that have answered anything have cuts of their own, and only
// an answer for a name below such a cut takes it away again (r.www.example, denied by example: so
// www.example's cut is no way around the cap of example). A lie costs the liar's own names their cut, nobody
// else's; and an SOA that is not above its question, or of an NXDOMAIN is at it, is not believed.
//
// Memory: fixed, from the first cut on. Places of eight to a set by a keyed hash of name and group. Of a full
// set the first to go are cuts that were never asked again, then the one that was asked least recently: so
// names that come once push out none that come often. Whoever asks each of his names twice can, and takes
// with it no more than what the cut above has room for.
// Control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cache/key.hpp"
#include "cache/time.hpp"
#include "control/message/answer.hpp"

namespace millrace::control {

class ZoneCuts {
  public:
    /// What a question has been charged, until it has ended.
    struct Charge {
        std::uint64_t cut = 0;  ///< a hash; 0: nothing
        bool is_spared = false; ///< nor will its answer be
    };
    struct Admission {
        bool is_over = false;
        Charge charge{};
        std::size_t cut_at = 0; ///< where the cut begins within the name; of what is over only
    };

    /// One more question. `rate` per second, not 0, with one second's worth at once.
    Admission admit(const cache::Key& key, unsigned rate, Time now);
    /// How it ended, and what that says of cuts. `answer` is as an upstream gave it.
    void learn(const cache::Key& key, const Answer& answer, const Charge& charge, unsigned rate, Time now);

    /// A question that nobody is charged for has come.
    void touch(const cache::Key& key, Time now);
    /// A question that was charged has not been asked to its end. One whose cut was forgotten is nobody's.
    void refund(const Charge& charge, unsigned rate);

    /// Whether the name is a cut. For tests.
    bool has(std::span<const std::uint8_t> name, unsigned group) const;

  private:
    using Nanoseconds = std::int64_t;
    static constexpr std::size_t ways = 8;
    struct Place {
        std::uint64_t hash = 0; ///< 0: free
        Time asked{};           ///< latest
        Nanoseconds full = 0;   ///< when the bucket is full again
        bool denies = false;    ///< as it did last, or what it denied is not paid for yet
        bool has_denied = false;
        bool is_asked_again = false; ///< since it became a cut

        void ask(Time now) {
            asked = now;
            is_asked_again = true;
        }
    };
    struct Found {
        Place* place = nullptr;
        std::size_t at = 0;    ///< of the cut within the name
        std::size_t below = 0; ///< of what is one label below it; if at > 0
    };

    /// How often a cut was charged for types that a name has not.
    struct Lack {
        std::uint64_t name = 0, cut = 0; ///< hashes
        unsigned count = 0;
    };

    static std::uint64_t hash_of(std::span<const std::uint8_t> name, unsigned group);
    Place* find(std::uint64_t hash);
    Found deepest(const cache::Key& key);
    Place& add(std::uint64_t hash, Time now);
    void deny(Place& place, const Charge& charge, unsigned rate, Time now);
    void note_lack(std::uint64_t name, std::uint64_t cut);
    void refund_lack(std::uint64_t name, unsigned rate);
    void learn_denial(const cache::Key& key, const Answer& answer, const Charge& charge, unsigned rate,
                      Time now);
    void learn_existence(const cache::Key& key, const Charge& charge, unsigned rate, Time now);

    std::vector<Place> places_; ///< none before the first cut
    std::vector<Lack> lacks_;   ///< by name, the latest of those that share a place; nor these
};

} // namespace millrace::control
