// Whatever the request, there is exactly one reply, and it is a JSON object in UTF-8.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "control/command.hpp"
#include "control/pretty.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace millrace::control;
    static const Commands commands = [] {
        Commands out;
        out.on("a", [](auto args, Reply reply) { reply.answer({{"args", args}}); });
        out.on("a b", [](auto args, Reply reply) { reply.error(args.at(0)); }); // throws without arguments
        return out;
    }();
    std::string text;
    int replies = 0;
    commands.run({reinterpret_cast<const char*>(data), size}, Reply([&](std::string reply) {
                     text = std::move(reply);
                     ++replies;
                 }));
    auto object = nlohmann::json::parse(text, nullptr, false);
    if (replies != 1 || !object.is_object()) std::abort();
    for (char c : pretty(object)) {
        if (c != '\n' && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)) std::abort();
    }
    return 0;
}
