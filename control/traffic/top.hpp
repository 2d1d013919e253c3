// Which names and zones are asked for most, who asks most, and who is asked: `millracectl top`.
//
// Basic algorithm: each worker puts one query in so many into a ring (QuerySample). Control takes a bounded
// number of these in each tick and counts them in bounded sketches (Hitters), each as many as it stands for.
// How many queries one stands for follows the traffic, so that a few thousand a second are looked at,
// whatever comes. Counts are of a window of a minute, and of the one before. What upstreams are asked others
// count for ever: what it was as the windows began is subtracted.
//
// Threads: control only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cache/time.hpp"
#include "control/traffic/hitters.hpp"
#include "dataplane/query_log.hpp"

namespace millrace::control {

class Top {
  public:
    Top();

    /// One more worker's, which it outlives. Before the first tick.
    dataplane::QuerySample& add();
    /// A query that came another way.
    void note(const dataplane::Endpoint& client, std::span<const std::uint8_t> query) {
        count(client, query, 1);
    }

    /// Questions to each upstream since the start, by its name for people. Called by view(), and by tick()
    /// once a window.
    using Totals = std::map<std::string, std::uint64_t>;
    void set_upstreams(std::function<Totals()> totals) { totals_ = std::move(totals); }

    void tick(Time now);

    struct Row {
        std::string name; ///< for people
        double rate = 0;  ///< queries a second
        double error = 0; ///< by how much that may be too high
    };
    struct View {
        std::vector<Row> names, zones, clients; ///< most first
        std::vector<Row> upstreams;             ///< questions a second; exact
        double rate = 0;                        ///< of all queries that were looked at
        double asked = 0;                       ///< of all questions to upstreams
        double seconds = 0;                     ///< that it is about
        std::uint32_t stride = 0;               ///< one query in so many is looked at
    };
    View view(Time now, std::size_t rows) const;

  private:
    struct Window {
        Hitters names, zones, clients;
        Time begun{};
        Totals asked{}; ///< as it began
    };
    void count(const dataplane::Endpoint& client, std::span<const std::uint8_t> query, std::uint64_t weight);
    void adapt(Time now);
    void view_upstreams(View& out, const Totals& before, double seconds, std::size_t rows) const;

    std::vector<std::unique_ptr<dataplane::QuerySample>> samples_;
    std::uint32_t stride_ = 1;
    std::uint64_t taken_ = 0, dropped_ = 0; ///< since the stride was looked at, and ever
    Time adapted_{};
    Window now_, before_;
    std::size_t next_ = 0; ///< whose ring is looked at first
    std::function<Totals()> totals_;
    dataplane::LoggedMessage what_;
    std::vector<std::uint8_t> message_;
};

} // namespace millrace::control
