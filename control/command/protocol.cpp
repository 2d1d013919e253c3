#include "control/command/protocol.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace millrace::control {

Responder::Responder(Responder&& other) noexcept : sink_(std::exchange(other.sink_, nullptr)) {}

Responder& Responder::operator=(Responder&& other) noexcept {
    if (this == &other) return *this;
    drop();
    sink_ = std::exchange(other.sink_, nullptr);
    return *this;
}

Responder::~Responder() {
    drop();
}

void Responder::drop() noexcept {
    if (!sink_) return;
    try {
        fail("the daemon gave no answer");
    } catch (const std::exception&) {
        // Out of memory. The connection's own time limit then ends the client's wait.
    }
}

void Responder::respond(const nlohmann::json& object) {
    auto sink = std::exchange(sink_, nullptr);
    if (!sink) return;
    std::string text = to_text(object);
    if (text.size() > command_limits::reply_octets) text = to_text({{"error", "the answer is too large"}});
    sink(std::move(text));
}

void Responder::fail(const std::string& sentence) {
    respond({{"error", sentence}});
}

void Commands::on(std::string verb, Handler handler) {
    handlers_[std::move(verb)] = std::move(handler);
}

void Commands::run(std::string_view request, Responder responder) const {
    auto words = parse_request(request);
    if (!words) return responder.fail(words.error());
    for (std::size_t length = std::min<std::size_t>(2, words->size()); length > 0; --length) {
        auto handler = handlers_.find(length == 2 ? (*words)[0] + " " + (*words)[1] : (*words)[0]);
        if (handler == handlers_.end()) continue;
        words->erase(words->begin(), words->begin() + std::ptrdiff_t(length));
        try {
            return handler->second(std::move(*words), std::move(responder));
        } catch (const std::exception&) {
            return; // unwinding dropped the reply, which told the client
        }
    }
    std::string known;
    for (const auto& [verb, handler] : handlers_) known += (known.empty() ? "" : ", ") + verb;
    responder.fail(fmt::format("unknown command \"{}\"; there are: {}", (*words)[0], known));
}

tl::expected<std::vector<std::string>, std::string> parse_request(std::string_view request) {
    if (request.size() > command_limits::request_octets) {
        return tl::unexpected(fmt::format("a request has at most {} octets", command_limits::request_octets));
    }
    auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    if (std::any_of(request.begin(), request.end(), is_control)) {
        return tl::unexpected(std::string("a request has no control characters"));
    }
    std::vector<std::string> words;
    for (std::size_t at = 0; (at = request.find_first_not_of(' ', at)) != request.npos;) {
        std::size_t end = std::min(request.find(' ', at), request.size());
        words.emplace_back(request.substr(at, end - at));
        at = end;
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
