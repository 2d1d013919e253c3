// Records behind a question, in wire format, names compressed (RFC 1035 4.1.4).
//
// ldns compresses too, in steps that grow with the square of a name's labels: one legal answer of MX records
// with names of 126 labels held control up for four seconds. Here a name costs one probe a label, and each
// octet is looked at a bounded number of times. The names written so far are a tree of labels, the root's at
// its root, kept in an open-addressed table: a bound on the probes and on the table costs compression, never
// correctness. Labels are hashed with a key of this process's, as others choose them. Most names are the
// question's own: those need no table, and its labels get into it when another name comes.
//
// Names in rdata are compressed for the types of RFC 1035 alone (RFC 3597 4). Letter case is that of the
// place pointed to. Threads: pure; one writer, one message.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <span>
#include <vector>

#include "cache/key.hpp"
#include "cache/limits.hpp"
#include "control/message/ldns.hpp"

namespace millrace::control {

class RecordWriter {
  public:
    /// For about so many records to a question. `memory` outlives it.
    RecordWriter(const cache::Key& key, std::size_t records,
                 std::pmr::memory_resource* memory = std::pmr::get_default_resource());

    void add(const ldns_rr* record, std::uint32_t ttl);

    /// False: the whole message would pass 64 KiB, and what was added since is missing.
    bool ok() const { return ok_; }
    std::span<const std::uint8_t> records() const {
        return std::span<const std::uint8_t>(message_).subspan(question_end_);
    }
    /// Where their TTLs are, from the first record on.
    std::span<const std::uint16_t> ttl_offsets() const { return ttl_offsets_; }
    /// Labels hashed and table places looked at so far: what the work is bounded by, for tests.
    std::uint64_t steps() const { return steps_; }

  private:
    /// A label that was written, below its parent. Its number is its place in the table and one more; the
    /// root's is 0.
    struct Label {
        std::uint16_t parent = 0;
        std::uint16_t offset = 0; ///< of its length octet in the message; 0: the place is empty
    };

    /// Where the labels of a name begin, the root's not among them.
    struct Labels {
        explicit Labels(std::span<const std::uint8_t> name);
        std::span<const std::uint8_t> operator[](std::size_t i) const {
            return name.subspan(starts[i], 1u + name[starts[i]]);
        }
        std::span<const std::uint8_t> name;
        std::array<std::uint8_t, cache::limits::name_octets> starts;
        std::size_t count = 0;
    };

    void write_name(std::span<const std::uint8_t> name);
    bool is_qname(std::span<const std::uint8_t> name) const;
    void remember(const Labels& labels, std::size_t fresh, std::uint16_t known, std::size_t begin);
    std::size_t first_place(std::uint16_t parent, std::span<const std::uint8_t> label);
    std::uint16_t find(std::uint16_t parent, std::span<const std::uint8_t> label);
    std::uint16_t insert(std::uint16_t parent, std::span<const std::uint8_t> label, std::size_t offset);
    bool is_at(std::size_t offset, std::span<const std::uint8_t> octets) const;
    void append(std::span<const std::uint8_t> octets);
    void u16(unsigned value);

    std::pmr::vector<std::uint8_t> message_; ///< the header's octets stand for offsets only
    std::size_t question_end_;
    std::pmr::vector<std::uint16_t> ttl_offsets_;
    std::pmr::vector<Label> labels_;
    std::uint64_t steps_ = 0;
    bool knows_question_ = false; ///< the question's labels are in the table
    bool ok_ = true;
};

} // namespace millrace::control
