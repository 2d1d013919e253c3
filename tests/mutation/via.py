"""Mutations: upstreams that are asked by a port."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "replies-of-anybody", "dataplane/frame.cpp",
        "std::ranges::binary_search(remotes, from)",
        "from.port != 0",
        "whoever sends to a source address floods control, and the kernel loses its packets",
        "ethdev_test:UpstreamPortTest.WhatIsNoReply*"),
    Mutation(
        "replies-to-privileged-ports", "dataplane/frame.cpp",
        "to.port >= first_source_port && ",
        "",
        "what is for a service of the machine's goes to control",
        "ethdev_test:UpstreamPortTest.WhatIsNoReply*"),
    Mutation(
        "a-reply-to-a-group", "dataplane/frame.cpp",
        "to_group || !peers_",
        "!peers_",
        "a reply in a broadcast frame is taken",
        "ethdev_test:UpstreamPortTest.WhatIsNoReply*"),
    Mutation(
        "queries-of-a-suspended-port-are-sent", "dataplane/ethdev_port.cpp",
        "    unsigned sent = is_suspended() ? 0 : transmit(mbufs.data(), count);\n    counters.add(event, sent);",
        "    unsigned sent = transmit(mbufs.data(), count);\n    counters.add(event, sent);",
        "an lcore is in a driver that is being reset",
        "ethdev_test:UpstreamPortTest.ASuspended*"),
    Mutation(
        "a-reply-to-any-socket-of-the-port", "control/upstream/port_network.cpp",
        "seats_[index].local != local || seats_[index].remote != remote",
        "seats_[index].local.port != local.port",
        "a server answers another one's question",
        "control_test:*PortNetworkTest.OneSocket*"),
    Mutation(
        "a-closed-socket-keeps-its-bucket", "control/upstream/port_network.cpp",
        "    *link = seat->next;\n",
        "",
        "a late reply reaches whoever has the place by then",
        "control_test:All/NetworkTest.*"),
    Mutation(
        "handles-come-again", "control/upstream/port_network.cpp",
        "    if (++seat.serial == 0) ++seat.serial; // 0 would be nobody's\n",
        "    seat.serial = 1;\n",
        "a closed handle closes somebody else's socket",
        "control_test:All/NetworkTest.AClosedSocket*"),
    Mutation(
        "no-way-is-no-query", "control/upstream/port_network.cpp",
        "    if (!hop || !path.has_room(seat->remote.address, message.size()))",
        "    if (!hop) return {};\n    if (!path.has_room(seat->remote.address, message.size()))",
        "resends are lost while the port has no way",
        "control_test:*PortNetworkTest.ASocketWhoseWay*"),
    Mutation(
        "nobody-is-told-who-is-asked", "control/upstream/port_network.cpp",
        "    if (ports_[port].take_from(known)) return true;\n",
        "    return true;\n",
        "the lcores drop every reply",
        "control_test:*PortNetworkTest.WhoIsAsked*"),
    Mutation(
        "closed-port-takes-places", "dataplane/upstream_path.cpp",
        "    if (!open_.is_open(reply->destination.port)) return Verdict::drop_unasked;\n",
        "",
        "whoever forges an upstream's address keeps its replies out of the ring",
        "control_test:*PortNetworkTest.Replies*"),
]
