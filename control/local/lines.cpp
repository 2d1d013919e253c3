#include "control/local/lines.hpp"

#include <climits>

#include "control/limits.hpp"

namespace millrace::control {

bool Lines::next() {
    text_.clear();
    is_cut_ = false;
    int octet = getc_unlocked(file_);
    if (octet == EOF) return false;
    for (; octet != EOF && octet != '\n'; octet = getc_unlocked(file_)) {
        if (text_.size() == limits::list_line)
            is_cut_ = true;
        else
            text_.push_back(char(octet));
    }
    if (!is_cut_ && text_.ends_with('\r')) text_.pop_back();
    number_ += number_ < INT_MAX;
    if (number_ == 1 && text_.starts_with("\xef\xbb\xbf")) text_.erase(0, 3);
    return true;
}

} // namespace millrace::control
