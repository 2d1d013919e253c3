"""flood.py ADDRESS PORT RATE: asks for random names below 100 zones, from 250 addresses in 25 networks, until it is ended.

Nobody reads the answers: each socket's buffer fills, and the kernel drops the rest.
"""

import random
import socket
import struct
import sys
import time

ZONES, NETWORKS, HOSTS = 100, 25, 10
BURSTS = 1000  # a second


def main(address, port, rate):
    draw = random.Random(1)
    sockets = []
    for network in range(NETWORKS):
        for host in range(1, HOSTS + 1):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((f"127.1.{network}.{host}", 0))
            s.connect((address, int(port)))
            sockets.append(s)
    print("begin", flush=True)
    begin, sent = time.monotonic(), 0
    while True:
        while sent < (time.monotonic() - begin) * int(rate):
            try:
                sockets[draw.randrange(len(sockets))].send(question(draw))
            except ConnectionRefusedError:
                pass  # the server has gone before us
            sent += 1
        time.sleep(1 / BURSTS)


def question(draw):
    """For x<random>.z<zone>.flood.example: what the upstream servers take for a name that does not exist."""
    labels = (f"x{draw.randrange(1 << 29)}", f"z{draw.randrange(ZONES)}", "flood", "example")
    name = b"".join(bytes([len(label)]) + label.encode() for label in labels)
    return struct.pack(">HHHHHH", draw.getrandbits(16), 0x0100, 1, 0, 0, 0) + name + struct.pack(">BHH", 0, 1, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
