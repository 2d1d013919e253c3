#include "tests/simulation/message.hpp"

#include <algorithm>
#include <array>

#include "cache/wire.hpp"
#include "tests/simulation/chance.hpp"
#include "tests/simulation/plan.hpp"

namespace millrace::simulation {

namespace {

constexpr std::uint16_t type_opt = 41, class_in = 1;

void append_name(Octets& out, const cache::Name& name) {
    out.insert(out.end(), name.bytes().begin(), name.bytes().end());
}

/// A record up to its rdata's length, for whose contents `write` is called.
template <class Write>
void append_record(Octets& out, const cache::Name& owner, std::uint16_t type, std::uint32_t ttl,
                   Write write) {
    append_name(out, owner);
    append_u16(out, type);
    append_u16(out, class_in);
    append_u32(out, ttl);
    append_u16(out, 0);
    std::size_t begin = out.size();
    write();
    cache::store_u16(out.data() + begin - 2, std::uint16_t(out.size() - begin));
}

/// Signed by "sim."; the signature is the reply's number.
void append_signature(Octets& out, const cache::Name& owner, std::uint16_t covered, std::uint32_t ttl,
                      std::uint32_t number) {
    append_record(out, owner, type_rrsig, ttl, [&] {
        append_u16(out, covered);
        out.push_back(8); // RSA/SHA-256
        out.push_back(3); // labels of every owner here
        append_u32(out, ttl);
        append_u32(out, 2000000000);
        append_u32(out, 1000000000);
        append_u16(out, 1);
        append_name(out, *cache::parse_name("sim."));
        append_u32(out, number);
    });
}

void append_soa(Octets& out, std::uint32_t ttl, std::uint32_t number) {
    append_record(out, *cache::parse_name("sim."), type_soa, ttl, [&] {
        append_name(out, *cache::parse_name("ns.sim."));
        append_name(out, *cache::parse_name("host.sim."));
        append_u32(out, number); // the serial
        for (std::uint32_t field : {3600u, 600u, 86400u, ttl}) append_u32(out, field);
    });
}

/// An OPT with a client subnet whose scope is not empty (RFC 7871 6).
void append_scope(Octets& out) {
    out.push_back(0);
    append_u16(out, type_opt);
    append_u16(out, 1232);
    append_u32(out, 0);
    append_u16(out, 11);
    append_u16(out, 8);
    append_u16(out, 7);
    append_u16(out, 1); // IPv4
    out.insert(out.end(), {24, 24, 192, 0, 2});
}

/// An OPT with the extended error "DNSSEC bogus" (RFC 8914 4.7).
void append_bogus(Octets& out) {
    out.push_back(0);
    append_u16(out, type_opt);
    append_u16(out, 1232);
    append_u32(out, 0);
    for (unsigned field : {6u, 15u, 2u, 6u}) append_u16(out, field);
}

/// The answer section of a reply: the chain and what lies at its end. Returns the number of records.
unsigned append_answers(Octets& out, const Ledger& ledger, const Said& said, std::uint32_t number) {
    unsigned count = 0;
    cache::Name owner = name_of(said.name);
    auto sign = [&](std::uint16_t type) {
        if (!said.is_signed) return;
        append_signature(out, owner, type, said.ttl, number);
        ++count;
    };
    for (unsigned link : chain_links(said.chain)) {
        cache::Name target = link_of(said.name, link);
        append_record(out, owner, type_cname, said.ttl, [&] { append_name(out, target); });
        ++count;
        sign(type_cname);
        owner = target;
    }
    if (said.nature != Nature::positive) return count;
    for (std::uint32_t host : said.hosts) {
        append_record(out, owner, said.qtype, said.ttl, [&] { ledger.append_address(host, out); });
        ++count;
    }
    if (said.qtype == type_txt) {
        append_record(out, owner, type_txt, said.ttl, [&] {
            out.push_back(4);
            append_u32(out, number);
        });
        ++count;
    }
    sign(said.qtype);
    return count;
}

bool has_soa(Nature nature) {
    return nature == Nature::nxdomain || nature == Nature::nodata;
}

/// A name of a message, pointers followed. False when it is none.
bool expand(std::span<const std::uint8_t> message, std::size_t& at, cache::Name& out) {
    std::size_t run = at;
    bool jumped = false;
    out.size = 0;
    for (unsigned steps = 0; steps < 128 && run < message.size(); ++steps) {
        unsigned length = message[run];
        if (length >= 0xc0) {
            if (run + 1 >= message.size()) return false;
            if (!jumped) at = run + 2;
            jumped = true;
            run = (length & 0x3fu) << 8 | message[run + 1];
            continue;
        }
        if (length > 63 || run + 1 + length > message.size() || out.size + 1 + length > 254) return false;
        for (unsigned i = 0; i <= length; ++i) out.octets[out.size++] = cache::fold(message[run + i]);
        run += 1 + length;
        if (length != 0) continue;
        if (!jumped) at = run;
        return true;
    }
    return false;
}

/// Goes through the records one by one, and knows where in the chain it is.
class ContentReader {
  public:
    ContentReader(const Ledger& ledger, std::span<const std::uint8_t> message, std::size_t at, unsigned name,
                  std::uint16_t qtype, Content& out)
        : ledger_(ledger), message_(message), at_(at), name_(name), qtype_(qtype), out_(out) {}

    void run(unsigned answers, unsigned authorities) {
        for (unsigned i = 0; i < answers + authorities && !out_.flaw; ++i) record(i < answers);
        if (!out_.flaw) name_chain();
    }
    std::size_t at() const { return at_; }

  private:
    void flaw(const char* what) { out_.flaw = out_.flaw ? out_.flaw : what; }

    void record(bool in_answer) {
        cache::Name owner;
        if (!expand(message_, at_, owner) || at_ + 10 > message_.size()) return flaw("a record is cut short");
        std::uint16_t type = cache::load_u16(&message_[at_]);
        std::uint32_t ttl = cache::load_u32(&message_[at_ + 4]);
        std::size_t size = cache::load_u16(&message_[at_ + 8]);
        std::size_t begin = at_ += 10;
        if (begin + size > message_.size()) return flaw("rdata is cut short");
        at_ = begin + size;
        out_.least_ttl = std::min(out_.least_ttl, ttl);
        out_.most_ttl = std::max(out_.most_ttl, ttl);
        auto rdata = message_.subspan(begin, size);
        if (type == type_rrsig && size > 4)
            return out_.signatures.push_back(cache::load_u32(&rdata[size - 4]));
        if (!in_answer) return authority(type, rdata);
        auto meaning = meaning_of(owner.bytes());
        if (!meaning || *meaning != end_of_chain()) return flaw("a record that is not of the chain's end");
        if (type == type_cname) return link(begin);
        if (type != qtype_) return flaw("a record of another type");
        if (type == type_txt) return out_.texts.push_back(size == 5 ? cache::load_u32(&rdata[1]) : ~0u);
        address(rdata);
    }

    void address(std::span<const std::uint8_t> rdata) {
        auto told = ledger_.read_address(rdata);
        if (!told) return flaw("an address that nobody gave");
        if (!out_.hosts.empty() && told->nat64 != out_.nat64) return flaw("addresses of different prefixes");
        out_.nat64 = told->nat64;
        out_.hosts.push_back(told->host);
    }

    void authority(std::uint16_t type, std::span<const std::uint8_t> rdata) {
        if (type != type_soa || rdata.size() < 20 || out_.soa) return flaw("authority other than one SOA");
        out_.soa = cache::load_u32(&rdata[rdata.size() - 20]);
    }

    void link(std::size_t rdata_at) {
        cache::Name target;
        if (!expand(message_, rdata_at, target)) return flaw("a CNAME to nowhere");
        auto meaning = meaning_of(target.bytes());
        if (!meaning || !meaning->link || meaning->name != name_) return flaw("a CNAME to a foreign name");
        if (!out_.hosts.empty() || !out_.texts.empty() || depth_ == links_.size())
            return flaw("a CNAME too many");
        links_[depth_++] = meaning->link;
    }

    Meaning end_of_chain() const { return {name_, depth_ ? links_[depth_ - 1] : 0}; }

    void name_chain() {
        std::span<const unsigned> found(links_.data(), depth_);
        for (unsigned chain = 0; chain < chain_count; ++chain) {
            if (std::ranges::equal(found, chain_links(chain))) {
                out_.chain = chain;
                return;
            }
        }
        flaw("a chain that nobody gave");
    }

    const Ledger& ledger_;
    std::span<const std::uint8_t> message_;
    std::size_t at_;
    unsigned name_;
    std::uint16_t qtype_;
    Content& out_;
    std::array<unsigned, 4> links_{};
    std::size_t depth_ = 0;
};

} // namespace

void append_u16(Octets& out, unsigned value) {
    out.push_back(std::uint8_t(value >> 8));
    out.push_back(std::uint8_t(value));
}
void append_u32(Octets& out, std::uint32_t value) {
    append_u16(out, value >> 16);
    append_u16(out, value & 0xffff);
}

std::uint16_t type_of(unsigned aspects) {
    return aspects & text ? type_txt : aspects & aaaa ? type_aaaa : type_a;
}

std::size_t write_query(const ClientQuery& query, std::span<std::uint8_t> room) {
    cache::WireWriter out(room);
    out.u16(query.id);
    out.u16(std::uint16_t(flag_wanted | (query.aspects & unchecked ? flag_unchecked : 0)));
    for (unsigned count : {1u, 0u, 0u, query.aspects & edns ? 1u : 0u}) out.u16(std::uint16_t(count));
    cache::Name name = name_of(query.name);
    for (std::size_t i = 0; i < name.size; ++i) {
        std::uint8_t c = name.octets[i];
        bool upper = c >= 'a' && c <= 'z' && query.letter_case >> i % 64 & 1;
        out.u8(std::uint8_t(upper ? c & ~0x20 : c));
    }
    out.u16(type_of(query.aspects));
    out.u16(class_in);
    if (query.aspects & edns) {
        out.u8(0);
        out.u16(type_opt);
        out.u16(1232);
        out.u32(query.aspects & dnssec ? 0x8000 : 0);
        out.u16(0);
    }
    return out.size();
}

std::size_t question_size(std::span<const std::uint8_t> message) {
    std::size_t at = header_octets;
    while (at < message.size() && message[at] != 0) at += 1u + message[at];
    return at + 5 - header_octets;
}

std::optional<Asked> read_asked(std::span<const std::uint8_t> query) {
    std::size_t size = query.size() > header_octets ? question_size(query) : 0;
    if (size == 0 || header_octets + size > query.size()) return std::nullopt;
    auto meaning = meaning_of(query.subspan(header_octets, size - 4));
    if (!meaning) return std::nullopt;
    const std::uint8_t* type = &query[header_octets + size - 4];
    return Asked{meaning->name, cache::load_u16(type), cache::load_u16(query.data()),
                 bool(cache::load_u16(&query[2]) & flag_unchecked), meaning->link};
}

Octets write_reply(std::span<const std::uint8_t> query, const Ledger& ledger, std::uint32_t number) {
    const Said& said = *ledger.find_said(number);
    std::size_t question = question_size(query);
    Octets out;
    out.reserve(512);
    out.assign(query.begin(), query.begin() + std::ptrdiff_t(header_octets + question));
    bool truncated = said.nature == Nature::truncated;
    unsigned flags = flag_response | flag_wanted | flag_available | (said.authentic ? flag_authentic : 0u) |
                     (truncated ? flag_truncated : 0u) | said.rcode;
    cache::store_u16(&out[2], std::uint16_t(flags));
    unsigned answers =
        truncated || said.nature == Nature::failure ? 0 : append_answers(out, ledger, said, number);
    if (has_soa(said.nature)) append_soa(out, said.ttl, number);
    cache::store_u16(&out[6], std::uint16_t(answers));
    cache::store_u16(&out[8], has_soa(said.nature));
    cache::store_u16(&out[10], said.scoped || said.bogus);
    if (said.bogus) {
        append_bogus(out);
    } else if (said.scoped) {
        append_scope(out);
    }
    return out;
}

std::uint64_t Content::fingerprint() const {
    std::uint64_t state = (rcode * 31 + chain) * 31 + nat64;
    auto add = [&](std::uint64_t value) { state = Chance::mix(state * 31 + value); };
    for (const auto* list : {&hosts, &texts, &signatures}) {
        add(list->size());
        for (std::uint32_t value : *list) add(value);
    }
    add(soa ? *soa + 1ull : 0);
    return state;
}

void read_content(const Ledger& ledger, std::span<const std::uint8_t> message, std::size_t at,
                  unsigned answers, unsigned authorities, unsigned name, std::uint16_t qtype, Content& out) {
    out.chain = out.nat64 = 0;
    out.hosts.clear();
    out.texts.clear();
    out.signatures.clear();
    out.soa.reset();
    out.least_ttl = ~0u;
    out.most_ttl = 0;
    out.flaw = nullptr;
    ContentReader reader(ledger, message, at, name, qtype, out);
    reader.run(answers, authorities);
}

void read_reply(const Ledger& ledger, std::span<const std::uint8_t> message, unsigned name,
                std::uint16_t qtype, Reading& out) {
    out.sound = message.size() >= header_octets && cache::load_u16(&message[4]) == 1;
    if (!out.sound) return;
    out.id = cache::load_u16(&message[0]);
    out.flags = cache::load_u16(&message[2]);
    out.content.rcode = out.flags & 0xf;
    out.has_opt = cache::load_u16(&message[10]) == 1;
    std::size_t size = question_size(message);
    out.sound = header_octets + size <= message.size();
    if (!out.sound) return;
    out.question = message.subspan(header_octets, size);
    read_content(ledger, message, header_octets + size, cache::load_u16(&message[6]),
                 cache::load_u16(&message[8]), name, qtype, out.content);
}

} // namespace millrace::simulation
