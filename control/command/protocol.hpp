// The control socket's protocol, without the socket: requests, replies and the table of verbs.
//
// A request is one line, a JSON array of words: ["local", "add", "a.lan. TXT \"x  y\""]. For people, words
// separated by spaces do as well: cache lookup www.example. A. The reply is one line, a JSON object; the
// member `error`, a sentence, says that the request failed. README.md beside this file says it to those
// who write programs.
//
// Threads: the control thread. Nothing here throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

namespace millrace::control {

namespace command_limits {
inline constexpr std::size_t request_octets = 4096; ///< without the line break, as below
inline constexpr std::size_t request_words = 16;
inline constexpr std::size_t reply_octets = std::size_t(16) << 20;
} // namespace command_limits

/// The answer that a request is owed, given to whoever can answer, now or later. Copies owe the same one: the
/// first that answers does for all, and when the last goes without one, an error is sent, so that a client
/// never waits in vain.
class Responder {
  public:
    using Sink = std::function<void(std::string text)>; ///< called once, with the JSON text

    explicit Responder(Sink sink) : owed_(std::make_shared<Owed>(std::move(sink))) {}

    /// Strings need not be UTF-8: what is not is replaced. Sent before this returns, as far as
    /// the client reads.
    void respond(const nlohmann::json& object) const { owed_->respond(object); }
    /// {"error": sentence}
    void fail(const std::string& sentence) const;

  private:
    struct Owed {
        explicit Owed(Sink to) : sink(std::move(to)) {}
        Owed(const Owed&) = delete;
        Owed& operator=(const Owed&) = delete;
        ~Owed();
        void respond(const nlohmann::json& object);
        Sink sink; ///< none: it has been given
    };
    std::shared_ptr<Owed> owed_;
};

/// What follows the verb, and the reply to give.
using Handler = std::function<void(std::vector<std::string> args, Responder responder)>;

/// Whether a verb changes what outlasts its reply, or what others are served.
enum class Effect : std::uint8_t { change, look };

class Commands {
  public:
    /// `verb` is one word or two, "status" or "cache lookup"; the longest that fits a request gets it.
    void on(std::string verb, Handler handler, Effect effect = Effect::change);
    /// Verbs that change something fail with the sentence, until release().
    void hold(std::string sentence) { held_ = std::move(sentence); }
    void release() { held_.clear(); }
    bool is_holding() const { return !held_.empty(); }

    /// Runs one request. Whatever is wrong with it becomes the reply.
    void run(std::string_view request, Responder responder) const;

  private:
    struct Verb {
        Handler handler;
        Effect effect;
    };
    std::map<std::string, Verb, std::less<>> verbs_;
    std::string held_; ///< why; empty: nothing is
};

/// The words of a request, or what is wrong with it: too long, too many words, none, control characters.
tl::expected<std::vector<std::string>, std::string> parse_request(std::string_view request);

/// The JSON text of an object; what is not UTF-8 in it is replaced.
std::string to_text(const nlohmann::json& object);

} // namespace millrace::control
