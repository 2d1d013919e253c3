// The command line of millracectl: which verbs and options there are, and what is asked of the daemon.
//
// A verb's arguments go to the daemon as they are; what they may be is for it to say.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "control/config/control_socket.hpp"

namespace millrace::control {

struct CommandLine {
    std::string socket = control_socket_to_ask();
    bool json = false;
    double watch = 0;               ///< seconds between two looks; 0: one look
    bool is_rates = false;          ///< what is watched are counters
    std::string text_member;        ///< of the reply, printed as it is
    std::string file;               ///< `config check FILE`, which needs no daemon
    std::string completion;         ///< the shell that wants one
    std::vector<std::string> words; ///< of the request
};

/// Both outlive the parsing.
void add_commands(CLI::App& app, CommandLine& line);

/// For bash or zsh: a script that completes each verb and option of `app`, and what arguments may be.
std::string completion_script(const CLI::App& app, const std::string& shell);

} // namespace millrace::control
