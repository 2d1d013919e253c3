#include "tests/simulation/ledger.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "tests/simulation/nat64.hpp"

namespace millrace::simulation {

namespace {

constexpr std::uint8_t ordinary = 20, internal = 10, forged = 66; // first octets

/// Puts a name together label by label: this is done for every record that is read.
class NameWriter {
  public:
    /// A label is letters and numbers in turn, or a text.
    struct Part {
        char letter;
        unsigned number;
    };
    NameWriter& label(std::initializer_list<Part> parts) {
        std::uint8_t& length = name_.octets[name_.size++];
        std::size_t begin = name_.size;
        for (Part part : parts) {
            name_.octets[name_.size++] = std::uint8_t(part.letter);
            auto* at = reinterpret_cast<char*>(name_.octets.data() + name_.size);
            name_.size = std::uint8_t(name_.size + (std::to_chars(at, at + 10, part.number).ptr - at));
        }
        length = std::uint8_t(name_.size - begin);
        return *this;
    }
    NameWriter& label(std::string_view text) {
        name_.octets[name_.size++] = std::uint8_t(text.size());
        for (char c : text) name_.octets[name_.size++] = std::uint8_t(c);
        return *this;
    }
    cache::Name end() {
        name_.octets[name_.size++] = 0;
        return name_;
    }

  private:
    cache::Name name_;
};

/// Reads digits at `at`, moving it behind them.
std::optional<unsigned> read_number(std::span<const std::uint8_t> label, std::size_t& at) {
    std::size_t begin = at;
    unsigned value = 0;
    for (; at < label.size() && label[at] >= '0' && label[at] <= '9'; ++at)
        value = value * 10 + (label[at] - '0');
    if (at == begin || at - begin > 7) return std::nullopt;
    return value;
}

} // namespace

cache::Name name_of(unsigned name) {
    return NameWriter().label({{'n', name}}).label({{'z', name % zones}}).label("sim").end();
}

cache::Name zone_of(unsigned zone) {
    NameWriter name;
    if (zone < zones) name.label({{'z', zone}});
    return name.label("sim").end();
}

cache::Name link_of(unsigned name, unsigned link) {
    return NameWriter().label({{'c', link}, {'x', name}}).label("alias").label("sim").end();
}

std::optional<Meaning> meaning_of(std::span<const std::uint8_t> name) {
    if (name.empty() || name.size() < 1u + name[0]) return std::nullopt;
    auto label = name.subspan(1, name[0]);
    if (label.empty()) return std::nullopt;
    std::size_t at = 1;
    Meaning meaning;
    if (cache::fold(label[0]) == 'c') {
        auto link = read_number(label, at);
        if (!link || at == label.size() || cache::fold(label[at++]) != 'x') return std::nullopt;
        meaning.link = *link;
    } else if (cache::fold(label[0]) != 'n') {
        return std::nullopt;
    }
    auto number = read_number(label, at);
    if (!number || at != label.size()) return std::nullopt;
    meaning.name = *number;
    cache::Name whole = meaning.link ? link_of(meaning.name, meaning.link) : name_of(meaning.name);
    bool same = std::ranges::equal(whole.bytes(), name, {}, {}, cache::fold);
    return same ? std::optional(meaning) : std::nullopt;
}

std::span<const unsigned> chain_links(unsigned chain) {
    static constexpr std::array<unsigned, 2> one{1}, two{2}, long_one{3, 4}, fork{1, 5};
    switch (chain) {
    case 1: return {one.data(), 1};
    case 2: return {two.data(), 1};
    case 3: return long_one;
    case 4: return fork; // begins like the first
    default: return {};
    }
}

std::uint32_t Ledger::add(const Said& said) {
    said_.push_back(said);
    return std::uint32_t(said_.size() - 1);
}

std::uint32_t Ledger::add(const Host& host) {
    hosts_.push_back(host);
    return std::uint32_t(hosts_.size() - 1);
}

std::uint32_t Ledger::shared_host(const Host& host, std::uint64_t bucket, unsigned which) {
    auto [at, fresh] = shared_.try_emplace({host.name, host.qtype, host.chain, bucket, which}, 0);
    if (fresh) at->second = add(host);
    return at->second;
}

void Ledger::append_address(std::uint32_t number, std::vector<std::uint8_t>& out) const {
    const Host& host = hosts_[number];
    bool v4 = host.qtype == type_a;
    if (v4) {
        out.push_back(host.forged ? forged : host.is_private ? internal : ordinary);
    } else {
        out.push_back(host.is_private ? 0xfd : 0x2a);
        out.push_back(host.forged ? forged : host.is_private ? 0 : ordinary);
        out.insert(out.end(), 11, 0);
    }
    for (int shift : {16, 8, 0}) out.push_back(std::uint8_t(number >> shift));
}

std::optional<std::uint32_t> Ledger::host_of(std::span<const std::uint8_t> address) {
    bool v4 = address.size() == 4;
    if (!v4 && address.size() != 16) return std::nullopt;
    auto tail = address.last(3);
    return std::uint32_t(tail[0]) << 16 | std::uint32_t(tail[1]) << 8 | tail[2];
}

std::optional<Ledger::Told> Ledger::read_address(std::span<const std::uint8_t> address) const {
    auto behind = behind_nat64(address);
    auto given = behind ? std::span<const std::uint8_t>(behind->address) : address;
    auto host = host_of(given);
    if (!host || !find_host(*host)) return std::nullopt;
    std::vector<std::uint8_t> as_said;
    append_address(*host, as_said);
    if (!std::ranges::equal(as_said, given)) return std::nullopt;
    return Told{*host, behind ? behind->nat64 : 0};
}

std::string Ledger::describe(std::uint32_t number) const {
    const Host* host = find_host(number);
    if (!host) return "host " + std::to_string(number) + " (nobody's)";
    std::string server =
        host->server == Host::several ? "several servers" : "server " + std::to_string(host->server);
    return "host " + std::to_string(number) + " (name " + std::to_string(host->name) + " type " +
           std::to_string(host->qtype) + " chain " + std::to_string(host->chain) + " of " + server +
           " made at " + std::to_string(host->made) + (host->forged ? ", forged" : "") +
           (host->is_private ? ", private" : "") + ")";
}

} // namespace millrace::simulation
