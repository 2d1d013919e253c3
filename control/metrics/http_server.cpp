#include "control/metrics/http_server.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "control/limits.hpp"
#include "dataplane/descriptor.hpp"
#include "dataplane/sleeper.hpp"

namespace millrace::control {

namespace {

constexpr int lower_priority = 10; // nice: whoever shares its CPU, control above all, goes first
constexpr int longest_sleep_ms = 1000, sleep_of_waiting_ms = 100, sleep_in_crowd_ms = 10;

struct Destroy {
    void operator()(MHD_Response* response) const { MHD_destroy_response(response); } // its users keep it
};
using Response = std::unique_ptr<MHD_Response, Destroy>;

Response make_response(const std::string& text, const std::string& type) {
    Response response(
        MHD_create_response_from_buffer(text.size(), const_cast<char*>(text.data()), MHD_RESPMEM_MUST_COPY));
    if (!response) throw std::bad_alloc();
    MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CONTENT_TYPE, type.c_str());
    MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return response;
}

/// "192.0.2.1:9153", "[2001:db8::1]", "localhost".
bool is_address(std::string_view host) {
    constexpr std::string_view local = "localhost";
    constexpr std::uint16_t any_port = 80;
    if (host.starts_with(local) && (host.size() == local.size() || host[local.size()] == ':')) return true;
    return dataplane::parse_endpoint(std::string(host), any_port).has_value();
}

dataplane::Descriptor listen_at(const dataplane::Endpoint& at) {
    sockaddr_storage address{};
    socklen_t size = to_sockaddr(at, address);
    dataplane::Descriptor socket(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return socket;
    int one = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); // a restart need not wait a minute
    bool listens = bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                   listen(socket.get(), SOMAXCONN) == 0; // a crowd is taken in turn
    return listens ? std::move(socket) : dataplane::Descriptor();
}

} // namespace

/// What libmicrohttpd calls back runs on the thread; so does all else but deliver().
class HttpServer::Impl {
  public:
    /// A page that somebody else makes.
    struct Asked {
        std::string type;
        For whom = For::all;
        std::function<void()> ask;
        Response response; ///< the latest; null: none that is of use
        Time made{}, asked{};
        bool is_asked = false; ///< and not delivered
        std::vector<MHD_Connection*> waiting;
    };

    bool open(dataplane::Descriptor handed);
    ~Impl();
    void start() {
        thread_ = std::thread([this] { run(); });
    }
    void ask_to_stop();
    void stop();
    void deliver(const std::string& path, MakeText make);

    dataplane::Endpoint at;
    int listener = -1; ///< libmicrohttpd's
    std::map<std::string, MakePage, std::less<>> pages;
    std::map<std::string, Asked, std::less<>> asked;

  private:
    static MHD_Result on_request(void* self, MHD_Connection* connection, const char* path, const char* method,
                                 const char* version, const char* upload, std::size_t* upload_size,
                                 void** request);
    static void on_connection(void* self, MHD_Connection* connection, void** context,
                              MHD_ConnectionNotificationCode what);
    MHD_Result answer(MHD_Connection* connection, std::string_view path, std::string_view method,
                      void** request);
    MHD_Result answer_asked(MHD_Connection* connection, Asked& page, bool has_waited);
    static MHD_Result respond(MHD_Connection* connection, const Page& page);
    std::string known_paths() const;
    void note_open(int descriptor);
    void run();
    int longest_sleep() const;
    void take_deliveries();
    void end_waits(Asked& page);

    MHD_Daemon* daemon_ = nullptr;
    std::thread thread_;
    std::atomic<bool> stop_{false};
    dataplane::Sleeper sleeper_;
    std::mutex mutex_;
    std::vector<std::pair<std::string, MakeText>> delivered_; ///< under the mutex
    std::deque<int> open_; ///< sockets of connections, the oldest first; not those that had to give way
};

bool HttpServer::Impl::open(dataplane::Descriptor handed) {
    daemon_ =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr, &Impl::on_request,
                         this, MHD_OPTION_LISTEN_SOCKET, handed.get(), MHD_OPTION_CONNECTION_LIMIT,
                         limits::http_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, limits::http_request,
                         MHD_OPTION_CONNECTION_TIMEOUT, unsigned(limits::http_idle / 1s),
                         MHD_OPTION_NOTIFY_CONNECTION, &Impl::on_connection, this, MHD_OPTION_END);
    if (!daemon_) return false;
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    listener = handed.release();
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    at = dataplane::from_sockaddr(address);
    return true;
}

HttpServer::Impl::~Impl() {
    stop();
    if (daemon_) MHD_stop_daemon(daemon_);
}

void HttpServer::Impl::ask_to_stop() {
    stop_.store(true, std::memory_order_relaxed);
    sleeper_.nudge();
}

void HttpServer::Impl::stop() {
    ask_to_stop();
    if (thread_.joinable()) thread_.join();
}

void HttpServer::Impl::deliver(const std::string& path, MakeText make) {
    std::lock_guard lock(mutex_);
    delivered_.emplace_back(path, std::move(make));
    sleeper_.nudge();
}

void HttpServer::Impl::run() {
    pthread_setname_np(pthread_self(), "millrace-http");
    setpriority(PRIO_PROCESS, id_t(gettid()), lower_priority);
    int epoll = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    while (!stop_.load(std::memory_order_relaxed)) {
        pollfd waits[] = {{epoll, POLLIN, 0}, {sleeper_.descriptor(), POLLIN, 0}};
        poll(waits, 2, longest_sleep());
        if (waits[1].revents) sleeper_.drain();
        take_deliveries();
        for (auto& [path, page] : asked) {
            if (page.is_asked && boot_time() - page.asked > limits::http_wait) end_waits(page);
        }
        MHD_run(daemon_);
    }
    for (auto& [path, page] : asked) end_waits(page);        // libmicrohttpd stops with none suspended
    dataplane::Descriptor ours(MHD_quiesce_daemon(daemon_)); // a successor may have it as well
    MHD_stop_daemon(std::exchange(daemon_, nullptr));
}

/// libmicrohttpd that has had all of its connections looks for new ones in its next run, not at once.
int HttpServer::Impl::longest_sleep() const {
    bool waits = std::ranges::any_of(asked, [](const auto& one) { return !one.second.waiting.empty(); });
    bool is_crowded = open_.size() + 1 >= limits::http_crowd;
    int own = is_crowded ? sleep_in_crowd_ms : waits ? sleep_of_waiting_ms : longest_sleep_ms;
    unsigned long long theirs = 0;
    if (MHD_get_timeout(daemon_, &theirs) != MHD_YES) return own;
    return int(std::min<unsigned long long>(theirs, unsigned(own)));
}

void HttpServer::Impl::take_deliveries() {
    std::vector<std::pair<std::string, MakeText>> taken;
    {
        std::lock_guard lock(mutex_);
        taken.swap(delivered_);
    }
    for (auto& [path, make] : taken) {
        Asked& page = asked.at(path);
        page.is_asked = false;
        page.response.reset();
        try {
            page.response = make_response(make(), page.type);
            page.made = boot_time();
        } catch (const std::exception& error) {
            spdlog::error("{} over HTTP: {}", path, error.what());
        }
        end_waits(page);
    }
}

/// With what there is.
void HttpServer::Impl::end_waits(Asked& page) {
    if (page.is_asked) page.response.reset(); // nothing has come in time
    for (MHD_Connection* connection : std::exchange(page.waiting, {})) MHD_resume_connection(connection);
}

MHD_Result HttpServer::Impl::on_request(void* self, MHD_Connection* connection, const char* path,
                                        const char* method, const char*, const char*,
                                        std::size_t* upload_size, void** request) {
    *upload_size = 0; // what a request brings along is of no interest
    try {
        return static_cast<Impl*>(self)->answer(connection, path, method, request);
    } catch (const std::exception&) {
        return MHD_NO; // no memory: the connection ends, nothing else
    }
}

MHD_Result HttpServer::Impl::answer(MHD_Connection* connection, std::string_view path,
                                    std::string_view method, void** request) {
    bool is_read = method == MHD_HTTP_METHOD_GET || method == MHD_HTTP_METHOD_HEAD;
    if (!is_read) return respond(connection, {MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", "GET or HEAD\n"});
    bool has_waited = std::exchange(*request, this) != nullptr;
    if (auto page = pages.find(path); page != pages.end()) return respond(connection, page->second());
    if (auto page = asked.find(path); page != asked.end())
        return answer_asked(connection, page->second, has_waited);
    return respond(connection, {MHD_HTTP_NOT_FOUND, "text/plain", known_paths()});
}

MHD_Result HttpServer::Impl::answer_asked(MHD_Connection* connection, Asked& page, bool has_waited) {
    const char* host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    if (page.whom == For::by_address && host && !is_address(host))
        return respond(connection, {MHD_HTTP_FORBIDDEN, "text/plain", "ask by address, not by name\n"});
    Time now = boot_time();
    if (page.response && (has_waited || now - page.made < limits::http_fresh))
        return MHD_queue_response(connection, MHD_HTTP_OK, page.response.get());
    bool is_late = page.is_asked && now - page.asked > limits::http_wait;
    if (has_waited || is_late) {
        return respond(connection,
                       {MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain", "the control thread does not answer\n"});
    }
    if (!std::exchange(page.is_asked, true)) {
        page.asked = now;
        page.ask();
    }
    page.waiting.push_back(connection);
    MHD_suspend_connection(connection);
    return MHD_YES;
}

MHD_Result HttpServer::Impl::respond(MHD_Connection* connection, const Page& page) {
    return MHD_queue_response(connection, page.status, make_response(page.text, page.type).get());
}

std::string HttpServer::Impl::known_paths() const {
    std::string text = "There is:\n";
    for (const auto& [path, page] : asked) text += path + "\n";
    for (const auto& [path, page] : pages) text += path + "\n";
    return text;
}

void HttpServer::Impl::on_connection(void* self, MHD_Connection* connection, void**,
                                     MHD_ConnectionNotificationCode what) {
    int descriptor = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    auto& impl = *static_cast<Impl*>(self);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) return impl.note_open(descriptor);
    std::erase(impl.open_, descriptor);
}

/// libmicrohttpd has a time limit for connections that stand still only: who trickles would stay.
void HttpServer::Impl::note_open(int descriptor) {
    open_.push_back(descriptor);
    if (open_.size() < limits::http_crowd) return;
    shutdown(open_.front(), SHUT_RDWR); // and libmicrohttpd sees its end
    open_.pop_front();
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

tl::expected<std::unique_ptr<HttpServer>, std::string> HttpServer::open(const dataplane::Endpoint& at,
                                                                        dataplane::Descriptor handed) {
    auto failed = [&](const char* why) {
        return tl::unexpected(fmt::format("cannot serve metrics on {}: {}", to_string(at), why));
    };
    dataplane::Descriptor listener = handed ? std::move(handed) : listen_at(at);
    if (!listener) return failed(std::strerror(errno));
    auto impl = std::make_unique<Impl>();
    if (!impl->open(std::move(listener))) return failed("libmicrohttpd does not start");
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::on(const std::string& path, MakePage make) {
    impl_->pages[path] = std::move(make);
}

void HttpServer::on_asked(const std::string& path, const std::string& type, For whom,
                          std::function<void()> ask) {
    Impl::Asked& page = impl_->asked[path];
    page.type = type;
    page.whom = whom;
    page.ask = std::move(ask);
}

dataplane::Endpoint HttpServer::at() const {
    return impl_->at;
}

int HttpServer::descriptor() const {
    return impl_->listener;
}

void HttpServer::start() {
    impl_->start();
}

void HttpServer::ask_to_stop() {
    impl_->ask_to_stop();
}

void HttpServer::stop() {
    impl_->stop();
}

void HttpServer::deliver(const std::string& path, MakeText make) {
    impl_->deliver(path, std::move(make));
}

} // namespace millrace::control
