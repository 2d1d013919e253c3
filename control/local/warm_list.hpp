// The file of names that are kept warm: a name a line, and behind it the types that are asked for, A and AAAA
// where there are none.
//
//     www.example.com
//     example.com  A AAAA MX      # a comment
//
// What is no name, or no type that can be looked up, makes its line be skipped, counted and named, as in
// block lists. Memory is bounded: limits::warm_names, limits::warm_types. Threads: a plain value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "cache/key.hpp"
#include "control/local/block_list.hpp"

namespace millrace::control {

class WarmList {
  public:
    void add(const cache::Key& key);
    std::size_t size() const { return questions_.size(); }
    /// What a client with neither DO nor CD asks for, which is asked for both (control/fetch/table.hpp). Its
    /// group is yet to be found.
    cache::Key key(std::size_t index) const;

  private:
    struct Question {
        std::uint32_t name; ///< where it begins in `names_`
        std::uint16_t qtype;
        std::uint8_t octets; ///< of the name
    };
    std::vector<Question> questions_;
    std::string names_; ///< wire format; a Key for each would take ten times as much
};

/// Adds to `out`. Refused is what is no file, or has too many names.
tl::expected<BlockListResult, ConfigError> read_warm_list(const std::string& path, WarmList& out);

} // namespace millrace::control
