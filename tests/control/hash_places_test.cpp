#include "control/hash_places.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace millrace::control {
namespace {

constexpr auto any = [](std::uint32_t) { return true; };

TEST(HashPlaces, FindsWhatFitsAmongThoseOfAHash) {
    HashPlaces places(4);
    EXPECT_FALSE(places.contains(7));
    places.add(7, 0);
    places.add(7, 3);
    places.add(7 + 4, 1); // of the same chain
    EXPECT_EQ(places.find(7, [](std::uint32_t place) { return place == 0; }), 0u);
    EXPECT_EQ(places.find(7, [](std::uint32_t place) { return place == 3; }), 3u);
    EXPECT_EQ(places.find(7, [](std::uint32_t place) { return place == 1; }), std::nullopt);
    EXPECT_EQ(places.find(11, any), 1u);
    places.remove(3);
    places.remove(3);
    places.remove(2);
    EXPECT_EQ(places.find(7, any), 0u);
    EXPECT_EQ(places.size(), 2u);
}

TEST(HashPlaces, AreAsAMapHasThem) {
    constexpr std::uint32_t count = 40;
    std::mt19937 random(1);
    HashPlaces places(count);
    std::map<std::uint32_t, std::uint64_t> hashes;
    for (int step = 0; step < 20'000; ++step) {
        std::uint32_t place = random() % count;
        if (hashes.erase(place)) {
            places.remove(place);
        } else {
            places.add(hashes[place] = random() % 60, place);
        }
        ASSERT_EQ(places.size(), hashes.size());
        place = random() % count;
        auto known = hashes.find(place);
        std::uint64_t hash = known == hashes.end() ? random() % 60 : known->second;
        auto found = places.find(hash, [&](std::uint32_t at) { return at == place; });
        ASSERT_EQ(found.has_value(), known != hashes.end());
    }
}

} // namespace
} // namespace millrace::control
