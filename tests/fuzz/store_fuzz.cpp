// libFuzzer: a block of the cache's file, of any octets.
// What is believed of it can be served, and written again.
#include "control/store/cache_file.hpp"
#include "dataplane/answer.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/work.hpp"

using namespace millrace;
using fuzz::require;

namespace {

void serve(const control::StoredEntry& one, Time now) {
    dataplane::Head head;
    head.question_size = std::uint16_t(one.key.name.size + 4);
    head.limit = cache::limits::message_octets;
    std::vector<std::uint8_t> question(one.key.name.bytes().begin(), one.key.name.bytes().end());
    question.resize(head.question_size);
    std::vector<std::uint8_t> out(12 + question.size() + one.entry->records_size + 11);
    using dataplane::answer::Age;
    for (Age age : {Age::counted, Age::stale})
        require(dataplane::answer::write(head, question, *one.entry, now, age, out) > 0);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Work work({.for_input = 100'000, .for_octet = 400}, size);
    fuzz::Input in(data, size);
    std::size_t count = in.u8();
    control::Restoring how;
    how.generation = 9;
    how.policy.stale = std::chrono::seconds(in.u16());
    how.shift = std::chrono::seconds(in.u16()) - 30'000s;
    auto block = in.rest();
    std::vector<control::StoredEntry> entries, again;
    bool is_block = control::read_block(block, count, how, entries);
    require(entries.size() <= count);
    std::vector<std::uint8_t> written;
    for (const auto& one : entries) {
        serve(one, one.entry->born);
        control::append_entry(written, {1, one.key.bytes().data()}, *one.entry);
    }
    how.shift = {};
    require(control::read_block(written, entries.size(), how, again) && again.size() == entries.size());
    if (is_block && count > 0 && entries.size() == count) require(written.size() == block.size());
    return 0;
}
