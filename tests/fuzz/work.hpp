// A bound on the work that an input brings about: so many steps, and so many more for each of its octets.
//
// A step is a branch taken in our code (templates of other libraries among it), 64 octets that it copies,
// fills, compares or searches, or a block or 1,024 octets that anybody allocates: what ldns and yaml-cpp do
// is known by that alone. No clock: the number is the same on every machine.
//
// A target's bound is two to three times the worst that fuzzing and inputs written for it have shown: records
// of 16 octets whose owner is a pointer to 126 labels, lines of a zone behind an $ORIGIN of 120, lists as
// long as they may be (each is among the seeds). What is linear keeps it, whatever the input; what goes with
// the square of labels, records or lines is past it at the length that tests/fuzz/run tries.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::fuzz {

/// Aborts at its end when more was done in its life than it allows.
class Work {
  public:
    struct Bound {
        std::uint64_t for_input, for_octet;
    };
    Work(Bound bound, std::size_t octets);
    ~Work();
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

  private:
    std::uint64_t most_, began_;
    std::size_t octets_;
};

} // namespace millrace::fuzz
