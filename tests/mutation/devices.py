"""Mutations: a device that is reset or taken away while lcores poll."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "worked-on-under-the-lcores", "control/daemon/devices.cpp",
        "        if (one.step == Step::leaving && grace_.passed(one.period)) one.step = Step::waiting;\n",
        "        if (one.step == Step::leaving) one.step = Step::waiting;\n",
        "an lcore is in a driver that is being closed",
        "control_test:DevicesTest.AResetWaits*"),
    Mutation(
        "two-at-a-time", "control/daemon/devices.cpp",
        "now >= one.due && !helper_.valid()) start(one, now);\n",
        "now >= one.due) start(one, now);\n",
        "a tick waits for the driver that is at work, and DPDK's lists of devices are changed by two threads",
        "control_test:DevicesTest.NoTickWaits*"),
    Mutation(
        "reset-without-end", "control/daemon/devices.cpp",
        "    one.pause = std::clamp(2 * one.pause, first_pause, longest_pause);\n",
        "    one.pause = first_pause;\n",
        "a broken device is reset once a second for good",
        "control_test:DevicesTest.AResetThatFails*"),
    Mutation(
        "removal-lost-behind-a-reset", "control/daemon/devices.cpp",
        "    if (one.step == Step::at_work) return;\n",
        "    if (one.step == Step::at_work) return void(one.device->wish());\n",
        "the kernel waits for good for a device that it has asked for",
        "control_test:DevicesTest.ARemovalDuring*"),
    Mutation(
        "polls-while-suspended", "dataplane/ethdev_port.cpp",
        "    if (is_suspended()) return;\n",
        "",
        "an lcore receives from a driver that is being closed",
        "ethdev_test:DeviceTest.ASuspended*"),
    Mutation(
        "sends-while-suspended", "dataplane/ethdev_port.cpp",
        "    bool may_send = !is_suspended(); // else what is enabled on the ethdev may be changing\n",
        "    bool may_send = true;\n",
        "a woken waiter's reply goes into a driver that is being closed",
        "ethdev_test:DeviceTest.ASuspended*"),
    Mutation(
        "sends-for-the-kernel-while-suspended", "dataplane/ethdev_port.cpp",
        "    unsigned sent = is_suspended() ? 0 : transmit(mbufs.data(), count);\n",
        "    unsigned sent = transmit(mbufs.data(), count);\n",
        "what the kernel sends goes into a driver that is being closed",
        "ethdev_test:ExceptionTest.ASuspended*"),
]
