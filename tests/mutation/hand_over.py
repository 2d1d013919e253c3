"""Mutations: a daemon that another one takes over from."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "a-retired-socket-still-receives", "dataplane/socket_port.cpp",
        "    if (is_retired()) return;\n",
        "",
        "the older daemon takes what the newer one is there for, and ends with it",
        "dataplane_test:WorkerTest.ARetired*"),
    Mutation(
        "polls-while-the-port-is-away", "dataplane/worker.cpp",
        "            descriptor == Port::polled ? idler.after(busy) : idler.rest();\n",
        "            idler.after(busy);\n",
        "two daemons' lcores poll on one CPU",
        "ethdev_test:IdleTest.APortThatIsAway*"),
    Mutation(
        "a-device-that-was-given-up-is-looked-for", "control/daemon/devices.cpp",
        "    if (one.job == Job::bring_back) one.due = Time::max();\n",
        "",
        "the older daemon takes the NIC from the newer one",
        "control_test:DevicesTest.AllAreGivenUp*"),
    Mutation(
        "a-device-in-work-is-left-behind", "control/daemon/devices.cpp",
        "    return std::ranges::all_of(\n        all_, [](const One& one) { return one.step == Step::waiting && one.job == Job::bring_back; });\n",
        "    return std::ranges::none_of(all_, [](const One& one) { return one.step == Step::serving; });\n",
        "the newer daemon opens a device that the older one's driver works on",
        "control_test:DevicesTest.AllAreGivenUp*"),
    Mutation(
        "the-older-daemon-removes-the-socket", "control/command/server.cpp",
        "    bool ours = owns_file_ && ",
        "    bool ours = ",
        "nobody can reach the newer daemon",
        "control_test:CommandSocket.ASuccessor*"),
    Mutation(
        "flushed-while-handing-over", "control/command/protocol.cpp",
        "        if (!held_.empty() && verb->second.effect == Effect::change) return responder.fail(held_);\n",
        "",
        "a name that was flushed comes back with the newer daemon's cache",
        "control_test:Commands.WhatIsHeld*"),
]
