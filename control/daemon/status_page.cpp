#include "control/daemon/status_page.hpp"

#include <asio/post.hpp>
#include <nlohmann/json.hpp>

#include "control/daemon/top_verb.hpp"
#include "control/limits.hpp"

namespace millrace::control {

using dataplane::Histogram;
using nlohmann::json;

namespace {

constexpr char page[] =
#include "page.ipp"
    ;

json times(const std::optional<double>& seconds, double units) {
    return seconds ? json(*seconds * units) : json();
}

} // namespace

std::optional<double> quantile(const Histogram& counts, double part) {
    std::uint64_t all = 0;
    for (std::uint64_t n : counts.counts) all += n;
    if (all == 0) return std::nullopt;
    double rank = part * double(all), below = 0;
    for (unsigned i = 0; i < Histogram::bounds; ++i) {
        auto here = double(counts.counts[i]);
        if (below + here >= rank && here > 0) {
            double from = i > 0 ? double(Histogram::bound(i - 1)) : 0, to = double(Histogram::bound(i));
            return (from + (to - from) * (rank - below) / here) / 1e9;
        }
        below += here;
    }
    return double(Histogram::bound(Histogram::bounds - 1)) / 1e9;
}

void History::add(const Traffic& now, double seconds, std::size_t most) {
    if (before_) {
        Histogram hits = now.hit_time.since(before_->hit_time);
        Histogram misses = now.miss_time.since(before_->miss_time);
        points_.push_back({double(now.received - before_->received) / seconds,
                           double(now.misses - before_->misses) / seconds, quantile(hits, 0.5),
                           quantile(hits, 0.99), quantile(misses, 0.5), quantile(misses, 0.99)});
    }
    if (points_.size() > most) points_.pop_front();
    before_ = now;
}

StatusPage::StatusPage(HttpServer& server, const Context& context)
    : server_(server), c_(context), shows_names_(server.at() != Config::default_metrics()),
      timer_(context.io) {
    server.on("/", [] { return HttpServer::Page{200, "text/html; charset=utf-8", page}; });
    server.on_asked("/status.json", "application/json", HttpServer::For::by_address, [this] {
        asio::post(c_.io, [this] { make_step(std::make_shared<json>(json::object()), 0); });
    });
    look();
}

void StatusPage::look() {
    Time now = boot_time();
    double seconds = in_seconds(std::max<Time>(now - looked_, 1ms));
    history_.add(traffic_of(c_), seconds, limits::history_points);
    looked_ = now;
    timer_.expires_after(limits::history_step);
    timer_.async_wait([this](asio::error_code error) {
        if (!error) look();
    });
}

json StatusPage::history() const {
    json points = json::array();
    for (const History::Point& p : history_.points()) {
        points.push_back({{"queries", p.queries},
                          {"misses", p.misses},
                          {"hit_p50_us", times(p.hit_p50, 1e6)},
                          {"hit_p99_us", times(p.hit_p99, 1e6)},
                          {"miss_p50_ms", times(p.miss_p50, 1e3)},
                          {"miss_p99_ms", times(p.miss_p99, 1e3)}});
    }
    return {{"step_s", in_seconds(limits::history_step)}, {"points", std::move(points)}};
}

void StatusPage::make_step(const std::shared_ptr<json>& out, unsigned step) {
    switch (step) {
    case 0: (*out)["status"] = status(c_); break;
    case 1:
        if (shows_names_) (*out)["top"] = top_of(c_.top, limits::page_rows);
        break;
    case 2:
        if (shows_names_) (*out)["inflight"] = inflight(c_);
        break;
    case 3: (*out)["history"] = history(); break;
    default:
        return server_.deliver("/status.json",
                               [out] { return out->dump(-1, ' ', true, json::error_handler_t::replace); });
    }
    asio::post(c_.io, [this, out, step] { make_step(out, step + 1); });
}

} // namespace millrace::control
