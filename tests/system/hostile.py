"""An upstream server whose every octet is up to the test, over UDP and TCP, and which may go on sending."""

import contextlib
import socket
import threading

import dns.flags
import dns.message
import dns.rrset


class Hostile:
    """on_udp(server, query, client) and on_tcp(connection, query) do whatever they like; each runs in a thread."""

    def __init__(self, address, port, on_udp, on_tcp=None):
        self.endpoint = f"{address}:{port}"
        self.address = address
        self.on_udp, self.on_tcp = on_udp, on_tcp
        self.asked = self.sent = 0
        self.names = []  # of the questions over UDP, as they came
        self._closed = threading.Event()
        self._threads = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, port))
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._tcp.bind((address, port))
        self._tcp.listen(64)
        for s in (self._udp, self._tcp):
            s.settimeout(0.1)
        self._start(self._serve_udp)
        self._start(self._serve_tcp)

    def close(self):
        self._closed.set()
        for thread in list(self._threads):
            thread.join()
        self._udp.close()
        self._tcp.close()

    def send(self, reply, client):
        with contextlib.suppress(OSError):
            self._udp.sendto(reply, client)
            self.sent += 1

    def sleep(self, seconds):
        """False: the test is over."""
        return not self._closed.wait(seconds)

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _serve_udp(self):
        while not self._closed.is_set():
            with contextlib.suppress(OSError):
                data, client = self._udp.recvfrom(4096)
                query = dns.message.from_wire(data)
                self.asked += 1
                self.names.append(query.question[0].name.to_text())
                self._start(self.on_udp, self, query, client)

    def _serve_tcp(self):
        while not self._closed.is_set():
            with contextlib.suppress(OSError):
                connection, _ = self._tcp.accept()
                self._start(self._serve_connection, connection)

    def _serve_connection(self, connection):
        with connection, contextlib.suppress(OSError, EOFError):
            connection.settimeout(2)
            size = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
            query = dns.message.from_wire(connection.recv(size, socket.MSG_WAITALL))
            if self.on_tcp:
                self.on_tcp(connection, query)


def reply_to(query, address, flags=0):
    """The whole reply, one address of the question's name."""
    reply = dns.message.make_response(query, recursion_available=True)
    reply.flags |= flags
    reply.answer = [dns.rrset.from_text(query.question[0].name, 300, "IN", "A", address)]
    return reply


def send_tcp(connection, message):
    connection.sendall(len(message).to_bytes(2, "big") + message)
