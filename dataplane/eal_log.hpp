// DPDK's own log, as the operator gets it.
#pragma once

#include <string_view>

namespace millrace::dataplane {

/// Takes a whole message, without its line's end; how grave it is as DPDK has
/// it (RTE_LOG_ERR, ...). Called by whichever thread logs. Must not throw.
using EalLog = void (*)(unsigned level, std::string_view message);

/// Where what DPDK logs is to go, but for what means nothing here;
/// before Eal::start. Unless somebody says, it goes to standard error.
void send_eal_log_to(EalLog log);

/// Before EAL starts, which would write to stdout and to syslog. Control thread.
void take_eal_log();

/// Whether a message means nothing here: that there are no hugepages of a size which nobody asked for (of
/// 1 GiB, at every start), or of a node. Those that are needed have been counted before.
bool is_eal_noise(std::string_view message);

} // namespace millrace::dataplane
