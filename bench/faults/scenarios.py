"""The rows: what befalls which upstream server. It is the quickest one where it is one: the server that is liked best."""

from dataclasses import dataclass

DELAYS = (5, 8, 12, 20)  # milliseconds until a healthy server's reply
BOGUS_EVERY = 10  # names with a number that this divides are forged, where somebody forges


@dataclass(frozen=True)
class Scenario:
    text: str
    faults: tuple = ((), (), (), ())  # options of faulty, for each server
    trusted: int = None  # the server that validates, if it is known that one does
    is_preferred: bool = False  # the trusted server is to be asked before the others
    flood: bool = False


SCENARIOS = {
    "quiet": Scenario("four healthy servers"),
    "slow": Scenario("the quickest of four servers takes 400 ms", (("--slow", 400), (), (), ())),
    "dead": Scenario("the quickest of four servers says nothing", (("--loss", 1), (), (), ())),
    "servfail": Scenario("the quickest of four servers says SERVFAIL to everything", (("--servfail",), (), (), ())),
    "forge": Scenario("of two servers the quicker one forges a tenth of all names; the other one validates: SERVFAIL for these",
                      (("--wrong-every", BOGUS_EVERY), ("--bogus-every", BOGUS_EVERY)), trusted=1),
    "prefer": Scenario("the same, and the validator is preferred, by those that know preference",
                       (("--wrong-every", BOGUS_EVERY), ("--bogus-every", BOGUS_EVERY)), trusted=1, is_preferred=True),
    "loss": Scenario("5 % of the datagrams to and from all four servers are lost", (("--loss", 0.05),) * 4),
    "flood": Scenario("others ask ten times as much: random names below 100 zones, which do not exist", flood=True),
}
