"""What is cached outlives the daemon: a file that is written at the end, at intervals and on command."""

import os
import shutil
import socket

import pytest

from conftest import NOBODY, socket_config
from support import addresses, held, stop, until
from upstream import Script

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def folder(lab):
    path = lab.folder / "store"
    path.mkdir()
    os.chown(path, 65534, 65534)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start(lab, daemon, upstreams, folder):
    def run(servers=None, prefix=(), **cache):
        servers = servers or [upstreams[0].endpoint]
        return daemon(socket_config(lab, servers, cache={"file": str(folder / "cache"), **cache}), [*prefix, *NOBODY])
    return run


def hits(one):
    return one.ctl("stats")["hits"]


def is_loaded(one):
    return until(lambda: "answers taken into the cache" in one.last_lines())


@pytest.mark.quick
def test_a_restart_does_not_begin_cold(start, local, upstreams, folder):
    one = start()
    names = [f"s{i}.example." for i in range(20)]
    for name in names:
        assert addresses(local.ask(name)) == ["192.0.2.200"]
    ttl = local.ask(names[0]).answer[0].ttl
    stop(one)
    assert (folder / "cache").stat().st_mode & 0o777 == 0o600
    one = start()
    assert is_loaded(one), one.last_lines()
    before = sum(upstreams[0].asked.values())
    for name in names:
        reply = local.ask(name)
        assert addresses(reply) == ["192.0.2.200"] and reply.answer[0].ttl <= ttl, "no life is longer than it was"
    assert sum(upstreams[0].asked.values()) == before and hits(one) == len(names)


HOLD = r"""
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int open64(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    unsigned mode = flags & O_CREAT ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    int is_cache = strstr(path, "/store/cache") && (flags & O_ACCMODE) == O_RDONLY;
    while (is_cache && access(getenv("HELD_UNTIL"), F_OK)) usleep(10000);
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
"""


def test_clients_are_served_before_it_has_been_read(start, local, lab, folder):
    one, go = start(), lab.folder / "go"
    local.ask("kept.example.")
    stop(one)
    one = start(prefix=held(lab.folder, HOLD, go))
    try:
        assert [addresses(local.ask("new.example.")) for _ in range(2)] == [["192.0.2.200"]] * 2
        assert hits(one) == 1 and "taken into the cache" not in one.last_lines()
    finally:
        go.touch()
    assert is_loaded(one), one.last_lines()
    go.unlink()
    local.ask("kept.example.")
    assert hits(one) == 2


def test_on_command_and_what_is_flushed_does_not_come_back(start, local, upstreams, folder):
    upstreams[0].scripts["gone.example."] = Script(("gone.example. 300 IN A 192.0.2.1",))
    one = start()
    local.ask("gone.example.")
    local.ask("kept.example.")
    assert one.ctl("cache", "dump") == {"dumped": 4}, "each question's answer without DO and with it"
    assert one.ctl("cache", "load") == {"loaded": 0}, "it takes the place of nothing"
    assert one.ctl("cache", "flush", "gone.example")["flushed"] == 2
    assert until((folder / "cache").exists), "it is written anew"
    one.process.kill()
    one.wait(10)
    upstreams[0].scripts["gone.example."] = Script(("gone.example. 300 IN A 192.0.2.2",))
    one = start()
    assert is_loaded(one), one.last_lines()
    assert addresses(local.ask("gone.example.")) == ["192.0.2.2"]
    local.ask("kept.example.")
    assert hits(one) == 1


def test_a_damaged_or_foreign_file_is_refused_and_the_service_starts(start, local, folder):
    one = start()
    local.ask("a.example.")
    stop(one)
    file = folder / "cache"
    good = file.read_bytes()
    for bad, why in ((good[:-1], "is damaged"), (b"x" * 100, "is no cache of Millrace's"),
                     (good[:200] + b"?" + good[201:], "is damaged")):
        file.write_bytes(bad)
        one = start()
        assert until(lambda one=one, why=why: f"{file} {why}" in one.last_lines()), one.last_lines()
        assert addresses(local.ask("a.example.")) == ["192.0.2.200"]
        assert hits(one) == 0
        stop(one)
        assert file.read_bytes()[:8] == good[:8], "it is replaced"


def test_of_other_upstreams_nothing_is_taken(start, local, upstreams):
    one = start()
    local.ask("a.example.")
    stop(one)
    one = start([upstreams[1].endpoint])
    assert until(lambda: "was written under another configuration" in one.last_lines()), one.last_lines()
    local.ask("a.example.")
    assert hits(one) == 0


def test_killed_while_it_writes_it_loses_that_dump_alone(start, local, folder):
    one = start()
    for i in range(50):
        local.ask(f"k{i}.example.")
    assert one.ctl("cache", "dump") == {"dumped": 100}
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(one.socket))
            s.send(b"cache dump\n")
            one.process.kill()
            one.wait(10)
        one = start()
        assert is_loaded(one), one.last_lines()
        local.ask("k7.example.")
        assert hits(one) == 1


def test_it_is_written_at_intervals_and_where_it_cannot_be_that_is_said(start, local, folder):
    one = start(**{"save-interval": "1s"})
    local.ask("a.example.")
    assert until((folder / "cache").exists, 10)
    one.process.kill()
    one.wait(10)
    shutil.rmtree(folder)
    one = start(**{"save-interval": "1s"})
    assert until(lambda: "the cache is not kept" in one.last_lines(), 10)
    assert "cannot be created" in one.ctl("cache", "dump")["error"]
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    assert until(lambda: "the cache is kept again" in one.last_lines(), 10)
