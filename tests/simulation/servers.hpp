// The simulated upstream servers: what each of them answers, and when it is gone.
//
// Basic algorithm: a name has a nature (addresses, a chain, no such name, ...) that all servers agree on; one
// that dissents draws the name's nature for itself. Every answer has addresses of its own, new ones each
// time, and some that all servers give within a tenth of a second.
#pragma once

#include <array>
#include <cstdint>

#include "control/config/config.hpp"
#include "tests/simulation/message.hpp"
#include "tests/simulation/scene.hpp"

namespace millrace::simulation {

class Servers {
  public:
    static constexpr unsigned pool = 8; ///< of the first group; behind it come the other's
    static constexpr unsigned others = 2;
    static constexpr unsigned others_mask = ((1u << others) - 1) << pool;
    static constexpr unsigned probed_name = 60'000; ///< that no client asks for

    explicit Servers(Scene& scene) : scene_(scene) {}

    static dataplane::Endpoint endpoint(unsigned server);
    /// As they are configured now.
    static std::vector<control::Config::Server> configured(const Scene& scene, unsigned mask);
    /// 0 the best.
    static unsigned priority_of(const Scene& scene, unsigned server);
    static bool is_trusted(unsigned server) { return server % 2 == 1; } ///< its AD is passed on
    static unsigned group_of(unsigned server) { return server < pool ? 0 : 1; }
    static unsigned server_of(const dataplane::Endpoint& endpoint);

    /// What the server answers to its `nth` query of this kind: a number in the ledger.
    std::uint32_t answer(unsigned server, const Asked& asked, std::uint64_t nth, bool tcp,
                         control::Socket from);
    /// What a forger would have believed.
    std::uint32_t forge(unsigned server, const Asked& asked, control::Socket aimed_at);

    void fail(unsigned server, Time until, bool says_so) { down_[server] = {until, says_so}; }
    bool is_down(unsigned server) const { return scene_.now < down_[server].until; }
    bool says_so(unsigned server) const { return down_[server].says_so; } ///< by ICMP

  private:
    struct Down {
        Time until{};
        bool says_so = false;
    };
    void draw_nature(Said& said, std::uint64_t view);
    void draw_hosts(Said& said, std::uint64_t nth);

    Scene& scene_;
    std::array<Down, pool + others> down_{};
};

} // namespace millrace::simulation
