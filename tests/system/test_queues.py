"""AF_XDP on a veth with several queues: an lcore for each, and what is said where there are more or fewer."""

import json
import os

import pytest

from conftest import LCORE, loopback
from lab import network
from lab.children import run
from lab.daemon import xdp_config
from support import Subscriber, until
from test_metrics import scrape, total

CPUS = sorted(os.sched_getaffinity(0))[:2]


class Wide:
    """A veth pair with two queues: its name, and the addresses that DNS is served on."""

    def __init__(self, lab):
        number = lab.names.number
        self.edge, self.sub, self.space = f"mr-wide{number}", f"mr-wsub{number}", lab.names.namespace
        self.lab = lab
        self.addresses = [f"198.19.1{number}.53", f"2001:db8:2{number}::53"]
        far = [f"198.19.1{number}.2/24", f"2001:db8:2{number}::2/64"]
        near = [f"{address}/{bits}" for address, bits in zip(self.addresses, (24, 64), strict=True)]
        network.add_pair(lab.names, self.edge, self.sub, 2, list(zip(near, far, strict=True)))

    def clients(self):
        return [Subscriber(self.lab, address) for address in self.addresses]

    def attached(self):
        return "xdp" in json.loads(run(["ip", "-j", "link", "show", "dev", self.edge]).stdout)[0]

    def set_queues(self, count):
        for command in (["ip", "netns", "exec", self.space, "ethtool", "-L", self.sub], ["ethtool", "-L", self.edge]):
            done = run([*command, "rx", count, "tx", count])
            assert done.returncode == 0 or "no channel parameters changed" in done.stdout, done.stdout

    def remove(self):
        run(["ip", "link", "del", self.edge])


@pytest.fixture
def wide(lab):
    run(["ip", "link", "del", f"mr-wide{lab.names.number}"])
    one = Wide(lab)
    yield one
    one.remove()


@pytest.fixture
def serve(lab, daemon, nsd, wide):
    def start(lcores, more="", metrics="", **options):
        config = xdp_config(lab.names, nsd, LCORE, metrics={"listen": metrics})
        # Lcores that took every CPU would leave the kernel none to tidy up on.
        config["ports"] = [{"device": f"net_af_xdp0,iface={wide.edge}{more}", "lcores": lcores,
                            "addresses": wide.addresses, "idle": "sleep"}]
        one = daemon(config, **options)
        one.http = metrics
        return one

    return start


def port_of(one):
    return next(iter(one.ctl("ports")["ports"].values()))


def ask_until_all_have_answered(one, wide):
    """Each client's port is another flow, and the peer spreads flows over its send queues."""
    asked = 0

    def spread():
        nonlocal asked
        for client in wide.clients():
            for _ in range(10):
                assert client.ask("shared.lab.example").answer
                asked += 1
        return all(worker["received"] > 0 for worker in one.ctl("status")["workers"] if "lcore" in worker)

    assert until(spread, 30), one.ctl("status")["workers"]
    return asked


@pytest.mark.quick
def test_each_lcore_serves_a_queue_and_again_after_kill_9(lab, serve, wide):
    one = serve(CPUS, metrics=f"{loopback(lab)}:9154")
    asked = ask_until_all_have_answered(one, wide)
    assert sum(worker["received"] for worker in one.ctl("status")["workers"]) == asked
    port = port_of(one)
    counts = port["driver_counts"]
    assert port["queues"] == 2 and counts["rx_q0_packets"] > 0 and counts["rx_q1_packets"] > 0
    assert counts["rx_q0_packets"] + counts["rx_q1_packets"] == asked == port["received"]
    text = scrape(one)
    for queue, lcore in enumerate(CPUS):
        labels = {"port": f"net_af_xdp0,iface={wide.edge}", "queue": str(queue)}
        assert total(text, "millrace_queue_info", **labels, lcore=str(lcore)) == 1
        assert total(text, "millrace_queue_received_packets_total", **labels) == counts[f"rx_q{queue}_packets"]
        assert total(text, "millrace_queue_sent_packets_total", **labels) == counts[f"tx_q{queue}_packets"]
    assert total(text, "millrace_queue_dropped_packets_total") == 0
    one.process.kill()
    one.wait()
    again = serve(CPUS)
    ask_until_all_have_answered(again, wide)
    again.ctl("quit")
    assert again.wait() == 0, again.last_lines()
    assert not wide.attached()


def test_what_the_kernel_agreed_to_is_told(serve, wide):
    one = serve(CPUS)
    port = port_of(one)
    assert port["xdp"] == {"program": "native", "zero_copy": False, "need_wakeup": True,
                           "busy_polling": port["xdp"]["busy_polling"]}
    log = one.log.read_text()
    assert f"port net_af_xdp0,iface={wide.edge}: net_af_xdp, 2 queue(s), rings of 1024 to receive" in log
    assert "; native XDP, packets copied, need_wakeup, " in log
    assert "stay with the kernel" not in log
    assert port["sleep"] == {"longest_us": 100, "lossless_packets_per_ms": 5120}
    assert "sleeps for 100 us at most" in log
    (row,) = one.ctl("status")["ports"]
    assert (row["name"], row["link"], row["queues"], row["missed"]) == ("net_af_xdp0", "up", 2, 0)
    assert one.ctl("stats")["ports"] == {"missed": 0, "no_buffer": 0, "receive_errors": 0, "send_errors": 0}


def test_one_lcore_on_the_second_queue(serve, wide):
    """What comes on the first one is the kernel's, which has nobody there."""
    one = serve([LCORE], ",start_queue=1")
    assert f"`ethtool -X {wide.edge} start 1 equal 1` sends them nothing" in one.log.read_text()
    client = wide.clients()[0]
    query = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x06shared\x03lab\x07example\x00\x00\x01\x00\x01"

    def answered():
        try:
            return client.send(query, timeout=0.5)
        except ConnectionRefusedError:
            return None

    assert until(answered, 20)


def test_queues_without_an_lcore_are_warned_of(serve, wide):
    one = serve([LCORE])
    assert (f"interface {wide.edge} has 2 receive queues but 1 lcore(s): DNS queries on the other queues stay with the "
            f"kernel; `ethtool -L {wide.edge} rx 1 tx 1` leaves it as many queues as lcores") in one.log.read_text()
    one.ctl("quit")
    assert one.wait() == 0
    wide.set_queues(1)
    one = serve([LCORE])
    assert "stay with the kernel" not in one.log.read_text()
    for client in wide.clients():
        for _ in range(20):
            assert client.ask("shared.lab.example").answer


REFUSED = [
    (CPUS, ",queue_count=1", "has queue_count=1 but 2 lcore(s)"),
    (CPUS, ",start_queue=1", "has 2 queue(s), and port net_af_xdp0 needs 3, one for each of 2 lcore(s) from start_queue=1"),
    (CPUS, ",xdp_prog=/nowhere", "an xdp_prog of its own"),
]


@pytest.mark.parametrize("lcores, more, said", REFUSED, ids=[row[1] for row in REFUSED])
def test_what_cannot_work_is_refused_with_a_sentence(serve, lcores, more, said):
    assert said in refusal(serve(lcores, more, ready=False))


def test_too_few_queues_are_told_with_the_command(serve, wide):
    wide.set_queues(1)
    assert f"give it these with `ethtool -L {wide.edge} rx 2 tx 2`" in refusal(serve(CPUS, ready=False))


def refusal(one):
    """What a daemon that does not start says last."""
    assert one.launch().wait(20) == 1, one.last_lines()
    return one.last_lines(1)
