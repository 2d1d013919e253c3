#include "control/command/protocol.hpp"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace millrace::control {

Responder::Owed::~Owed() {
    if (!sink) return;
    try {
        respond({{"error", "the daemon gave no answer"}});
    } catch (const std::exception&) {
        // Out of memory. The connection's own time limit then ends the client's wait.
    }
}

void Responder::Owed::respond(const nlohmann::json& object) {
    auto to = std::exchange(sink, nullptr);
    if (!to) return;
    std::string text = to_text(object);
    if (text.size() > command_limits::reply_octets) text = to_text({{"error", "the answer is too large"}});
    to(std::move(text));
}

void Responder::fail(const std::string& sentence) const {
    respond({{"error", sentence}});
}

void Commands::on(std::string verb, Handler handler, Effect effect) {
    verbs_[std::move(verb)] = {std::move(handler), effect};
}

void Commands::run(std::string_view request, Responder responder) const {
    auto words = parse_request(request);
    if (!words) return responder.fail(words.error());
    for (std::size_t length = std::min<std::size_t>(2, words->size()); length > 0; --length) {
        auto verb = verbs_.find(length == 2 ? (*words)[0] + " " + (*words)[1] : (*words)[0]);
        if (verb == verbs_.end()) continue;
        if (!held_.empty() && verb->second.effect == Effect::change) return responder.fail(held_);
        words->erase(words->begin(), words->begin() + std::ptrdiff_t(length));
        try {
            return verb->second.handler(std::move(*words), std::move(responder));
        } catch (const std::exception&) {
            return; // unwinding dropped the reply, which told the client
        }
    }
    std::string known;
    for (const auto& [verb, of] : verbs_) known += (known.empty() ? "" : ", ") + verb;
    responder.fail(fmt::format("unknown command \"{}\"; there are: {}", (*words)[0], known));
}

namespace {

bool has_control(std::string_view text) {
    auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    return std::any_of(text.begin(), text.end(), is_control);
}

std::vector<std::string> words_of(std::string_view request) {
    std::vector<std::string> words;
    for (std::size_t at = 0; (at = request.find_first_not_of(' ', at)) != request.npos;) {
        std::size_t end = std::min(request.find(' ', at), request.size());
        words.emplace_back(request.substr(at, end - at));
        at = end;
    }
    return words;
}

/// Nothing: it is no array of strings.
std::optional<std::vector<std::string>> words_of_json(std::string_view request) {
    auto array = nlohmann::json::parse(request, nullptr, false);
    bool is_list = array.is_array() &&
                   std::all_of(array.begin(), array.end(), [](const auto& word) { return word.is_string(); });
    return is_list ? std::optional(array.get<std::vector<std::string>>()) : std::nullopt;
}

} // namespace

tl::expected<std::vector<std::string>, std::string> parse_request(std::string_view request) {
    if (request.size() > command_limits::request_octets) {
        return tl::unexpected(fmt::format("a request has at most {} octets", command_limits::request_octets));
    }
    std::vector<std::string> words;
    if (request.starts_with('[')) {
        auto list = words_of_json(request);
        if (!list)
            return tl::unexpected(std::string("a request that begins with [ is a JSON array of strings"));
        words = std::move(*list);
    } else {
        words = words_of(request);
    }
    if (std::any_of(words.begin(), words.end(), has_control)) {
        return tl::unexpected(std::string("a request has no control characters"));
    }
    if (words.empty()) return tl::unexpected(std::string("the request is empty"));
    if (words.size() > command_limits::request_words) {
        return tl::unexpected(fmt::format("a request has at most {} words", command_limits::request_words));
    }
    return words;
}

std::string to_text(const nlohmann::json& object) {
    return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

} // namespace millrace::control
