// A text of metrics, as Prometheus reads it (its exposition format 0.0.4), on prometheus-cpp's serializer.
// Names and units follow Prometheus' conventions: base units, _total of what only grows.
//
// Not for several threads at once.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/histogram.hpp"

namespace millrace::control {

class Exposition {
  public:
    /// Name and value of each; one with an empty value is left out.
    using Labels = std::vector<std::pair<const char*, std::string>>;
    /// Which bounds of a histogram are shown, as each is a series: from `first` (nanoseconds) to `last`.
    struct Range {
        std::uint64_t first, last;
    };

    Exposition();
    ~Exposition();

    // One series; the family is the one of its name, in the order in which they first came. No two series of
    // a family have the same labels. `help` is the family's.

    void counter(const std::string& name, const std::string& help, const Labels& labels, double value);
    void gauge(const std::string& name, const std::string& help, const Labels& labels, double value);
    void histogram(const std::string& name, const std::string& help, const Labels& labels,
                   const dataplane::Histogram& counts, Range range); ///< in seconds

    std::string text() const;

  private:
    struct Families;
    std::unique_ptr<Families> families_;
};

} // namespace millrace::control
