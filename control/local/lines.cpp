#include "control/local/lines.hpp"

#include <climits>

#include "control/limits.hpp"

namespace millrace::control {

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
