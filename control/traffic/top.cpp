#include "control/traffic/top.hpp"

#include <algorithm>
#include <cmath>

#include "cache/dns.hpp"
#include "cache/name.hpp"
#include "cache/wire.hpp"
#include "control/fetch/likely_zone.hpp"
#include "control/limits.hpp"
#include "control/message/record_text.hpp"

namespace millrace::control {

namespace {

std::string_view text_of(std::span<const std::uint8_t> octets) {
    return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}
std::span<const std::uint8_t> octets_of(const std::string& key) {
    return {reinterpret_cast<const std::uint8_t*>(key.data()), key.size()};
}

/// Most first, so many of them.
void cut(std::vector<Top::Row>& rows, std::size_t most) {
    std::ranges::sort(rows, [](const Top::Row& a, const Top::Row& b) { return a.rate > b.rate; });
    if (rows.size() > most) rows.resize(most);
}

/// The windows' rows together.
template <class Text>
std::vector<Top::Row> rows_of(const Hitters& now, const Hitters& before, double seconds, std::size_t most,
                              Text text) {
    std::map<std::string, Hitters::Row> sums;
    for (const Hitters* one : {&now, &before}) {
        for (const Hitters::Row& row : one->rows()) {
            sums[row.key].count += row.count;
            sums[row.key].error += row.error;
        }
    }
    std::vector<Top::Row> out;
    for (const auto& [key, row] : sums) {
        out.push_back({text(key), double(row.count) / seconds, double(row.error) / seconds});
    }
    cut(out, most);
    return out;
}

} // namespace

Top::Top()
    : now_{Hitters(limits::top_places), Hitters(limits::top_places), Hitters(limits::top_places), {}, {}},
      before_(now_) {}

dataplane::QuerySample& Top::add() {
    samples_.push_back(std::make_unique<dataplane::QuerySample>());
    samples_.back()->set_stride(stride_);
    return *samples_.back();
}

void Top::tick(Time now) {
    if (now_.begun == Time{}) now_.begun = adapted_ = now;
    if (now - now_.begun >= limits::top_window) {
        std::swap(before_, now_);
        for (Hitters* one : {&now_.names, &now_.zones, &now_.clients}) one->clear();
        now_.begun = now;
        if (totals_) now_.asked = totals_();
    }
    unsigned left = limits::top_per_tick;
    for (std::size_t empty = 0; empty < samples_.size() && left > 0; ++next_) {
        bool is_taken = samples_[next_ % samples_.size()]->ring().take(what_, message_);
        empty = is_taken ? 0 : empty + 1;
        if (!is_taken) continue;
        count(what_.peer, message_, what_.stands_for);
        ++taken_;
        --left;
    }
    if (now - adapted_ >= limits::top_adapt) adapt(now);
}

/// At once where too many are looked at, by halves where too few are.
void Top::adapt(Time now) {
    std::uint64_t dropped = 0;
    for (const auto& sample : samples_) dropped += sample->ring().dropped();
    double rate = double(taken_ + dropped - dropped_) * 1e6 / double((now - adapted_).count());
    if (rate > limits::top_rate)
        stride_ =
            std::uint32_t(std::min(double(limits::top_stride), std::ceil(stride_ * rate / limits::top_rate)));
    if (rate < limits::top_rate / 4 && stride_ > 1) stride_ /= 2;
    for (auto& sample : samples_) sample->set_stride(stride_);
    taken_ = 0;
    dropped_ = dropped;
    adapted_ = now;
}

void Top::count(const dataplane::Endpoint& client, std::span<const std::uint8_t> query,
                std::uint64_t weight) {
    now_.clients.add(text_of(client.address.octets), weight);
    cache::WireReader in(query);
    in.skip(dns::header_octets);
    cache::Name name;
    if (!cache::read_name(in, name)) return;
    std::uint16_t type = in.u16();
    if (!in.ok()) return;
    std::string key(text_of(name.bytes()));
    now_.zones.add(text_of(likely_zone(name.bytes())), weight);
    key.push_back(char(type >> 8));
    key.push_back(char(type));
    now_.names.add(key, weight);
}

Top::View Top::view(Time now, std::size_t rows) const {
    bool has_before = before_.begun != Time{};
    View out;
    out.seconds = in_seconds(now - (has_before ? before_.begun : now_.begun));
    out.stride = stride_;
    double seconds = std::max(out.seconds, 1.0);
    out.rate = double(now_.clients.total() + before_.clients.total()) / seconds;
    auto name_text = [](const std::string& key) {
        auto octets = octets_of(key);
        std::uint16_t type = cache::load_u16(octets.last(2).data());
        return cache::to_string(octets.first(octets.size() - 2)) + " " + type_text(type);
    };
    auto zone_text = [](const std::string& key) { return cache::to_string(octets_of(key)); };
    auto client_text = [](const std::string& key) {
        dataplane::Address address;
        std::ranges::copy(octets_of(key), address.octets.begin());
        return to_string(address);
    };
    out.names = rows_of(now_.names, before_.names, seconds, rows, name_text);
    out.zones = rows_of(now_.zones, before_.zones, seconds, rows, zone_text);
    out.clients = rows_of(now_.clients, before_.clients, seconds, rows, client_text);
    view_upstreams(out, has_before ? before_.asked : now_.asked, seconds, rows);
    return out;
}

void Top::view_upstreams(View& out, const Totals& before, double seconds, std::size_t rows) const {
    for (const auto& [name, total] : totals_ ? totals_() : Totals()) {
        auto was = before.find(name);
        std::uint64_t base =
            was == before.end() || was->second > total ? 0 : was->second; // a reload begins anew
        if (total == base) continue;
        out.upstreams.push_back({name, double(total - base) / seconds, 0});
        out.asked += out.upstreams.back().rate;
    }
    cut(out.upstreams, rows);
}

} // namespace millrace::control
