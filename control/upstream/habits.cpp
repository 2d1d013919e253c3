#include "control/upstream/habits.hpp"

namespace millrace::control {

void Habits::heard_opt() {
    is_edns_proved_ = true;
    edns_misses_ = 0;
}

void Habits::missed_edns(bool was_said, Time now) {
    unsigned needed = is_edns_proved_ ? 4 : was_said ? 1 : 2;
    if (++edns_misses_ < needed) return;
    is_edns_proved_ = false;
    edns_misses_ = 0;
    without_edns_until_ = now + memory;
}

void Habits::knew_mixed_case(LetterCase how, Time now) {
    if (loses_case(now) && letter_case_ == LetterCase::denied) return;
    letter_case_ = how;
    unanswered_ = 0;
    folded_until_ = {};
}

bool Habits::left_mixed_case_unanswered(Time now) {
    if (++unanswered_ < 2) return false;
    unanswered_ = 0;
    lose_case(LetterCase::unanswered, now);
    return true;
}

std::string_view to_string(LetterCase letter_case) {
    switch (letter_case) {
    case LetterCase::unproved: return "unproved";
    case LetterCase::kept: return "kept";
    case LetterCase::changed: return "changed";
    case LetterCase::denied: return "denied";
    case LetterCase::unanswered: return "unanswered";
    }
    return "unknown";
}

} // namespace millrace::control
