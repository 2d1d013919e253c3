// DPDK's own log, as the operator gets it.
#pragma once

#include <string_view>

namespace millrace::dataplane {

/// Sends what DPDK logs to stderr, without what means nothing here. Before EAL starts, which would write to
/// stdout and to syslog. Control thread; what DPDK's threads log later takes the same way.
void take_eal_log();

/// Whether a message means nothing here: that there are no hugepages of a size which nobody asked for (of
/// 1 GiB, at every start), or of a node. Those that are needed have been counted before.
bool is_eal_noise(std::string_view message);

} // namespace millrace::dataplane
