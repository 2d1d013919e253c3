// What one server was seen to do with two things that every server should understand, and some do not: the
// OPT of EDNS, and names in mixed letter case. What is found lacking is remembered for a while, then tried
// again (RFC 6891 6.2.2). Control thread only; time is passed in.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "cache/time.hpp"

namespace millrace::control {

/// What becomes of the letter case of names that a server is asked for.
enum class LetterCase : std::uint8_t {
    unproved,   ///< no answer yet shows that it knows a name in mixed case
    kept,       ///< as it should be
    changed,    ///< it replies with another case than it was asked in
    denied,     ///< NXDOMAIN in mixed case, though the name exists
    unanswered, ///< silence over UDP in mixed case, a reply over TCP in lower case
};
std::string_view to_string(LetterCase letter_case);

class Habits {
  public:
    static constexpr Time memory = 10min;

    // EDNS.

    bool lacks_edns(Time now) const { return now < without_edns_until_; }
    bool is_edns_proved() const { return is_edns_proved_; }
    /// A reply came with an OPT.
    void heard_opt();
    /// Only without OPT was there an answer: with it came an error (`was_said`), or nothing, which loss
    /// explains as well. It takes two silences, and four errors of a server that has spoken EDNS.
    void missed_edns(bool was_said, Time now);

    // Letter case.

    /// Questions go in lower case, over TCP.
    bool loses_case(Time now) const { return now < folded_until_; }
    LetterCase letter_case() const { return letter_case_; }
    bool is_case_proved() const {
        return letter_case_ == LetterCase::kept || letter_case_ == LetterCase::changed;
    }
    /// A name in mixed case got an answer, with its case kept or changed. That ends what silence suggested; a
    /// denial that was refuted is none the better for it.
    void knew_mixed_case(LetterCase how, Time now);
    /// The name in lower case is there, which was denied in mixed case.
    void denied_mixed_case(Time now) { lose_case(LetterCase::denied, now); }
    /// A reply over TCP, in lower case, after silence over UDP: may be loss. True: the second, so it is not.
    bool left_mixed_case_unanswered(Time now);
    /// There is no TCP to ask over: not tried again for a while.
    void could_not_check_case(Time now) { unchecked_until_ = now + 1min; }
    bool may_check_case(Time now) const { return !is_case_proved() && now >= unchecked_until_; }

    /// The log names a server once. True: now is the time.
    bool begin_naming() { return !std::exchange(is_named_, true); }

  private:
    void lose_case(LetterCase how, Time now) { letter_case_ = how, folded_until_ = now + memory; }

    bool is_edns_proved_ = false;
    unsigned edns_misses_ = 0; ///< since the last reply with an OPT
    Time without_edns_until_{};
    LetterCase letter_case_ = LetterCase::unproved;
    unsigned unanswered_ = 0;
    Time folded_until_{}, unchecked_until_{};
    bool is_named_ = false;
};

} // namespace millrace::control
