// Owners of what ldns allocates. A null one means that memory is exhausted. Control thread only.
#pragma once

#include <memory>

#include "control/message/ldns.hpp"

namespace millrace::control {

struct LdnsDeleter {
    void operator()(ldns_pkt* packet) const { ldns_pkt_free(packet); }
    void operator()(ldns_buffer* buffer) const { ldns_buffer_free(buffer); }
    void operator()(ldns_rr* record) const { ldns_rr_free(record); }
};
using PacketHandle = std::unique_ptr<ldns_pkt, LdnsDeleter>;
using BufferHandle = std::unique_ptr<ldns_buffer, LdnsDeleter>;
using RecordHandle = std::unique_ptr<ldns_rr, LdnsDeleter>;

} // namespace millrace::control
