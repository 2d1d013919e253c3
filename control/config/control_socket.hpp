// Where the control socket is when neither the configuration nor the command line says.
//
// /run/millrace is root's; for who may not write there it is in $XDG_RUNTIME_DIR. Threads: pure, but for the
// environment and the file system that they read.
#pragma once

#include <string>

namespace millrace::control {

/// The daemon's.
std::string default_control_socket();

/// The one that a client asks: the daemon's of its own user, else root's.
std::string control_socket_to_ask();

/// Of who may write to /run/millrace, or may not; `runtime_folder` is null when the environment has none. One
/// that is not absolute, or too long for a socket's path, is none.
std::string control_socket_of(bool may_use_run, const char* runtime_folder);

} // namespace millrace::control
