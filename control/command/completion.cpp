#include <fmt/format.h>

#include "control/command/command_line.hpp"

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

/// `place` collects the words that are verbs; both shells understand this.
constexpr const char* find_place = R"(        case "$place $word" in
{}        esac
)";

std::string places_of(const CLI::App& app) {
    std::string all;
    auto collect = [&](const CLI::App& of, const std::string& path, auto& self) -> void {
        for (const CLI::App* verb : verbs_of(of)) {
            std::string place = path + " " + verb->get_name();
            all += fmt::format("        '{}') place='{}' ;;\n", place, place);
            self(*verb, place, self);
        }
    };
    collect(app, "", collect);
    return fmt::format(find_place, all);
}

std::string bash_script(const CLI::App& app) {
    auto write = [](const CLI::App& of) { return fmt::format("words='{}'", bash_words(of)); };
    return "# bash completion for millracectl, as `millracectl --completion bash` prints it.\n"
           "_millracectl() {\n"
           "    local word place='' words=''\n"
           "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n" +
           places_of(app) + "    done\n    case \"$place\" in\n" + cases_of(app, "", write) +
           "    esac\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
           "}\n"
           "complete -o default -F _millracectl millracectl\n";
}

std::string zsh_script(const CLI::App& app) {
    auto write = [](const CLI::App& of) { return fmt::format("choices=({} )", zsh_words(of)); };
    return "#compdef millracectl\n"
           "# zsh completion for millracectl, as `millracectl --completion zsh` prints it.\n"
           "_millracectl() {\n"
           "    local word place=''\n"
           "    local -a choices\n"
           "    for word in \"${(@)words[2,CURRENT-1]}\"; do\n" +
           places_of(app) + "    done\n    case \"$place\" in\n" + cases_of(app, "", write) +
           "    esac\n"
           "    _describe 'millracectl' choices || _files\n"
           "}\n"
           "_millracectl \"$@\"\n";
}

} // namespace

std::string completion_script(const CLI::App& app, const std::string& shell) {
    return shell == "zsh" ? zsh_script(app) : bash_script(app);
}

} // namespace millrace::control
