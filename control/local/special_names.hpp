// The special-use names that a resolver answers itself: RFC 6761, RFC 6303 and what followed them.
#pragma once

#include "dataplane/local_names.hpp"

namespace millrace::control {

void add_special_names(dataplane::LocalNames::Builder& names, unsigned source);

} // namespace millrace::control
