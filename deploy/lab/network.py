"""The subscribers' namespace and the veth pair to it. No static neighbours: ARP and NDP have to work by themselves."""

import json
import os

from .children import LabError, run

MARK = "millrace-lab"  # the alias of our interfaces, a namespace's lo too: what does not carry it is not ours to remove


def make(names, begun):
    """`begun` is a file that says so while the namespace has no mark yet."""
    space = names.namespace
    if _alias(names.edge) is not None:
        raise LabError(f"there is an interface {names.edge} already, and it is not the lab's: remove or rename it")
    if _exists(space):
        raise LabError(f"there is a network namespace {space} already, and it is not the lab's: if nothing needs it, "
                       f"remove it with `ip netns del {space}`")
    begun.touch()
    _ip("netns", "add", space)
    _ip("-n", space, "link", "set", "lo", "alias", MARK)
    begun.unlink()
    # One queue: veth has as many as there are CPUs otherwise, and those without an AF_XDP socket stay with the kernel.
    _ip("link", "add", names.edge, "numrxqueues", 1, "numtxqueues", 1, "type", "veth",
        "peer", "name", names.sub, "numrxqueues", 1, "numtxqueues", 1, "netns", space)
    _ip("link", "set", names.edge, "alias", MARK)
    # nodad: the addresses can be used at once instead of after a second of duplicate address detection.
    _ip("addr", "add", f"{names.edge4}/24", "dev", names.edge)
    _ip("addr", "add", f"{names.edge6}/64", "dev", names.edge, "nodad")
    _ip("-n", space, "addr", "add", f"{names.sub4}/24", "dev", names.sub)
    _ip("-n", space, "addr", "add", f"{names.sub6}/64", "dev", names.sub, "nodad")
    _ip("link", "set", names.edge, "up")
    _ip("-n", space, "link", "set", names.sub, "up")
    _ip("-n", space, "link", "set", "lo", "up")


def add_pair(names, edge, sub, queues, addresses):
    """One more veth pair to the subscribers, of so many queues at both ends, with (near, far) addresses and the lengths
    of their prefixes. It goes with the subscribers' namespace."""
    space, count = names.namespace, ("numrxqueues", queues, "numtxqueues", queues)
    _ip("link", "add", edge, *count, "type", "veth", "peer", "name", sub, *count, "netns", space)
    _ip("link", "set", edge, "alias", MARK)
    for near, far in addresses:
        nodad = ("nodad",) if ":" in near else ()
        _ip("addr", "add", near, "dev", edge, *nodad)
        _ip("-n", space, "addr", "add", far, "dev", sub, *nodad)
    _ip("link", "set", edge, "up")
    _ip("-n", space, "link", "set", sub, "up")


def add_address(names, address):
    """One more at the subscribers' end."""
    _ip("-n", names.namespace, "addr", "add", f"{address}/24", "dev", names.sub)


def remove(names, begun):
    if _alias(names.edge) == MARK:
        _ip("link", "del", names.edge)
    if _exists(names.namespace) and (begun.exists() or _alias("lo", "-n", names.namespace) == MARK):
        _ip("netns", "del", names.namespace)


def _exists(space):
    return os.path.exists(f"/run/netns/{space}")


def _alias(interface, *where):
    """The interface's alias, "" without one, None without such an interface."""
    shown = run(["ip", *where, "-j", "link", "show", "dev", interface])
    return None if shown.returncode else json.loads(shown.stdout)[0].get("ifalias", "")


def _ip(*arguments):
    done = run(["ip", *map(str, arguments)])
    if done.returncode:
        raise LabError(f"ip {' '.join(map(str, arguments))}: {done.stdout.strip()} (it needs root and CAP_NET_ADMIN; in a "
                       "container: --privileged)")
