// From the YAML document to a Config: which keys there are, and what each may be.
#pragma once

#include "control/config/config.hpp"
#include "control/config/yaml.hpp"

namespace millrace::control {

/// Reads the whole document. When it has an error, root.ok() is false and the result is not to be used.
Config read_config(const yaml::Value& root);

} // namespace millrace::control
