// The control socket without the socket: requests, replies, and tables of them.
#include "control/command/protocol.hpp"
#include "control/command/tables.hpp"

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace millrace::control {
namespace {

using namespace std::literals;
using Json = nlohmann::json;

std::string run(const Commands& commands, std::string_view request) {
    std::string out = "nothing";
    commands.run(request, Responder([&](std::string text) { out = std::move(text); }));
    return out;
}

TEST(Commands, LongestVerbGetsTheRest) {
    Commands commands;
    commands.on("cache", [](auto args, Responder responder) { responder.respond({{"cache", args}}); });
    commands.on("cache lookup", [](auto args, Responder responder) {
        responder.respond({{"lookup", args}});
    });
    EXPECT_EQ(run(commands, "cache lookup a.example  A "), R"({"lookup":["a.example","A"]})");
    EXPECT_EQ(run(commands, "cache flush --all"), R"({"cache":["flush","--all"]})");
    EXPECT_EQ(run(commands, "cache"), R"({"cache":[]})");
}

TEST(Commands, RefusesWithASentence) {
    Commands commands;
    commands.on("stats", [](auto, Responder) {});
    commands.on("quit", [](auto, Responder) { throw std::runtime_error("x"); });
    EXPECT_EQ(run(commands, "stat\xff x"),
              R"({"error":"unknown command \"stat�\"; there are: quit, stats"})");
    EXPECT_EQ(run(commands, ""), R"({"error":"the request is empty"})");
    EXPECT_EQ(run(commands, "   "), R"({"error":"the request is empty"})");
    EXPECT_EQ(run(commands, "stats\n"), R"({"error":"a request has no control characters"})");
    EXPECT_EQ(run(commands, std::string(4097, 'a')), R"({"error":"a request has at most 4096 octets"})");
    EXPECT_EQ(run(commands, "a a a a a a a a a a a a a a a a a"),
              R"({"error":"a request has at most 16 words"})");
    EXPECT_EQ(run(commands, "stats"), R"({"error":"the daemon gave no answer"})");
    EXPECT_EQ(run(commands, "quit"), R"({"error":"the daemon gave no answer"})");
}

TEST(Commands, AJsonArrayHasWordsWithSpaces) {
    Commands commands;
    commands.on("local add", [](auto args, Responder responder) { responder.respond({{"args", args}}); });
    EXPECT_EQ(run(commands, R"(["local","add","a. TXT \"x  y\""])"), R"({"args":["a. TXT \"x  y\""]})");
    EXPECT_EQ(run(commands, "[\"local\", \"add\", \"\"]\n"), R"({"args":[""]})");
    for (const char* broken : {"[", "[\"local\"", "[1]", "[[]]", "[{\"a\":1}]", "[\"a\"] b"}) {
        EXPECT_EQ(run(commands, broken),
                  R"({"error":"a request that begins with [ is a JSON array of strings"})");
    }
    EXPECT_EQ(run(commands, "[]"), R"({"error":"the request is empty"})");
    EXPECT_EQ(run(commands, R"(["local","add","a\nb"])"),
              R"({"error":"a request has no control characters"})");
    EXPECT_EQ(run(commands, "[" + std::string(4000, '[') + "]"),
              R"({"error":"a request that begins with [ is a JSON array of strings"})");
}

TEST(Commands, WhatIsHeldIsRefusedUntilItIsReleased) {
    Commands commands;
    auto done = [](auto, const Responder& responder) { responder.respond({{"done", true}}); };
    commands.on("look", done, Effect::look);
    commands.on("change it", done);
    commands.hold("not now");
    EXPECT_EQ(run(commands, "look"), R"({"done":true})");
    EXPECT_EQ(run(commands, "change it"), R"({"error":"not now"})");
    commands.release();
    EXPECT_EQ(run(commands, "change it"), R"({"done":true})");
}

TEST(Responder, IsGivenOnce) {
    int answers = 0;
    {
        Responder first([&](std::string) { ++answers; });
        Responder second(std::move(first));
        second.respond({{"a", 1}});
        second.respond({{"a", 2}});
    }
    EXPECT_EQ(answers, 1);
}

TEST(Responder, CopiesOweOneAnswer) {
    std::vector<std::string> answers;
    {
        Responder first([&](std::string text) { answers.push_back(text); });
        Responder second = first;
        { Responder third = first; }
        EXPECT_TRUE(answers.empty()) << "somebody can still give it";
        second.respond({{"a", 1}});
        first.fail("x");
    }
    EXPECT_EQ(answers, std::vector<std::string>{R"({"a":1})"});
}

TEST(Responder, AssignmentAnswersTheOneThatIsLost) {
    std::string lost = "nothing";
    Responder responder([&](std::string text) { lost = text; });
    responder = Responder([](std::string) {});
    EXPECT_EQ(lost, R"({"error":"the daemon gave no answer"})");
}

TEST(Responder, TooLargeBecomesAnError) {
    std::string text;
    Responder([&](std::string t) {
        text = t;
    }).respond({{"a", std::string(command_limits::reply_octets, 'x')}});
    EXPECT_EQ(text, R"({"error":"the answer is too large"})");
}

TEST(Pretty, Tables) {
    EXPECT_EQ(to_table(Json::parse(R"({"a":1,"longer":true,"none":null,"list":["x","y"],"empty":[],
                                     "in":{"deep":{"k":-1.5}},"rows":[{"n":"one","v":1},{"n":"three"}]})")),
              "a       1\n"
              "empty   -\n"
              "in\n"
              "  deep\n"
              "    k  -1.5\n"
              "list    x, y\n"
              "longer  yes\n"
              "none    -\n"
              "rows\n"
              "  n      v\n"
              "  one    1\n"
              "  three  -\n");
    EXPECT_EQ(to_table(Json{{"k\n", "a\x1b[2J\x7f\xc2\x9b\xc3\xa9"}}),
              "k\\x0a  a\\x1b[2J\\x7f\\x9b\xc3\xa9\n");
    EXPECT_EQ(to_table(Json::object()), "");
}

TEST(Pretty, LongValuesGoOnBelowThemselves) {
    Json object{{"key", "one, two, three, four, five, six"}};
    EXPECT_EQ(to_table(object, 23), "key  one, two, three,\n     four, five, six\n");
    EXPECT_EQ(to_table(object), "key  one, two, three, four, five, six\n")
        << "no terminal: nothing is broken";
    EXPECT_EQ(to_table(Json{{"k", "abcdefghijklmnopqrstuvwxyz"}}, 20),
              "k  abcdefghijklmnopq\n   rstuvwxyz\n");
    EXPECT_EQ(to_table(Json{{"a-key-that-is-longer-than-all", 1}}, 34), "a-key-that-is-l\xe2\x80\xa6  1\n");
}

TEST(Pretty, RowsFitOrBecomeMembers) {
    std::string addresses;
    for (int i = 1; i <= 9; ++i)
        addresses += (i > 1 ? " " : "") + std::string("192.0.2.") + std::to_string(i);
    Json object{{"e", {{{"at", 1}, {"note", addresses}, {"on", "x"}}}}};
    EXPECT_EQ(to_table(object), "e\n  at  on  note\n  1   x   " + addresses + "\n") << "the widest is last";
    EXPECT_EQ(to_table(object, 40), "e\n"
                                    "  at  on  note\n"
                                    "  1   x   192.0.2.1 192.0.2.2 192.0.2.3\n"
                                    "          192.0.2.4 192.0.2.5 192.0.2.6\n"
                                    "          192.0.2.7 192.0.2.8 192.0.2.9\n");
    Json wide = Json::object();
    for (char c = 'a'; c < 'g'; ++c) wide[std::string(10, c)] = c;
    std::string narrow = to_table(Json{{"rows", {wide, wide}}}, 30);
    EXPECT_EQ(narrow.find("\n\n"), narrow.rfind("\n\n")) << narrow;
    EXPECT_NE(narrow.find("\n  aaaaaaaaaa  97\n  bbbbbbbbbb  98\n"), narrow.npos) << narrow;
}

} // namespace
} // namespace millrace::control
