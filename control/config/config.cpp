#include "control/config/config.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/eventhandler.h>

#include "cache/dns.hpp"
#include "control/config/choices.hpp"
#include "control/config/read.hpp"
#include "control/config/readers.hpp"
#include "control/config/yaml.hpp"
#include "control/message/record_text.hpp"
#include "dataplane/descriptor.hpp"

namespace millrace::control {

namespace {

tl::unexpected<ConfigError> whole_file(const std::string& file, std::string expected, std::string found) {
    return tl::unexpected(ConfigError{file, 0, "", std::move(expected), std::move(found)});
}

} // namespace

tl::expected<std::string, ConfigError> read_config_file(const std::string& path) {
    // O_NONBLOCK: opening a FIFO must not wait for its writer.
    dataplane::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) < 0) {
        return whole_file(path, "a readable file", std::strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) return whole_file(path, "a regular file", "something else");
    std::string text(bounds::file_octets + 1, '\0');
    std::size_t size = 0;
    while (size < text.size()) {
        ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return whole_file(path, "a readable file", std::strerror(errno));
        if (got == 0) break;
        size += std::size_t(got);
    }
    if (size > bounds::file_octets) return whole_file(path, "at most 1 MiB", "more");
    text.resize(size);
    return text;
}

namespace {

/// Listens to the parser only to learn where the latest document starts.
struct DocumentStart : YAML::EventHandler {
    int line = 0;
    void OnDocumentStart(const YAML::Mark& mark) override { line = mark.line + 1; }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
    void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                         YAML::EmitterStyle::value) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                    YAML::EmitterStyle::value) override {}
    void OnMapEnd() override {}
};

/// The line on which something follows the first document, if anything does. YAML::Load would ignore it, and
/// YAML::LoadAll of yaml-cpp 0.7 never returns from some texts, such as "," (its pull request 1319).
std::optional<int> second_document(const std::string& text) {
    std::istringstream in(text);
    YAML::Parser parser(in);
    DocumentStart start;
    bool second = parser.HandleNextDocument(start) && parser.HandleNextDocument(start);
    return second ? std::optional(start.line) : std::nullopt;
}

tl::expected<Config, ConfigError> parse_document(const std::string& text, const std::string& file) {
    if (auto line = second_document(text)) {
        return tl::unexpected(ConfigError{file, *line, "", "one YAML document", "something after its end"});
    }
    yaml::Document document{file, std::nullopt};
    Config config = read_config({document, YAML::Load(text), "", 1});
    if (document.error) return tl::unexpected(*document.error);
    return config;
}

} // namespace

tl::expected<Config, ConfigError> load_config(const std::string& path) {
    return read_config_file(path).and_then([&](const std::string& text) { return parse_config(text, path); });
}

tl::expected<Config, ConfigError> parse_config(std::string_view text, const std::string& file) {
    if (text.find('\0') != text.npos) return whole_file(file, "a text file", "a NUL octet");
    try {
        return parse_document(std::string(text), file);
    } catch (const YAML::Exception& error) {
        return tl::unexpected(ConfigError{file, error.mark.line + 1, "", "well-formed YAML", error.msg});
    } catch (const std::bad_alloc&) {
        throw; // not the file's fault
    } catch (const std::exception& error) {
        return whole_file(file, "well-formed YAML", error.what());
    }
}

std::vector<dataplane::LoggedKind> Config::default_logged_kinds() {
    std::vector<dataplane::LoggedKind> all;
    for (const auto& choice : logged_messages) all.push_back(choice.value);
    return all;
}

std::string to_string(const Config::DnstapTarget& target) {
    if (target.kind == Config::DnstapTarget::Kind::none) return {};
    bool is_tcp = target.kind == Config::DnstapTarget::Kind::tcp;
    return fmt::format("{}:{}", name_of(target.kind, dnstap_targets),
                       is_tcp ? dataplane::to_string(target.endpoint) : target.path);
}

std::string to_string(const Config::Server& server) {
    if (!server.is_named()) return dataplane::to_string(server.endpoint);
    return fmt::format("{}:{}", std::string_view(server.name).substr(0, server.name.size() - 1),
                       server.endpoint.port);
}

std::string to_string(const ConfigError& error) {
    std::string place = error.file;
    if (error.line > 0) place += fmt::format(":{}", error.line);
    if (!error.key.empty()) place += ": " + error.key;
    return fmt::format("{}: expected {}, found {}", place, error.expected, error.found);
}

std::vector<dataplane::Endpoint> Config::default_listen() {
    return {*dataplane::parse_endpoint("127.0.0.1:5300", dns::port)};
}

dataplane::Endpoint Config::default_metrics() {
    return *dataplane::parse_endpoint("127.0.0.1:9153", 0);
}

std::vector<dataplane::Prefix> Config::default_allow() {
    std::vector<dataplane::Prefix> out;
    for (const char* text : {"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                             "::1/128", "fc00::/7", "fe80::/10"}) {
        out.push_back(*dataplane::parse_prefix(text));
    }
    return out;
}

std::size_t Config::Live::index_of(std::string_view group) const {
    return std::size_t(std::ranges::find(upstreams, group, &Group::name) - upstreams.begin());
}

std::optional<cache::Key> parse_probe(const std::string& text) {
    std::size_t space = text.find(' ');
    if (space == std::string::npos) return std::nullopt;
    auto question = parse_question(text.substr(0, space), text.substr(space + 1));
    return question ? std::optional(*question) : std::nullopt;
}

} // namespace millrace::control
