// A folder of the test's own, which goes with it.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

#include <stdlib.h>

namespace millrace::test {

class TemporaryFolder {
  public:
    TemporaryFolder() {
        // mkdtemp(3) wants six of a letter to put its own in the place of.
        std::string name =
            (std::filesystem::temp_directory_path() / ("millrace-" + std::string(6, 'X'))).string();
        if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder: " + name);
        path_ = name;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code none;
        std::filesystem::remove_all(path_, none);
    }

    const std::filesystem::path& path() const { return path_; }
    std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  private:
    std::filesystem::path path_;
};

} // namespace millrace::test
