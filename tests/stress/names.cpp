#include "tests/stress/names.hpp"

namespace millrace::stress {

using test::operator+; // octets, one after the other

Names::Names(const cache::Hasher& hasher) {
    names_.reserve(name_count);
    for (unsigned i = 0; i < name_count; ++i) {
        std::string text = "n" + std::to_string(i) + ".stress.example";
        Name name{
            .key = {}, .hash = 0, .query = test::header(0, test::rd, 1, 0, 0, 1) + test::question(text)};
        name.query = name.query + test::opt();
        name.key.qtype = name.key.qclass = 1;
        name.key.name = cache::parse_name(text).value();
        name.hash = hasher(name.key);
        names_.push_back(std::move(name));
    }
}

/// Reads the digits of the first label back.
unsigned Names::index_of(const cache::Key& key) {
    unsigned index = 0;
    for (unsigned i = 2; i <= key.name.octets[0]; ++i) index = index * 10 + (key.name.octets[i] - '0');
    return index;
}

unsigned Names::pick(std::mt19937_64& chance) {
    std::uint64_t drawn = chance();
    unsigned among = drawn & 1 ? hot_names : drawn & 6 ? warm_names : name_count;
    return unsigned((drawn >> 8) % among);
}

} // namespace millrace::stress
