"""The lab: upstream servers (three that differ, or a recursor), a namespace of subscribers, millraced between them.

deploy/quickstart and tests/system share it. Python's standard library only: quickstart runs before packages are there.
"""

from .children import LabError
from .daemon import Daemon
from .lab import Lab, Names, clean
from .servers import DOMAIN, WWW, ask

__all__ = ["DOMAIN", "Daemon", "Lab", "LabError", "Names", "WWW", "ask", "clean"]
