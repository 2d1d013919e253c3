// A thread that sleeps in the kernel, and the others that end its sleep.
//
// Lost wake-ups are excluded by Dekker's scheme: the sleeper announces itself, fence, looks once more for
// work; the others hand over work, fence, look whether it is announced. Whichever comes second sees the
// other's write. Of several others the first takes the announcement down and nudges: what the next hands over
// in between waits for that nudge, or for the end of the sleep's time.
#pragma once

#include <atomic>

#include "dataplane/descriptor.hpp"

namespace millrace::dataplane {

class Sleeper {
  public:
    Sleeper();
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;

    // The thread that sleeps.
    void announce(); ///< then it looks for work, and only without any it waits until descriptor() is readable
    void awake();    ///< after announce(), whether it waited or not
    void drain();    ///< when descriptor() is readable
    int descriptor() const { return eventfd_.get(); }

    // Any thread.
    void end_sleep(); ///< after work was handed over; one call for any amount of it
    void nudge();     ///< the same, whether it sleeps or not

  private:
    Descriptor eventfd_;
    std::atomic<bool> asleep_{false};
};

} // namespace millrace::dataplane
