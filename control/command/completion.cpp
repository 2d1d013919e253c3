#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "control/command/command_line.hpp"
#include "control/config/choices.hpp"
#include "control/config/differences.hpp"

namespace millrace::control {

namespace {

struct Choice {
    std::string word, help;
};

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App* verb) { return !verb->get_name().empty(); });
}

/// Verbs and options that may follow the words of `app`.
std::vector<Choice> choices_of(const CLI::App& app) {
    std::vector<Choice> choices;
    for (const CLI::App* verb : verbs_of(app)) choices.push_back({verb->get_name(), verb->get_description()});
    auto add = [&](const CLI::App& of) {
        for (const CLI::Option* option : of.get_options()) {
            bool is_shown = !option->get_positional() && !option->get_group().empty();
            bool is_own = &of == &app || option != of.get_help_ptr();
            if (is_shown && is_own)
                choices.push_back({"--" + option->get_lnames().at(0), option->get_description()});
        }
    };
    for (const CLI::App* at = &app; at; at = at->get_parent()) {
        add(*at);
        auto groups = at->get_subcommands([](const CLI::App* a) { return a->get_name().empty(); });
        for (const CLI::App* group : groups) add(*group);
    }
    return choices;
}

std::string bash_words(const CLI::App& app) {
    std::string words;
    for (const Choice& choice : choices_of(app)) words += (words.empty() ? "" : " ") + choice.word;
    return words;
}

std::string zsh_words(const CLI::App& app) {
    std::string words;
    for (auto [word, help] : choices_of(app)) {
        for (std::size_t at = 0; (at = help.find('\'', at)) != help.npos; at += 4)
            help.replace(at, 1, "'\\''");
        words += fmt::format(" '{}:{}'", word, help);
    }
    return words;
}

/// A case for each place in the tree of verbs.
template <class Write>
std::string cases_of(const CLI::App& app, const std::string& path, Write write) {
    std::string out = fmt::format("    '{}') {} ;;\n", path, write(app));
    for (const CLI::App* verb : verbs_of(app)) out += cases_of(*verb, path + " " + verb->get_name(), write);
    return out;
}

std::string places_of(const CLI::App& app) {
    std::string all;
    auto collect = [&](const CLI::App& of, const std::string& path, auto& self) -> void {
        for (const CLI::App* verb : verbs_of(of)) {
            std::string place = path + " " + verb->get_name();
            all += fmt::format("        '{}') place='{}' count=0 ;;\n", place, place);
            self(*verb, place, self);
        }
    };
    collect(app, "", collect);
    return all;
}

/// Of the defaults, where lists are empty: no key within one.
std::string keys_below(std::string_view prefix) {
    std::string keys;
    for (const auto& [key, value] : values_of(Config{})) {
        if (key.starts_with(prefix)) keys += (keys.empty() ? "" : " ") + key.substr(prefix.size());
    }
    return keys;
}

/// Where a word is an argument of which it is known what it may be. What the daemon is asked for is nothing
/// when it does not say so within a second.
std::string values_of_arguments() {
    std::string levels;
    for (const auto& level : log_levels) levels += (levels.empty() ? "" : " ") + std::string(level.name);
    auto words = [](const std::string& all) { return "kind=values values='" + all + "'"; };
    auto ask = [](const char* members) {
        return fmt::format("kind=values values=$(_millracectl_ask '{}')", members);
    };
    const std::pair<const char*, std::string> cases[] = {
        {"--socket=* | *:--socket", "kind=files"},
        {"-*", ":"},
        {"*' config check':0:*", "kind=files"},
        {"*' config set':0:* | *' config show':0:*", words(keys_below(""))},
        {"*' log-level':0:*", words(levels)},
        {"*' ratelimit set':0:*", words(keys_below("limits."))},
        {"*' upstream up':0:* | *' upstream down':0:* | *' upstream auto':0:* | *' upstream remove':0:*",
         ask("address|name")},
        {"*' upstream add':1:* | *' upstream remove':1:* | *' cache flush':*:--group", ask("group")},
    };
    std::string all;
    for (const auto& [pattern, then] : cases) all += fmt::format("    {}) {} ;;\n", pattern, then);
    return all;
}

/// Both shells understand this. `place` collects the words that are verbs, `count` those behind that are no
/// options; `kind` is what to offer for the current word.
std::string find_place(const CLI::App& app) {
    return "        if [[ $previous == --socket ]]; then\n"
           "            socket=(--socket \"$word\")\n"
           "        else\n"
           "        case \"$place $word\" in\n" +
           places_of(app) +
           "        *' --socket='*) socket=(\"$word\") ;;\n"
           "        *' -'* | *' ') ;;\n"
           "        *) count=$((count + 1)) ;;\n"
           "        esac\n"
           "        fi\n"
           "        previous=$word\n"
           "    done\n"
           "    case \"$current$place:$count:$previous\" in\n" +
           values_of_arguments() + "    esac\n";
}

/// Words with anything in them that a shell might take for more are left out.
constexpr const char* ask_daemon = R"sh(_millracectl_ask() {
    timeout 1 "$program" "${socket[@]}" --json upstream list 2>/dev/null |
        grep -oE "\"($1)\":\"[][A-Za-z0-9.:%_-]+\"" | cut -d'"' -f4 | sort -u
}
)sh";

/// COMP_WORDS is split at the colons of endpoints, which the line is not; and of what stands before the last
/// of them, replies are to be without.
constexpr const char* bash_begin = R"sh(_millracectl() {
    local line=${COMP_LINE:0:COMP_POINT} program=$1 place='' previous='' count=0
    local kind=words word words='' values=''
    local -a given socket=() choices
    read -ra given <<< "$line"
    [[ $line == *[[:space:]] ]] && given+=('')
    local current=${given[-1]}
    for word in "${given[@]:1:${#given[@]}-2}"; do
)sh";
constexpr const char* bash_end = R"sh(    esac
    COMPREPLY=()
    [[ $kind == files ]] && compopt -o default && return
    [[ $kind == values ]] && words=$values
    read -rd '' -a choices <<< "$words"
    local before=${current%"${current##*["$COMP_WORDBREAKS"]}"}
    for word in "${choices[@]}"; do
        [[ $word == "$current"* ]] && COMPREPLY+=("${word#"$before"}")
    done
}
complete -F _millracectl millracectl
)sh";

constexpr const char* zsh_begin = R"sh(_millracectl() {
    local program=$words[1] current=$words[CURRENT] place='' previous='' count=0
    local kind=choices word values=''
    local -a choices socket
    for word in "${(@)words[2,CURRENT-1]}"; do
)sh";
constexpr const char* zsh_end = R"sh(    esac
    case $kind in
    files) compset -P '--socket='; _files ;;
    values) compadd -- ${=values} ;;
    *) _describe 'millracectl' choices ;;
    esac
}
_millracectl "$@"
)sh";

std::string bash_script(const CLI::App& app) {
    auto write = [](const CLI::App& of) { return fmt::format("words='{}'", bash_words(of)); };
    return std::string("# bash completion for millracectl, as `millracectl --completion bash` prints it.\n") +
           ask_daemon + bash_begin + find_place(app) + "    case \"$place\" in\n" + cases_of(app, "", write) +
           bash_end;
}

std::string zsh_script(const CLI::App& app) {
    auto write = [](const CLI::App& of) { return fmt::format("choices=({} )", zsh_words(of)); };
    return std::string("#compdef millracectl\n"
                       "# zsh completion for millracectl, as `millracectl --completion zsh` prints it.\n") +
           ask_daemon + zsh_begin + find_place(app) + "    case \"$place\" in\n" + cases_of(app, "", write) +
           zsh_end;
}

} // namespace

std::string completion_script(const CLI::App& app, const std::string& shell) {
    return shell == "zsh" ? zsh_script(app) : bash_script(app);
}

} // namespace millrace::control
