// Asks over a link and checks every answer.
//
// Basic algorithm: a window of slots, each one question in flight, whose slot and turn the ID names. At full
// speed every free slot is used at once; at a given rate a question is due at its own time, and its latency
// counts from then, whether or not it could be sent. A slot without an answer in time is lost and used again;
// what comes for it later is `late`. An ID returns after 65,536 / window turns of its slot (rounded up to a
// power of two): what is later than that counts as wrong, by its question. One thread's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/load/choice.hpp"
#include "bench/load/histogram.hpp"
#include "bench/load/link.hpp"
#include "bench/load/zone.hpp"

namespace millrace::bench {

struct Plan {
    cache::Name zone;
    Choice::Setup choice;
    double seconds = 1, warm_up = 0; ///< the counting begins after the warm-up
    double rate = 0;                 ///< questions a second; 0: full speed
    double strays = 0;               ///< frames a second that are no DNS
    unsigned window = 512;           ///< questions in flight, at most
    double patience = 1;             ///< seconds after which a question is lost
    bool echo = false;               ///< an echo answers: ID and question are all that is checked
    bool polite = false;             ///< sleep when there is nothing to do: others need this CPU
    std::optional<Ipv4> wildcard;    ///< address of all m names; none: address_of
    std::uint32_t bogus_every = 0; ///< for names with a number that it divides SERVFAIL is right too; 0: none
    std::function<void(const char*)> announce = [](const char*) {}; ///< "begin" and "end" of the counting
};

/// What became of the questions for the names of one kind.
struct Outcome {
    // wrong: another address; failed: another rcode
    std::uint64_t answered = 0, wrong = 0, failed = 0, lost = 0;
    Histogram latency;         ///< of the answered ones; TSC ticks
    std::uint64_t longest = 0; ///< of these
};

struct Report {
    std::uint64_t sent = 0, answered = 0, lost = 0, late = 0;
    std::map<std::string, std::uint64_t> wrong; ///< by what was wrong
    std::string example;                        ///< the first wrong answer, in words
    std::uint64_t answered_in_time = 0;         ///< before the time was over
    double seconds = 0;
    std::uint64_t cycles = 0; ///< TSC, of those seconds
    double tsc_hz = 0;
    Histogram latency; ///< TSC ticks
    std::map<Kind, Outcome> by_kind;
};

class Generator {
  public:
    static constexpr unsigned most_slots = 4096;

    Generator(Link& link, const Plan& plan);

    /// Until the time is over (Pattern::each: until every name has its answer) and nothing is in flight.
    Report run();

  private:
    static constexpr std::size_t question_octets =
        dns::header_octets + label_octets + most_zone_octets + dns::type_class_octets;
    struct Slot {
        std::uint64_t due = 0; ///< when it was, or should have been, sent; TSC
        Host host;
        std::uint16_t id = 0, size = 0;
        bool busy = false;
        std::array<std::uint8_t, question_octets> message;
    };

    void turn(std::uint64_t now);
    void send(std::uint64_t now);
    void send_strays(std::uint64_t now);
    unsigned wanted(std::uint64_t now) const;
    void prepare(Slot& slot, std::uint64_t due);
    unsigned receive();
    void settle(Message answer, std::uint64_t now);
    const char* fault(const Slot& slot, Message answer) const;
    bool address_is_right(const Slot& slot, Message answer) const;
    void expire(std::uint64_t now);
    void begin_counting(std::uint64_t now);

    Link& link_;
    Plan plan_;
    Choice choice_;
    double hz_;
    std::uint64_t start_ = 0, stop_ = 0, patience_, next_expiry_ = 0, asked_ = 0, strays_ = 0;
    std::vector<Slot> slots_;
    unsigned stride_; ///< from an ID of a slot to its next one; the bits below are the slot's index
    std::vector<std::uint16_t> free_;
    std::vector<Host> again_; ///< Pattern::each: lost, to be asked once more
    Report report_;
};

} // namespace millrace::bench
