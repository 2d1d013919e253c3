"""Mutations: what the service manager is told, and what is left of privileges."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "alive-whatever-stands-still", "control/daemon/service_manager.cpp",
        "if (pulse_ && is_alive && now >= pulse_due_",
        "if (pulse_ && now >= pulse_due_",
        "an lcore that stands still is never noticed, and its queue's clients get no answers",
        "control_test:ServiceManager.HearsNoSign*"),
    Mutation(
        "ready-is-lost", "control/daemon/service_manager.cpp",
        "    unsent_.push_back(std::move(words));\n",
        "",
        "a manager that was busy for a moment takes a start or reload for one that never ends",
        "control_test:ServiceManager.IsNotWaitedFor"),
    Mutation(
        "others-keep-theirs", "control/daemon/privileges.cpp",
        "        if (told.insert(thread).second) tgkill(getpid(), thread, signal);\n",
        "        break;\n",
        "whoever takes over one of DPDK's threads has all capabilities that the start took",
        "control_test:Privileges.EveryThread*"),
    Mutation(
        "programs-may-gain", "control/daemon/privileges.cpp",
        "    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);\n",
        "",
        "a daemon that was taken over gains what it gave up by running a setuid program",
        "control_test:Privileges.NothingCanBeGained*"),
    Mutation(
        "any-group-commands", "control/command/server.cpp",
        "    if (::chmod(address.name.sun_path, mode) < 0)",
        "    if (::chmod(address.name.sun_path, 0660) < 0)",
        "a group commands that was not to",
        "control_test:CommandSocket.ModeAndGroup*"),
]
