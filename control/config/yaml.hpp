// Walking a YAML document by a schema, with a sticky error.
//
// A Value is a value in the document together with its dotted path and line. Its readers give the typed
// value, or note what is wrong in the Document and give a harmless one; only the first complaint is kept, so
// a caller reads everything and looks once at the end. A map is read by a table of its keys: what is in the
// file and not in the table is an error, as is a key given twice. yaml-cpp may throw; parse_config catches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "cache/time.hpp"
#include "control/config/config.hpp"

namespace millrace::control::yaml {

/// Where complaints go: the file's name and the first of them.
struct Document {
    std::string file;
    std::optional<ConfigError> error;
};

class Value {
  public:
    using Read = std::function<void(const Value&)>;
    using Member = std::pair<const char*, Read>;

    Value(Document& document, YAML::Node node, std::string path, int line);

    /// Calls each present key's Read. Not a map, an unknown key, a key given twice: an error.
    void map(std::initializer_list<Member> members) const;
    /// Calls `read` for each item of a list of at most `most`.
    void list(std::size_t most, const Read& read) const;

    enum class Emptiness { refused, allowed };
    std::string text(const char* expected, Emptiness empty = Emptiness::refused) const; ///< printable ASCII
    /// An unquoted decimal within [least, most].
    std::uint64_t number(std::uint64_t least, std::uint64_t most) const;
    bool flag() const;                                            ///< true or false
    Time duration(Time least, Time most) const;                   ///< "50ms", "3s", "5m", "1h", "1d"
    std::size_t bytes(std::size_t least, std::size_t most) const; ///< "64KiB", "512MiB", "1GiB", "1048576"

    /// The value of one of this map's keys; when it is absent, nothing, on this map's line.
    Value at(const char* key) const;
    /// Notes an error here: `found` describes the value unless given.
    void fail(std::string expected, std::string found = {}) const;
    bool ok() const { return !document_->error; }
    bool is_map() const { return node_.IsMap(); }
    bool is_null() const { return node_.IsNull(); } ///< also of a key that is not there

  private:
    Value child(const std::string& key, const YAML::Node& key_node, const YAML::Node& value) const;
    bool is_new(const std::string& key, const YAML::Node& key_node, std::vector<std::string>& seen) const;
    void fail_at(int line, const std::string& key, std::string expected, std::string found) const;

    Document* document_;
    YAML::Node node_;
    std::string path_;
    int line_;
};

/// A value as it stands in an error: quoted, what is not printable ASCII escaped, cut when long.
std::string quote(std::string_view text);

/// The shortest exact text: 90s, 1m, 1d; 1GiB, 1536MiB.
std::string duration_text(Time value);
std::string bytes_text(std::size_t value);

} // namespace millrace::control::yaml
