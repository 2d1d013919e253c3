#include "bench/ring_wire.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <random>

#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_ip.h>
#include <rte_lcore.h>
#include <rte_ring.h>
#include <rte_udp.h>

#include "cache/dns.hpp"
#include "dataplane/machine.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"

namespace millrace::bench {

namespace {

constexpr std::size_t l2 = 14, l3 = 20, message_at = l2 + l3 + 8;      // offsets in the frame
constexpr std::size_t digits_at = message_at + dns::header_octets + 2; // header, label length, 'n'
constexpr std::size_t drawn = 1 << 22;

void write_number(std::uint8_t* digits, std::uint32_t number) {
    for (unsigned i = NumberedName::digits; i-- > 0; number /= 10)
        digits[i] = std::uint8_t('0' + number % 10);
}
std::uint32_t read_number(const std::uint8_t* digits) {
    std::uint32_t number = 0;
    for (unsigned i = 0; i < NumberedName::digits; ++i) number = number * 10 + (digits[i] - '0');
    return number;
}

} // namespace

std::string NumberedName::name(std::uint32_t number) {
    std::string text = "n0000000.bench.example";
    write_number(reinterpret_cast<std::uint8_t*>(&text[1]), number);
    return text;
}

cache::EntryPtr NumberedName::entry(std::uint32_t number, cache::Generation generation, Time born, Time ttl) {
    std::array<std::uint8_t, 16> record{
        dns::pointer_bits, dns::header_octets, 0, dns::type_a, 0, dns::class_in, 0, 0, 0, 0, 0, 4};
    cache::store_u32(record.data() + 6, std::uint32_t(ttl / 1s));
    std::ranges::copy(address(number), record.begin() + 12);
    constexpr std::uint16_t ttl_at[] = {6};
    cache::EntryDraft draft;
    draft.version = {generation, 0};
    draft.born = born;
    draft.expiry = draft.stale_until = born + ttl;
    draft.answers = 1;
    draft.records = record;
    draft.ttl_offsets = ttl_at;
    return cache::Entry::make(draft);
}

Order::Order(Kind kind, std::uint32_t count) : drawn_(drawn) {
    std::mt19937_64 random(1);
    std::vector<double> sums;
    if (kind == Kind::zipf) {
        double sum = 0;
        for (std::uint32_t rank = 1; rank <= count; ++rank) sums.push_back(sum += 1.0 / rank);
    }
    std::uniform_int_distribution<std::uint32_t> any(0, count - 1);
    for (std::uint32_t& number : drawn_) {
        if (kind == Kind::uniform) {
            number = any(random);
            continue;
        }
        double point = std::uniform_real_distribution<>(0, sums.back())(random);
        auto rank = std::uint64_t(std::ranges::upper_bound(sums, point) - sums.begin());
        number = std::uint32_t(rank * 2'654'435'761u % count); // popular names lie anywhere
    }
}

bool start_eal(bool two, unsigned megabytes) {
    auto cpus = dataplane::Machine::inspect().cpus;
    std::string lcores = "--lcores=0@" + std::to_string(two ? cpus.front() : cpus.back()),
                size = std::to_string(megabytes);
    if (two) lcores += ",1@" + std::to_string(cpus.back());
    const char* eal[] = {"bench",          "--no-huge",           "-m",
                         size.c_str(),     "--no-shconf",         "--no-pci",
                         "--no-telemetry", "--log-level=warning", lcores.c_str()};
    return rte_eal_init(int(std::size(eal)), const_cast<char**>(eal)) >= 0;
}

RingWire::RingWire(const std::string& name, unsigned places) {
    to_port_ = rte_ring_create((name + "r").c_str(), places, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
    from_port_ = rte_ring_create((name + "t").c_str(), places, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
    id = std::uint16_t(rte_eth_from_rings(name.c_str(), &to_port_, 1, &from_port_, 1, 0));
    unsigned lcore = rte_get_main_lcore();
    ethdev.emplace(*dataplane::Ethdev::start(id, name, {&lcore, 1}));
    query_ = tests::build({.payload = test::query(NumberedName::name(0))});
}

bool RingWire::send(const std::uint32_t* numbers, unsigned count) {
    rte_mbuf* mbufs[burst];
    if (rte_pktmbuf_alloc_bulk(ethdev->pool(0), mbufs, count) != 0) return false;
    for (unsigned i = 0; i < count; ++i) {
        auto* frame =
            reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(mbufs[i], std::uint16_t(query_.size())));
        std::memcpy(frame, query_.data(), query_.size());
        cache::store_u16(frame + message_at, std::uint16_t(numbers[i]));
        write_number(frame + digits_at, numbers[i]);
        auto* udp = reinterpret_cast<rte_udp_hdr*>(frame + l2 + l3);
        udp->dgram_cksum = 0;
        udp->dgram_cksum = rte_ipv4_udptcp_cksum(reinterpret_cast<rte_ipv4_hdr*>(frame + l2), udp);
    }
    if (rte_ring_enqueue_bulk(to_port_, reinterpret_cast<void**>(mbufs), count, nullptr) == count)
        return true;
    rte_pktmbuf_free_bulk(mbufs, count);
    return false;
}

unsigned RingWire::receive(bool echoes) {
    void* objects[burst];
    unsigned count = rte_ring_dequeue_burst(from_port_, objects, burst, nullptr);
    auto** mbufs = reinterpret_cast<rte_mbuf**>(objects);
    for (unsigned i = 0; i < count && !echoes; ++i) wrong += !is_right(*mbufs[i]);
    rte_pktmbuf_free_bulk(mbufs, count);
    return count;
}

bool RingWire::is_right(const rte_mbuf& mbuf) const {
    const auto* frame = rte_pktmbuf_mtod(&mbuf, const std::uint8_t*);
    if (mbuf.data_len < query_.size() + 16) return false;
    std::uint32_t number = read_number(frame + digits_at);
    std::size_t question = query_.size() - message_at - dns::header_octets;
    const std::uint8_t* record = frame + message_at + dns::header_octets + question;
    auto address = NumberedName::address(number);
    bool question_is_ours = std::equal(frame + message_at + dns::header_octets, frame + digits_at,
                                       query_.data() + message_at + dns::header_octets) &&
                            std::equal(frame + digits_at + NumberedName::digits, record,
                                       query_.data() + digits_at + NumberedName::digits);
    return question_is_ours && cache::load_u16(frame + message_at) == std::uint16_t(number) &&
           frame[message_at + 2] & 0x80 && (frame[message_at + 3] & 0xf) == 0 &&
           cache::load_u16(frame + message_at + 6) == 1 &&
           std::equal(address.begin(), address.end(), record + 12);
}

} // namespace millrace::bench
