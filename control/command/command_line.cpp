#include "control/command/command_line.hpp"

#include <memory>
#include <utility>

namespace millrace::control {

namespace {

const CLI::Validator one_word(
    [](std::string& text) {
        bool fits = !text.empty() && text.size() <= 1024 && // 255 octets, each at most four characters
                    text.find_first_of(" \t\r\n") == text.npos;
        return fits ? std::string() : std::string("expected a word; a space within a name is written \\032");
    },
    "", "word");

/// CLI11 takes an option without its value for a flag that is true.
const CLI::Validator or_one(
    [](std::string& seconds) {
        if (seconds == "true") seconds = "1";
        return std::string();
    },
    "", "seconds");

struct Argument {
    enum class Kind { word, optional_word, optional_words, text, texts };
    const char* name;
    const char* help;
    Kind kind = Kind::word;
};
using enum Argument::Kind;

/// A verb whose arguments are sent as they are. The last may be any number of words: `texts` are one text,
/// `optional_words` stay what they are.
CLI::App* add_verb(CLI::App& parent, CommandLine& line, std::vector<std::string> verb,
                   const std::string& help, const std::vector<Argument>& arguments = {}) {
    CLI::App* app = parent.add_subcommand(verb.back(), help);
    struct Values {
        std::vector<std::string> words, texts, more;
    };
    auto values = std::make_shared<Values>();
    values->words.resize(arguments.size());
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const auto& [name, about, kind] = arguments[i];
        CLI::Option* option = kind == texts            ? app->add_option(name, values->texts, about)
                              : kind == optional_words ? app->add_option(name, values->more, about)
                                                       : app->add_option(name, values->words[i], about);
        option->required(kind != optional_word && kind != optional_words);
        if (kind != text && kind != texts) option->check(one_word);
    }
    app->final_callback([&line, values, verb = std::move(verb), arguments] {
        line.words = verb;
        for (std::size_t i = 0; i < arguments.size(); ++i) {
            bool is_given = arguments[i].kind == text || !values->words[i].empty();
            if (is_given) line.words.push_back(values->words[i]);
        }
        std::string one;
        for (const std::string& t : values->texts) one += (one.empty() ? "" : " ") + t;
        if (!one.empty()) line.words.push_back(one);
        line.words.insert(line.words.end(), values->more.begin(), values->more.end());
    });
    return app;
}

CLI::App& add_noun(CLI::App& app, const char* name, const char* help) {
    CLI::App* noun = app.add_subcommand(name, help);
    noun->require_subcommand(1);
    return *noun;
}

void add_watch(CLI::App& verb, CommandLine& line, bool is_rates) {
    verb.add_option("--watch", line.watch,
                    "look again every so many seconds, 1 without a number, until SIGINT")
        ->expected(0, 1)
        ->check(CLI::Range(0.1, 86400.0))
        ->transform(or_one)
        ->each([&line, is_rates](const std::string&) { line.is_rates = is_rates; });
}

/// The names that Unbound's operators know.
void add_flushes(CLI::App& cache, CommandLine& line) {
    auto name = std::make_shared<std::string>();
    CLI::App* zone = cache.add_subcommand("flush-zone", "forget a name and all below it");
    zone->add_option("NAME", *name, "domain name")->required()->check(one_word);
    zone->final_callback([&line, name] { line.words = {"cache", "flush", "--zone", *name}; });
    CLI::App* negative = cache.add_subcommand("flush-negative", "forget denials and failures");
    negative->final_callback([&line] { line.words = {"cache", "flush", "--negative"}; });
}

void add_cache(CLI::App& app, CommandLine& line) {
    CLI::App& cache = add_noun(app, "cache", "look into the cache, keep what is in it, or forget it");
    add_verb(cache, line, {"cache", "lookup"}, "show the cached answer for a name and type",
             {{"NAME", "domain name"}, {"TYPE", "record type, such as A or AAAA"}});
    add_verb(cache, line, {"cache", "stats"}, "how full it is, hits and misses");
    add_verb(cache, line, {"cache", "dump"}, "write what is cached to the file of `cache: file`");
    add_verb(cache, line, {"cache", "load"}, "take from that file what is not cached");
    add_flushes(cache, line);
    struct Flush {
        bool all = false, zone = false, negative = false;
        std::string name, group;
    };
    auto what = std::make_shared<Flush>();
    CLI::App* flush = cache.add_subcommand("flush", "forget a name, all types of it, or everything");
    CLI::Option_group* one = flush->add_option_group("what");
    one->add_option("NAME", what->name, "domain name")->check(one_word);
    one->add_flag("--all", what->all, "everything");
    one->add_flag("--negative", what->negative, "names and records that there are none of, and failures");
    one->add_option("--group", what->group, "what a group of upstreams said, and was made of that")
        ->check(one_word);
    one->require_option(1);
    flush->add_flag("--zone", what->zone, "the name and all below it")
        ->excludes("--all")
        ->excludes("--negative")
        ->excludes("--group");
    flush->final_callback([&line, what] {
        line.words = {"cache", "flush"};
        if (what->all)
            line.words.emplace_back("--all");
        else if (what->negative)
            line.words.emplace_back("--negative");
        else if (!what->group.empty())
            line.words.insert(line.words.end(), {"--group", what->group});
        else if (what->zone)
            line.words.insert(line.words.end(), {"--zone", what->name});
        else
            line.words.push_back(what->name);
    });
}

void add_upstream(CLI::App& app, CommandLine& line) {
    CLI::App& upstream = add_noun(app, "upstream", "the servers that are asked: how well they are");
    CLI::App* list = add_verb(upstream, line, {"upstream", "list"},
                              "show each one's speed, losses and state, since when and why");
    add_watch(*list, line, false);
    constexpr const char* which =
        "its address, or its name with all addresses that it has or gets, as `upstream list` shows them";
    add_verb(upstream, line, {"upstream", "up"}, "ask it whatever its probes say", {{"NAME", which}});
    add_verb(upstream, line, {"upstream", "down"}, "ask it nothing, whoever else is silent",
             {{"NAME", which}});
    add_verb(upstream, line, {"upstream", "auto"}, "leave it to its breaker again, as at first",
             {{"NAME", which}});
    constexpr const char* server = "address and port, or name and port, as in the configuration";
    add_verb(upstream, line, {"upstream", "add"}, "one more server of a group",
             {{"SERVER", server},
              {"GROUP", "of upstreams; the first without it", optional_word},
              {"KEY=VALUE", "what else the configuration says of a server: weight=3 tcp-only=true",
               optional_words}});
    add_verb(upstream, line, {"upstream", "remove"}, "one server less",
             {{"SERVER", server}, {"GROUP", "of upstreams; all that have it without it", optional_word}});
}

void add_config(CLI::App& app, CommandLine& line) {
    CLI::App& config = add_noun(app, "config", "the daemon's configuration, and its file");
    CLI::App* show =
        add_verb(config, line, {"config", "show"}, "what is in effect, every key or those of one",
                 {{"KEY", "such as cache or upstreams[0]", optional_word}});
    show->parse_complete_callback([&line, show] {
        if (show->count("KEY") == 0) line.text_member = "config";
    });
    add_verb(config, line, {"config", "set"},
             "change a key that needs no restart, until the file is read again",
             {{"KEY", "dotted, items of lists by index from 0, such as upstreams[0].servers[1].weight"},
              {"VALUE", "as in the file, lists and maps in brackets: '[\"192.0.2.0/24\"]'", text}});
    add_verb(config, line, {"config", "diff"}, "where what is in effect differs from the file");
    add_verb(config, line, {"config", "save"}, "write what is in effect into the file, whose comments stay");
    auto file = std::make_shared<std::string>();
    CLI::App* check = config.add_subcommand("check", "whether the file is right; nothing is changed");
    check->add_option("FILE", *file, "another one, which millracectl itself reads")->check(CLI::ExistingFile);
    check->final_callback([&line, file] {
        line.words = {"config", "check"};
        line.file = *file;
    });
    add_verb(config, line, {"config", "reload"},
             "read the file again, and put into effect what needs no restart; drops what it does not say");
}

void add_lists(CLI::App& app, CommandLine& line) {
    CLI::App& acl = add_noun(app, "acl", "who may ask (allow)");
    add_verb(acl, line, {"acl", "list"}, "the prefixes of clients that may ask");
    add_verb(acl, line, {"acl", "add"}, "let one more prefix ask", {{"PREFIX", "such as 192.0.2.0/24"}});
    add_verb(acl, line, {"acl", "remove"}, "let one prefix ask no more", {{"PREFIX", "as listed"}});
    add_verb(acl, line, {"acl", "test"}, "whether a client may ask, and by which prefix",
             {{"ADDRESS", "of a client"}});
    CLI::App& block = add_noun(app, "block", "names that are denied (block)");
    add_verb(block, line, {"block", "list"}, "the lists, and how many names each has");
    add_verb(block, line, {"block", "add"}, "deny a name and all below it", {{"NAME", "domain name"}});
    add_verb(block, line, {"block", "remove"}, "deny it no more, when `block add` did",
             {{"NAME", "domain name"}});
    add_verb(block, line, {"block", "test"}, "which rule decides on a name, and where it is from",
             {{"NAME", "domain name"}});
    CLI::App& local = add_noun(app, "local", "names that are answered here (local)");
    add_verb(local, line, {"local", "list"}, "the records, and the names that are forwarded all the same");
    add_verb(local, line, {"local", "add"}, "one more record",
             {{"RECORD", "a line of a zone file, such as: router.lan. 300 IN A 192.0.2.1", texts}});
    add_verb(local, line, {"local", "remove"}, "one record less, or all of a name",
             {{"RECORD", "as listed, or the name", texts}});
    CLI::App& ratelimit = add_noun(app, "ratelimit", "how often clients may ask (limits)");
    add_verb(ratelimit, line, {"ratelimit", "show"}, "the limits in effect");
    add_verb(ratelimit, line, {"ratelimit", "set"}, "change one",
             {{"KEY", "as shown, such as queries"}, {"VALUE", "a second; 0: no limit", text}});
}

void add_plain(CLI::App& app, CommandLine& line) {
    add_verb(app, line, {"status"}, "what the daemon is and does");
    add_watch(*add_verb(app, line, {"stats"}, "its counters"), line, true);
    CLI::App* top = add_verb(app, line, {"top"},
                             "names, zones and clients that make up most of the queries, and upstreams",
                             {{"ROWS", "of each at most, 10 without", optional_word}});
    add_watch(*top, line, false);
    add_verb(app, line, {"inflight"}, "questions that upstreams are being asked");
    add_verb(app, line, {"ports"}, "the DPDK ports: device, link, queues, the driver's counters");
    add_verb(app, line, {"health"}, "whether clients should be sent here; if not, ends with 1");
    add_verb(app, line, {"drain"}, "call it unhealthy, so that clients are sent elsewhere; serve them still");
    add_verb(app, line, {"resume"}, "call it healthy again, when it is");
    add_verb(app, line, {"log-level"}, "what is logged, or what is to be",
             {{"LEVEL", "error, warning or info", optional_word}});
    add_verb(app, line, {"trace"}, "ask the upstreams afresh and show what happens when",
             {{"NAME", "domain name"}, {"TYPE", "record type, such as A or AAAA"}});
    add_verb(app, line, {"rank"}, "show what probes found of the addresses of a cached name",
             {{"NAME", "domain name"}});
    add_verb(app, line, {"quit"}, "end the daemon");
}

} // namespace

void add_commands(CLI::App& app, CommandLine& line) {
    app.add_option("--socket", line.socket, "control socket of the daemon")->capture_default_str();
    app.footer(
        "Unless --socket names it, the control socket is $XDG_RUNTIME_DIR/millrace/control.sock for a user "
        "who may not write to /run/millrace and has one there, else /run/millrace/control.sock.\n"
        "Ends with 0 when it is done, 1 when the daemon refuses or is unhealthy, 2 when the command line is "
        "wrong or no daemon answers.");
    app.add_flag("--json", line.json, "print the JSON object");
    app.add_option("--completion", line.completion)->group(""); // for the build (deploy/meson.build)
    app.fallthrough();                                          // these may also follow the command
    app.require_subcommand(0, 1);
    add_plain(app, line);
    add_cache(app, line);
    add_upstream(app, line);
    add_lists(app, line);
    add_config(app, line);
}

} // namespace millrace::control
