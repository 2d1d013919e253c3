#include "control/config/control_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include <sys/un.h>
#include <unistd.h>

namespace millrace::control {

namespace {

constexpr const char* folder_of_root = "/run/millrace";

bool may_use_run() {
    if (::access(folder_of_root, W_OK) == 0) return true;
    return errno == ENOENT && ::access("/run", W_OK) == 0;
}

std::string socket_in(std::string_view folder) {
    return std::string(folder) + "/control.sock";
}

} // namespace

std::string control_socket_of(bool may_use_run, const char* runtime_folder) {
    std::string_view folder = runtime_folder ? runtime_folder : "";
    std::string own = socket_in(std::string(folder) + "/millrace");
    bool fits = folder.starts_with('/') && own.size() < sizeof(sockaddr_un::sun_path) &&
                std::ranges::all_of(own, [](char c) { return c >= ' ' && c <= '~'; });
    return !may_use_run && fits ? own : socket_in(folder_of_root);
}

std::string default_control_socket() {
    return control_socket_of(may_use_run(), std::getenv("XDG_RUNTIME_DIR"));
}

std::string control_socket_to_ask() {
    std::string own = default_control_socket();
    return ::access(own.c_str(), F_OK) == 0 ? own : socket_in(folder_of_root);
}

} // namespace millrace::control
