// Probes whose results the test gives.
#pragma once

#include <deque>
#include <set>
#include <string>

#include "control/rank/probes.hpp"
#include "tests/control/rank/addresses.hpp"

namespace millrace::control {

class FakeProbes final : public Probes {
  public:
    struct Sent {
        ProbeId id;
        dataplane::Endpoint to;
        Time at;
        bool is_open = true;
    };

    void set_listener(ProbeListener& listener) override { listener_ = &listener; }
    tl::expected<ProbeId, std::errc> start(const dataplane::Endpoint& to, Time now) override {
        if (unreachable.contains(to.port)) return tl::make_unexpected(std::errc::network_unreachable);
        sent.push_back({++last_, to, now});
        return last_;
    }
    void close(ProbeId probe) override {
        for (Sent& s : sent) s.is_open = s.is_open && s.id != probe;
    }

    void rest() override { ++rests; }

    /// The open probe towards "address:port" ends so; port 0 is ICMP. False: there is none.
    bool end(const std::string& address, std::uint16_t port, bool has_answered, Time rtt, Time now) {
        for (Sent& s : sent) {
            if (!s.is_open || s.to != dataplane::Endpoint{at(address), port}) continue;
            s.is_open = false;
            listener_->on_probe_ended(s.id, has_answered, rtt, now);
            return true;
        }
        return false;
    }
    /// "address port" of each that has been sent, in order.
    Texts log() const {
        Texts lines;
        for (const Sent& s : sent) lines.push_back(to_string(s.to.address) + " " + std::to_string(s.to.port));
        return lines;
    }
    std::size_t open() const {
        std::size_t count = 0;
        for (const Sent& s : sent) count += s.is_open;
        return count;
    }

    std::deque<Sent> sent;
    unsigned rests = 0;
    std::set<std::uint16_t> unreachable; ///< ports towards which this machine cannot send

  private:
    ProbeListener* listener_ = nullptr;
    ProbeId last_ = 0;
};

} // namespace millrace::control
