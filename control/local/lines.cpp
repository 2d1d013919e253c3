#include "control/local/lines.hpp"

#include <cerrno>
#include <climits>
#include <cstring>

#include <sys/stat.h>

#include "control/limits.hpp"

namespace millrace::control {

tl::expected<ListFile, ConfigError> open_list(const std::string& path) {
    auto refuse = [&](const char* expected, const char* found) {
        return tl::unexpected(ConfigError{path, 0, "", expected, found});
    };
    struct stat status {};
    if (::stat(path.c_str(), &status) < 0) return refuse("a readable file", std::strerror(errno));
    // A FIFO would be waited for.
    if (!S_ISREG(status.st_mode)) return refuse("a regular file", "something else");
    ListFile file(std::fopen(path.c_str(), "re"), std::fclose);
    if (!file) return refuse("a readable file", std::strerror(errno));
    return file;
}

bool Lines::fill() {
    rest_ = {buffer_.data(), std::fread(buffer_.data(), 1, buffer_.size(), file_)};
    return !rest_.empty();
}

bool Lines::next() {
    text_.clear();
    is_cut_ = false;
    if (rest_.empty() && !fill()) return false;
    for (bool ended = false; !ended && (!rest_.empty() || fill());) {
        std::size_t end = rest_.find('\n');
        ended = end != rest_.npos;
        std::string_view piece = rest_.substr(0, end);
        rest_.remove_prefix(piece.size() + ended);
        is_cut_ = is_cut_ || piece.size() > limits::list_line - text_.size();
        text_ += piece.substr(0, limits::list_line - text_.size());
    }
    if (!is_cut_ && text_.ends_with('\r')) text_.pop_back();
    number_ += number_ < INT_MAX;
    if (number_ == 1 && text_.starts_with("\xef\xbb\xbf")) text_.erase(0, 3);
    return true;
}

} // namespace millrace::control
