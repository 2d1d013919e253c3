#include "bench/load/generator.hpp"

#include <algorithm>
#include <bit>

#include "bench/load/tsc.hpp"

namespace millrace::bench {

namespace {

using cache::load_u16;

constexpr unsigned nap = 50; // microseconds
constexpr const char* wrong_rcode = "rcode";

} // namespace

Generator::Generator(Link& link, const Plan& plan)
    : link_(link), plan_(plan), choice_(plan.choice), hz_(measure_tsc_hz()),
      patience_(std::uint64_t(plan.patience * hz_)), slots_(std::clamp(plan.window, 1U, most_slots)),
      stride_(std::bit_ceil(unsigned(slots_.size()))) {
    for (std::size_t i = slots_.size(); i-- > 0;) {
        slots_[i].id = std::uint16_t(i);
        free_.push_back(std::uint16_t(i));
    }
}

Report Generator::run() {
    bool each = plan_.choice.pattern == Pattern::each;
    std::uint64_t begin = tsc(), warm = begin + std::uint64_t(plan_.warm_up * hz_);
    start_ = begin;
    stop_ = each ? ~std::uint64_t(0) : warm + std::uint64_t(plan_.seconds * hz_);
    std::uint64_t now = begin;
    if (plan_.warm_up > 0) {
        for (; now < warm; now = tsc()) turn(now);
        begin_counting(now);
    }
    plan_.announce("begin");
    bool stopped = false;
    for (;; now = tsc()) {
        bool idle = free_.size() == slots_.size();
        if (!stopped && (now >= stop_ || (idle && choice_.left() == 0 && again_.empty()))) {
            stopped = true;
            stop_ = now;
            report_.answered_in_time = report_.answered;
            plan_.announce("end");
        }
        if (stopped && idle) break;
        turn(now);
    }
    report_.cycles = stop_ - start_;
    report_.tsc_hz = hz_;
    report_.seconds = double(report_.cycles) / hz_;
    return report_;
}

/// What is in flight stays in flight and is counted with the rest.
void Generator::begin_counting(std::uint64_t now) {
    report_ = {};
    report_.sent = slots_.size() - free_.size();
    start_ = now;
    asked_ = strays_ = 0;
}

void Generator::turn(std::uint64_t now) {
    if (now < stop_) send(now);
    if (plan_.strays > 0 && now < stop_) send_strays(now);
    unsigned received = receive();
    if (now >= next_expiry_) expire(now);
    if (received == 0 && plan_.polite && (free_.empty() || now >= stop_ || wanted(tsc()) == 0))
        link_.sleep(nap);
}

/// How many questions are due.
unsigned Generator::wanted(std::uint64_t now) const {
    std::size_t left = std::size_t(choice_.left()) + again_.size();
    auto room = unsigned(std::min({free_.size(), Link::burst, left}));
    if (plan_.rate == 0) return room;
    auto due = std::uint64_t(double(now - start_) * plan_.rate / hz_);
    return unsigned(std::min<std::uint64_t>(room, due > asked_ ? due - asked_ : 0));
}

void Generator::send(std::uint64_t now) {
    unsigned count = wanted(now);
    if (count == 0) return;
    std::array<Message, Link::burst> messages;
    std::array<Slot*, Link::burst> slots;
    for (unsigned i = 0; i < count; ++i) {
        Slot& slot = slots_[free_.back()];
        free_.pop_back();
        // At a given rate it is due at the end of its interval, as wanted() has it.
        double ticks = plan_.rate == 0 ? double(now - start_) : double(asked_ + 1) * hz_ / plan_.rate;
        prepare(slot, start_ + std::uint64_t(ticks));
        slots[i] = &slot;
        messages[i] = {slot.message.data(), slot.size};
        ++asked_;
    }
    unsigned sent = link_.send({messages.data(), count});
    report_.sent += sent;
    for (unsigned i = count; i-- > sent;) { // the link is full: the same questions, later
        again_.push_back(slots[i]->host);
        slots[i]->busy = false;
        free_.push_back(std::uint16_t(slots[i] - slots_.data()));
        --asked_;
    }
}

/// Those for which there is no room now are not sent later.
void Generator::send_strays(std::uint64_t now) {
    auto due = std::uint64_t(double(now - start_) * plan_.strays / hz_);
    link_.stray(unsigned(std::min<std::uint64_t>(due - strays_, Link::burst)));
    strays_ = due;
}

void Generator::prepare(Slot& slot, std::uint64_t due) {
    if (again_.empty()) {
        slot.host = choice_.next();
    } else {
        slot.host = again_.back();
        again_.pop_back();
    }
    slot.due = due;
    slot.id = std::uint16_t(slot.id + stride_); // the next turn
    slot.busy = true;
    cache::WireWriter out(slot.message);
    out.u16(slot.id);
    out.u16(dns::recursion_desired);
    out.u16(1);
    out.u32(0);
    out.u16(0);
    write_question(out, slot.host, plan_.zone);
    slot.size = std::uint16_t(out.size());
}

unsigned Generator::receive() {
    Link::Messages messages;
    unsigned count = link_.receive(messages);
    std::uint64_t now = count > 0 ? tsc() : 0;
    for (unsigned i = 0; i < count; ++i) settle(messages[i], now);
    return count;
}

void Generator::settle(Message answer, std::uint64_t now) {
    if (answer.size() < dns::header_octets) {
        ++report_.wrong["short"];
        return;
    }
    unsigned index = load_u16(answer.data()) & (stride_ - 1);
    if (index >= slots_.size() || !slots_[index].busy || slots_[index].id != load_u16(answer.data())) {
        ++report_.late;
        return;
    }
    Slot& slot = slots_[index];
    Outcome& outcome = report_.by_kind[slot.host.kind];
    if (const char* what = fault(slot, answer)) {
        ++report_.wrong[what];
        ++(what == wrong_rcode ? outcome.failed : outcome.wrong);
        if (report_.example.empty())
            report_.example =
                std::string(what) + " for " + char(slot.host.kind) + std::to_string(slot.host.number);
    } else {
        std::uint64_t took = now > slot.due ? now - slot.due : 0;
        ++report_.answered;
        report_.latency.add(took);
        ++outcome.answered;
        outcome.latency.add(took);
        outcome.longest = std::max(outcome.longest, took);
    }
    slot.busy = false;
    free_.push_back(std::uint16_t(index));
}

/// What is wrong with the answer, or null.
const char* Generator::fault(const Slot& slot, Message answer) const {
    bool same_question = answer.size() >= slot.size && load_u16(&answer[4]) == 1 &&
                         std::memcmp(&answer[dns::header_octets], &slot.message[dns::header_octets],
                                     slot.size - dns::header_octets) == 0;
    if (!same_question) return "question";
    std::uint16_t flags = load_u16(&answer[2]);
    if ((flags & dns::response) == 0) return "no response";
    if (plan_.echo) return nullptr;
    if ((flags & dns::truncated) != 0) return "truncated";
    auto rcode = dns::Rcode(flags & dns::rcode_mask);
    bool bogus = plan_.bogus_every != 0 && slot.host.number % plan_.bogus_every == 0;
    if (bogus && rcode == dns::Rcode::servfail) return nullptr;
    bool absent = slot.host.kind == Kind::absent;
    if (rcode != (absent ? dns::Rcode::nxdomain : dns::Rcode::noerror)) return wrong_rcode;
    if (absent) return load_u16(&answer[6]) == 0 ? nullptr : "records";
    return address_is_right(slot, answer) ? nullptr : "address";
}

/// One answer record: the A record of the name that was asked, by a pointer to it or in full.
bool Generator::address_is_right(const Slot& slot, Message answer) const {
    if (load_u16(&answer[6]) != 1) return false;
    cache::WireReader in(answer);
    in.skip(slot.size);
    if (in.remaining() >= 2 && load_u16(&answer[slot.size]) == dns::pointer_to_question) {
        in.skip(2);
    } else {
        std::size_t name = slot.size - dns::header_octets - dns::type_class_octets;
        auto owner = in.take(name);
        if (owner.empty() || std::memcmp(owner.data(), &slot.message[dns::header_octets], name) != 0)
            return false;
    }
    bool is_a = in.u16() == dns::type_a && in.u16() == dns::class_in;
    in.u32(); // TTL
    auto address = in.u16() == 4 ? in.take(4) : Message{};
    bool fixed = slot.host.kind == Kind::unique && plan_.wildcard;
    Ipv4 right = fixed ? *plan_.wildcard : address_of(slot.host.number);
    return is_a && in.ok() && address.size() == 4 && std::equal(right.begin(), right.end(), address.begin());
}

void Generator::expire(std::uint64_t now) {
    next_expiry_ = now + std::min(patience_, std::uint64_t(hz_ / 100));
    for (Slot& slot : slots_) {
        if (!slot.busy || slot.due + patience_ > now) continue;
        slot.busy = false;
        ++report_.lost;
        ++report_.by_kind[slot.host.kind].lost;
        if (plan_.choice.pattern == Pattern::each) again_.push_back(slot.host);
        free_.push_back(std::uint16_t(&slot - slots_.data()));
    }
}

} // namespace millrace::bench
