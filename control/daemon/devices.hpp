// Keeps the ports' devices in service: resets one whose driver asks for it, gives one back that the kernel
// wants, or that is gone, and takes it again when it has returned. The daemon goes on meanwhile.
//
//     serving -> leaving -> at work -> serving           a reset
//                              |  ^
//                              v  |
//                            waiting                     for the next try, or for the device to come back
//
// Leaving is a grace period: when it is over no lcore is in the driver. The work may block, so a helper
// thread does it, of one device at a time. A reset or a return that fails is tried again, ever less often,
// once in 64 s at the least. Another process may be given all of them, for good.
//
// Control thread, but for the helper, which shares nothing with it but the Device.
#pragma once

#include <future>
#include <string>
#include <vector>

#include "cache/grace.hpp"
#include "cache/time.hpp"
#include "dataplane/device.hpp"

namespace millrace::control {

class Devices {
  public:
    explicit Devices(cache::Grace& grace) : grace_(grace) {}
    Devices(const Devices&) = delete;
    Devices& operator=(const Devices&) = delete;
    /// Waits for the helper. A driver that does not come back from its work for 10 s ends the process.
    ~Devices();

    void add(dataplane::Device& device, std::string name); ///< which outlives this, is serving
    void tick(Time now);

    /// Gives all of them to another process, and looks for none again.
    void give_up() { is_given_up_ = true; }
    bool is_giving_up() const { return is_given_up_; }
    bool is_none_left() const; ///< of those that were given up

    struct View {
        bool is_serving, is_removed; ///< neither: it is being reset
        unsigned resets, removals;   ///< that were done
    };
    View view(std::size_t index) const;              ///< in the order of add()
    bool is_busy() const { return helper_.valid(); } ///< with a device, on the helper thread

  private:
    using Wish = dataplane::Device::Wish;
    using Outcome = tl::expected<bool, std::string>; ///< false: it has not returned
    enum class Step { serving, leaving, waiting, at_work };
    enum class Job { reset, remove, bring_back };

    struct One {
        dataplane::Device* device;
        std::string name;
        Step step = Step::serving;
        Job job = Job::reset; ///< while it is not serving
        Wish wish = Wish::none;
        cache::Grace::Period period{}; ///< of leaving
        Time due{};                    ///< the next try; while serving, the earliest time for a reset
        Time pause{};                  ///< before the latest try; 0: none has failed
        Time quiet_until{};            ///< about resets that are asked for
        bool is_told = false;          ///< the log has this one, and gets its end
        unsigned resets = 0, removals = 0;
    };

    static Outcome work(dataplane::Device& device, Job job);
    void hear(One& one, Time now);
    void part_with(One& one, Time now);
    void leave(One& one, Job job, Time now);
    void start(One& one, Time now);
    void on_done(One& one, const Outcome& outcome, Time now);
    static void on_failure(One& one, const std::string& why, Time now);
    static void serve_again(One& one, Time now);

    cache::Grace& grace_;
    std::vector<One> all_;
    bool is_given_up_ = false;
    std::future<Outcome> helper_; ///< valid while it works,
    std::size_t helped_ = 0;      ///< on this one
};

} // namespace millrace::control
