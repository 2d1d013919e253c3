#include "control/message/records.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "cache/dns.hpp"
#include "cache/wire.hpp"

namespace millrace::control {

namespace {

using Octets = std::vector<std::uint8_t>;

/// A name written out, in the letter case of the message.
struct FlatName {
    std::size_t size = 0;
    std::array<std::uint8_t, cache::limits::name_octets> octets;

    std::span<const std::uint8_t> bytes() const { return {octets.data(), size}; }
};

/// Reads the name at `at` and moves `at` behind it. Every pointer has to lead in front of the octets it was
/// reached through, so following them ends.
bool expand_name(std::span<const std::uint8_t> message, std::size_t& at, FlatName& out) {
    std::size_t run = std::min(at, message.size());
    unsigned pointers = 0;
    out.size = 0;
    for (cache::WireReader in(message.subspan(run));;) {
        std::size_t length = in.u8();
        if ((length & dns::pointer_bits) == dns::pointer_bits) {
            std::size_t target = (length & ~std::size_t(dns::pointer_bits)) << 8 | in.u8();
            if (!in.ok() || target < dns::header_octets || target >= run || ++pointers > pointer_limit)
                return false;
            if (pointers == 1) at = run + in.position();
            run = target;
            in = cache::WireReader(message.subspan(run));
            continue;
        }
        auto label = in.take(length);
        bool fits = length <= cache::limits::label_octets &&
                    out.size + 1 + length + (length != 0) <= cache::limits::name_octets;
        if (!in.ok() || !fits) return false;
        out.octets[out.size++] = std::uint8_t(length);
        if (length != 0) {
            std::memcpy(out.octets.data() + out.size, label.data(), length);
            out.size += length;
            continue;
        }
        if (pointers == 0) at = run + in.position();
        return true;
    }
}

/// Where the names are in the rdata of a type: behind `before` octets and `strings` character strings,
/// `names` of them. The types whose names a sender may compress (RFC 1035, RFC 3597 4), and those that often
/// are in spite of it.
struct Layout {
    std::uint16_t type;
    std::uint8_t before, strings, names;
};
constexpr Layout layouts[] = {
    {LDNS_RR_TYPE_NS, 0, 0, 1},    {LDNS_RR_TYPE_MD, 0, 0, 1},     {LDNS_RR_TYPE_MF, 0, 0, 1},
    {LDNS_RR_TYPE_CNAME, 0, 0, 1}, {LDNS_RR_TYPE_SOA, 0, 0, 2},    {LDNS_RR_TYPE_MB, 0, 0, 1},
    {LDNS_RR_TYPE_MG, 0, 0, 1},    {LDNS_RR_TYPE_MR, 0, 0, 1},     {LDNS_RR_TYPE_PTR, 0, 0, 1},
    {LDNS_RR_TYPE_MINFO, 0, 0, 2}, {LDNS_RR_TYPE_MX, 2, 0, 1},     {LDNS_RR_TYPE_RP, 0, 0, 2},
    {LDNS_RR_TYPE_AFSDB, 2, 0, 1}, {LDNS_RR_TYPE_RT, 2, 0, 1},     {LDNS_RR_TYPE_PX, 2, 0, 2},
    {LDNS_RR_TYPE_SRV, 6, 0, 1},   {LDNS_RR_TYPE_NAPTR, 4, 3, 1},  {LDNS_RR_TYPE_KX, 2, 0, 1},
    {LDNS_RR_TYPE_DNAME, 0, 0, 1}, {LDNS_RR_TYPE_RRSIG, 18, 0, 1}, {LDNS_RR_TYPE_SIG, 18, 0, 1},
    {LDNS_RR_TYPE_NSEC, 0, 0, 1},  {LDNS_RR_TYPE_NXT, 0, 0, 1},    {LDNS_RR_TYPE_SVCB, 2, 0, 1},
    {LDNS_RR_TYPE_HTTPS, 2, 0, 1},
};

const Layout* layout_of(std::uint16_t type) {
    auto found = std::ranges::find(layouts, type, &Layout::type);
    return found == std::end(layouts) ? nullptr : found;
}

/// How many octets lie in front of the first name; more than the rdata has when it is cut short.
std::size_t octets_before_names(const Layout& layout, std::span<const std::uint8_t> rdata) {
    cache::WireReader in(rdata);
    in.skip(layout.before);
    for (unsigned i = 0; i < layout.strings; ++i) in.skip(in.u8());
    return in.ok() ? in.position() : rdata.size() + 1;
}

/// The rdata without pointers; `fold_names` for comparing.
std::optional<Octets> expand_rdata(const MessageView& message, const RecordView& view, bool fold_names) {
    auto rdata = message.octets.subspan(view.rdata_at, view.rdata_size);
    Octets out;
    std::size_t at = view.rdata_at, end = view.rdata_at + view.rdata_size;
    if (const Layout* layout = layout_of(view.type)) {
        std::size_t before = octets_before_names(*layout, rdata);
        if (before > rdata.size()) return std::nullopt;
        out.assign(rdata.begin(), rdata.begin() + std::ptrdiff_t(before));
        at += before;
        for (unsigned i = 0; i < layout->names; ++i) {
            FlatName name;
            if (!expand_name(message.octets, at, name) || at > end) return std::nullopt;
            if (fold_names) std::ranges::transform(name.bytes(), name.octets.begin(), cache::fold);
            out.insert(out.end(), name.bytes().begin(), name.bytes().end());
        }
    }
    auto rest = message.octets.subspan(at, end - at);
    out.insert(out.end(), rest.begin(), rest.end());
    return out;
}

void append_u16(Octets& out, std::size_t v) {
    out.push_back(std::uint8_t(v >> 8));
    out.push_back(std::uint8_t(v));
}

/// The record alone, in wire format without pointers.
Octets standalone(const RecordView& view, std::uint32_t ttl, const Octets& rdata) {
    Octets wire(view.owner.bytes().begin(), view.owner.bytes().end());
    append_u16(wire, view.type);
    append_u16(wire, view.rclass);
    append_u16(wire, ttl >> 16);
    append_u16(wire, ttl);
    append_u16(wire, rdata.size());
    wire.insert(wire.end(), rdata.begin(), rdata.end());
    return wire;
}

/// Types without names that ldns may take apart, for people to read. All others are opaque to us: ldns
/// follows pointers in what it takes for a name (HIP's rendezvous servers: half a second of one record).
bool is_plain(std::uint16_t type) {
    static constexpr std::array<std::uint16_t, 16> types = {
        LDNS_RR_TYPE_HINFO,  LDNS_RR_TYPE_TXT,     LDNS_RR_TYPE_DS,         LDNS_RR_TYPE_SSHFP,
        LDNS_RR_TYPE_DNSKEY, LDNS_RR_TYPE_NSEC3,   LDNS_RR_TYPE_NSEC3PARAM, LDNS_RR_TYPE_TLSA,
        LDNS_RR_TYPE_CDS,    LDNS_RR_TYPE_CDNSKEY, LDNS_RR_TYPE_SPF,        LDNS_RR_TYPE_EUI48,
        LDNS_RR_TYPE_EUI64,  LDNS_RR_TYPE_URI,     LDNS_RR_TYPE_CAA,        LDNS_RR_TYPE_LOC};
    return std::ranges::find(types, type) != types.end();
}

/// What ldns understands of the record; null unless its fields cover the rdata exactly.
RecordHandle parsed(const RecordView& view, std::uint32_t ttl, const Octets& rdata) {
    auto wire = standalone(view, ttl, rdata);
    ldns_rr* raw = nullptr;
    std::size_t at = 0;
    if (ldns_wire2rr(&raw, wire.data(), wire.size(), &at, LDNS_SECTION_ANSWER) != LDNS_STATUS_OK)
        return nullptr;
    RecordHandle record(raw);
    std::size_t covered = 0;
    for (std::size_t i = 0; i < ldns_rr_rd_count(raw); ++i) covered += ldns_rdf_size(ldns_rr_rdf(raw, i));
    bool whole = covered == rdata.size() &&
                 ldns_rr_rd_count(raw) >= ldns_rr_descriptor_minimum(ldns_rr_descript(view.type));
    return whole ? std::move(record) : nullptr;
}

/// The record with all of its rdata in one field.
RecordHandle of_one_field(const RecordView& view, std::uint32_t ttl, ldns_rdf_type type,
                          std::span<const std::uint8_t> rdata) {
    RecordHandle record(ldns_rr_new());
    if (!record) return nullptr;
    ldns_rr_set_owner(record.get(),
                      ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, view.owner.size, view.owner.octets.data()));
    ldns_rr_set_type(record.get(), ldns_rr_type(view.type));
    ldns_rr_set_class(record.get(), ldns_rr_class(view.rclass));
    ldns_rr_set_ttl(record.get(), ttl);
    auto* field = ldns_rdf_new_frm_data(type, rdata.size(), rdata.data());
    if (!ldns_rr_owner(record.get()) || !field || !ldns_rr_push_rdf(record.get(), field)) return nullptr;
    return record;
}

/// Fit to be passed on to clients, and printed: what is not printable ASCII becomes a question mark.
std::string printable(std::span<const std::uint8_t> text) {
    std::string out;
    for (std::uint8_t c : text.first(std::min(text.size(), cache::limits::info_octets))) {
        out += c >= ' ' && c <= '~' ? char(c) : '?';
    }
    return out;
}

/// What an OPT says beside the records (RFC 6891 6.1.3, RFC 7871 6, RFC 8914 2).
struct Extension {
    unsigned upper_rcode = 0;
    bool is_scoped = false;
    bool has_opt = false;
    std::optional<ExtendedError> info;

    void read(std::uint32_t ttl, std::span<const std::uint8_t> options) {
        has_opt = true;
        upper_rcode = ttl >> 24;
        for (cache::WireReader in(options); in.ok() && in.remaining() > 0;) {
            std::uint16_t code = in.u16(), size = in.u16();
            if (code == dns::option_client_subnet && size >= 4 && in.remaining() >= 4) {
                is_scoped =
                    is_scoped || options[in.position() + 3] > 0; // family, source, then scope prefix length
            }
            if (code == dns::option_extended_error && size >= 2 && in.remaining() >= size) {
                note_error(options.subspan(in.position(), size));
            }
            in.skip(size);
        }
    }

  private:
    /// There may be several: the first, but one of DNSSEC before any other.
    void note_error(std::span<const std::uint8_t> option) {
        std::uint16_t code = cache::load_u16(option.data());
        bool counts = !info || (dns::ede::is_of_dnssec(code) && !info->is_of_dnssec());
        if (counts) info.emplace(code, printable(option.subspan(2)));
    }
};

/// Reads `count` records, appending them to `out` if there is one; an OPT goes to `extension`.
bool read_section(std::span<const std::uint8_t> octets, std::size_t& at, unsigned count,
                  std::vector<RecordView>* out, Extension& extension) {
    constexpr std::size_t least_octets = 11; // of a record: root, type, class, TTL, RDLENGTH
    if (out) out->reserve(std::min<std::size_t>(count, octets.size() / least_octets));
    FlatName name;
    for (unsigned i = 0; i < count; ++i) {
        if (!expand_name(octets, at, name)) return false;
        cache::WireReader in(octets.subspan(at));
        RecordView view;
        view.type = in.u16();
        view.rclass = in.u16();
        view.ttl = in.u32();
        view.rdata_size = in.u16();
        view.rdata_at = at + in.position();
        in.skip(view.rdata_size);
        if (!in.ok()) return false;
        at += in.position();
        if (view.type == LDNS_RR_TYPE_OPT) {
            extension.read(view.ttl, octets.subspan(view.rdata_at, view.rdata_size));
        }
        if (!out) continue;
        view.owner.size = std::uint8_t(name.size);
        std::ranges::transform(name.bytes(), view.owner.octets.begin(), cache::fold);
        out->push_back(view);
    }
    return true;
}

} // namespace

std::optional<MessageView> read_message(std::span<const std::uint8_t> octets) {
    MessageView message;
    message.octets = octets;
    cache::WireReader in(octets);
    in.skip(2); // the ID was the accept filter's
    message.flags = in.u16();
    unsigned questions = in.u16(), answers = in.u16(), authorities = in.u16(), additionals = in.u16();
    if (questions != 1 || !cache::read_name(in, message.qname)) return std::nullopt;
    message.qtype = in.u16();
    message.qclass = in.u16();
    if (!in.ok()) return std::nullopt;
    std::size_t at = in.position();
    Extension extension, ignored;
    if (!read_section(octets, at, answers, &message.answer, ignored) ||
        !read_section(octets, at, authorities, &message.authority, ignored) ||
        !read_section(octets, at, additionals, nullptr, extension)) {
        return std::nullopt;
    }
    message.rcode = extension.upper_rcode << 4 | (message.flags & 0xfu);
    message.is_scoped = extension.is_scoped;
    message.has_opt = extension.has_opt;
    message.info = std::move(extension.info);
    return message;
}

Record make_record(const MessageView& message, const RecordView& view, std::uint32_t ttl) {
    if (bool is_ipv4 = view.type == LDNS_RR_TYPE_A; is_ipv4 || view.type == LDNS_RR_TYPE_AAAA) {
        auto address = message.octets.subspan(view.rdata_at, view.rdata_size);
        if (address.size() != (is_ipv4 ? 4 : 16)) return nullptr;
        return of_one_field(view, ttl, is_ipv4 ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA, address);
    }
    auto rdata = expand_rdata(message, view, false);
    if (!rdata) return nullptr;
    // That nobody looks into: RFC 3597 4.
    auto opaque = [&] { return of_one_field(view, ttl, LDNS_RDF_TYPE_UNKNOWN, *rdata); };
    bool strict = layout_of(view.type);
    if (!strict && !is_plain(view.type)) return opaque();
    auto record = parsed(view, ttl, *rdata);
    return record || strict ? std::move(record) : opaque();
}

Record make_cname(const cache::Name& owner, const cache::Name& target, std::uint32_t ttl) {
    auto dname = [](const cache::Name& name) {
        return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name.size, name.octets.data());
    };
    RecordHandle record(ldns_rr_new());
    if (!record) return nullptr;
    ldns_rr_set_owner(record.get(), dname(owner));
    ldns_rr_set_type(record.get(), LDNS_RR_TYPE_CNAME);
    ldns_rr_set_class(record.get(), LDNS_RR_CLASS_IN);
    ldns_rr_set_ttl(record.get(), ttl);
    auto* field = dname(target);
    if (!ldns_rr_owner(record.get()) || !field || !ldns_rr_push_rdf(record.get(), field)) return nullptr;
    return record;
}

std::optional<std::vector<std::uint8_t>> canonical_rdata(const MessageView& message, const RecordView& view) {
    return expand_rdata(message, view, true);
}

std::vector<cache::Name> chain_targets(std::span<const std::uint8_t> qname, const cache::Entry& entry) {
    Octets message(dns::header_octets);
    message.insert(message.end(), qname.begin(), qname.end());
    message.resize(message.size() + dns::type_class_octets);
    auto records = entry.records();
    std::size_t at = message.size();
    message.insert(message.end(), records.begin(), records.end());
    std::vector<cache::Name> targets;
    for (unsigned i = 0; i < entry.answers; ++i) {
        FlatName name;
        if (!expand_name(message, at, name)) break;
        cache::WireReader in(std::span<const std::uint8_t>(message).subspan(at));
        std::uint16_t type = in.u16();
        in.skip(6);
        std::size_t size = in.u16(), rdata = at + in.position();
        at = rdata + size;
        if (type != LDNS_RR_TYPE_CNAME || !expand_name(message, rdata, name)) continue;
        cache::Name target;
        target.size = std::uint8_t(name.size);
        std::ranges::transform(name.bytes(), target.octets.begin(), cache::fold);
        targets.push_back(target);
    }
    return targets;
}

dataplane::Address address_of(const Record& record) {
    using dataplane::Address;
    const ldns_rdf* rdata = ldns_rr_rdf(record.get(), 0);
    bool v4 = ldns_rr_get_type(record.get()) == LDNS_RR_TYPE_A;
    return v4 ? Address::v4(ldns_rdf_data(rdata)) : Address::v6(ldns_rdf_data(rdata));
}

cache::Name name_of(const ldns_rdf* dname) {
    cache::WireReader in({ldns_rdf_data(dname), ldns_rdf_size(dname)});
    cache::Name name;
    cache::read_name(in, name);
    return name;
}

RecordHandle question_record(const cache::Key& key, std::span<const std::uint8_t> qname) {
    RecordHandle question(ldns_rr_new());
    auto* owner = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, qname.size(), qname.data());
    if (!question || !owner) {
        ldns_rdf_deep_free(owner);
        return nullptr;
    }
    ldns_rr_set_owner(question.get(), owner);
    ldns_rr_set_type(question.get(), ldns_rr_type(key.qtype));
    ldns_rr_set_class(question.get(), ldns_rr_class(key.qclass));
    ldns_rr_set_question(question.get(), true);
    return question;
}

std::vector<std::uint8_t> to_wire(const ldns_pkt& packet) {
    BufferHandle wire(ldns_buffer_new(LDNS_MIN_BUFLEN));
    if (!wire || ldns_pkt2buffer_wire(wire.get(), &packet) != LDNS_STATUS_OK) return {};
    const auto* begin = ldns_buffer_begin(wire.get());
    return {begin, begin + ldns_buffer_position(wire.get())};
}

} // namespace millrace::control
