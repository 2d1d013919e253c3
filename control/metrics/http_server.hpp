// Pages over HTTP, for Prometheus, load balancers and people: a thread of its own, on libmicrohttpd.
//
// Nobody who comes here disturbs the service. The thread touches nothing of control's: what only control
// knows is asked for by a function that must not wait, and comes back as a function that makes the text, and
// runs here. All who want it meanwhile wait for the same answer, which is good for http_fresh; when none has
// come within http_wait they get 503. Connections, and what each may send, are bounded; one on which nothing
// moves is closed, and in a crowd the oldest gives way, so whoever is quick is served however many are slow.
//
// Threads: open(), on(), start() and stop() the owner's; deliver() any. The thread runs where the one that
// calls start() may run, at a lower priority.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "dataplane/address.hpp"
#include "dataplane/descriptor.hpp"

namespace millrace::control {

class HttpServer {
  public:
    struct Page {
        unsigned status = 200;
        std::string type, text;
    };
    using MakePage = std::function<Page()>;
    using MakeText = std::function<std::string()>;

    /// Listens; nobody is served yet. `handed`: a socket that a predecessor listens there with, or none. The
    /// error is a sentence.
    static tl::expected<std::unique_ptr<HttpServer>, std::string> open(const dataplane::Endpoint& at,
                                                                       dataplane::Descriptor handed = {});
    ~HttpServer(); ///< stops

    // Before start(). What is served on which path, to GET and HEAD.

    /// `make` is called for each request, on this server's thread, and must not wait.
    void on(const std::string& path, MakePage make);
    /// To whom. By address: who names this server by its address, or localhost. A page from elsewhere that a
    /// browser shows cannot read that by a name of its own that it leads here (DNS rebinding).
    enum class For : std::uint8_t { all, by_address };
    /// Of a media type. `ask`, called on this server's thread, has somebody call deliver(), once each time.
    void on_asked(const std::string& path, const std::string& type, For whom, std::function<void()> ask);

    dataplane::Endpoint at() const; ///< where it listens, whatever was asked for
    int descriptor() const;         ///< the socket that listens, for a successor; until stop()

    void start();
    void ask_to_stop(); ///< soon nobody new is served
    void stop();        ///< returns when the thread has ended. Idempotent

    /// What was asked for the path, if the server still runs. `make` runs on its thread.
    void deliver(const std::string& path, MakeText make);

  private:
    class Impl;
    explicit HttpServer(std::unique_ptr<Impl> impl);

    std::unique_ptr<Impl> impl_;
};

} // namespace millrace::control
