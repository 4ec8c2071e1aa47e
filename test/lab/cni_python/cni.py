"""A stand-in for istio-cni's ztunnel server that shares no code with the project: Python's own sockets, protobuf by hand.

It is strict where istio-cni is: the hello within 5 s, every ack within 5 s and 1024 bytes, nothing unasked while idle.
Orders come on stdin, one a line; what happens is told on stdout, one JSON object a line:

    add UID NAME NAMESPACE SERVICE_ACCOUNT NETNS_PATH
    keep UID          only before the snapshot
    del UID
    snapshot          waits for a ztunnel, sends the pods named so far, then snapshot_sent
    raw HEX           sends these bytes as one packet, for a protocol violation
    quit
"""

import array
import json
import os
import select
import socket
import sys

DEADLINE = 5.0
IDLE_CHECK = 5.0
MAX_MESSAGE = 1024


def say(**event):
    print(json.dumps(event), flush=True)


def field(number, payload):
    """One length-delimited protobuf field; every payload here is below 128 bytes or gets a longer varint."""
    length, size = len(payload), b""
    while length > 0x7F:
        size += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + payload


def add_message(uid, name, namespace, account):
    info = field(1, name.encode()) + field(2, namespace.encode()) + field(3, account.encode())
    return field(1, field(1, uid.encode()) + field(2, info))


def keep_message(uid):
    return field(5, field(1, uid.encode()))


def del_message(uid):
    return field(2, field(2, uid.encode()))


SNAPSHOT_SENT = field(3, b"")


def parse_ack(packet):
    """Returns the error text of WorkloadResponse{ack}, or None where the ack is good. Anything else is a violation."""
    if packet[:1] != b"\x0a":
        raise ValueError("not an ack: " + packet.hex())
    body = packet[2:]
    if len(packet) < 2 or packet[1] > 0x7F:
        # Two-byte length, for long error texts.
        length, body = packet[1] & 0x7F | packet[2] << 7, packet[3:]
    else:
        length = packet[1]
    if length != len(body):
        raise ValueError("bad ack length: " + packet.hex())
    if not body:
        return None
    if body[:1] != b"\x0a":
        raise ValueError("unknown ack field: " + packet.hex())
    text = body[2:] if body[1] <= 0x7F else body[3:]
    return text.decode() or None


class Ztunnel:
    """One connected ztunnel."""

    def __init__(self, connection):
        self.connection = connection
        connection.settimeout(DEADLINE)
        hello = connection.recv(MAX_MESSAGE)
        if hello != b"\x08\x01":
            raise ValueError("bad hello: " + hello.hex())
        say(event="hello")

    def ask(self, message, netns=None):
        self.connection.settimeout(DEADLINE)
        if netns is None:
            self.connection.send(message)
        else:
            descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
                self.connection.sendmsg([message], rights)
            finally:
                os.close(descriptor)
        answer, _, flags, _ = self.connection.recvmsg(MAX_MESSAGE)
        if flags & socket.MSG_TRUNC:
            raise ValueError("ack longer than %d bytes" % MAX_MESSAGE)
        if not answer:
            raise EOFError("ztunnel closed the connection instead of acknowledging")
        return parse_ack(answer)

    def idle(self):
        """istio-cni's keepalive: a short read which has to time out."""
        self.connection.settimeout(0.01)
        try:
            unasked = self.connection.recv(MAX_MESSAGE)
        except socket.timeout:
            say(event="idle")
            return
        raise EOFError("ztunnel left") if not unasked else ValueError("unasked bytes: " + unasked.hex())


class Cni:
    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen(5)
        self.pods = {}
        self.kept = []
        self.ztunnel = None
        self.announced = False
        say(event="listening", path=path)

    def send(self, label, message, netns=None):
        error = self.ztunnel.ask(message, netns)
        say(event="ack", request=label, error=error)

    def add(self, uid):
        name, namespace, account, netns = self.pods[uid]
        self.send("add " + uid, add_message(uid, name, namespace, account), netns)

    def snapshot(self):
        for uid in self.pods:
            self.add(uid)
        for uid in self.kept:
            self.send("keep " + uid, keep_message(uid))
        self.send("snapshot", SNAPSHOT_SENT)

    def accept(self):
        connection, _ = self.listener.accept()
        self.ztunnel = Ztunnel(connection)
        if self.announced:
            self.snapshot()

    def drop(self, reason):
        say(event="closed", reason=str(reason))
        self.ztunnel.connection.close()
        self.ztunnel = None

    def order(self, words):
        verb = words[0]
        if verb == "add":
            self.pods[words[1]] = words[2:6]
            if self.announced and self.ztunnel:
                self.add(words[1])
        elif verb == "keep":
            self.kept.append(words[1])
        elif verb == "del":
            self.pods.pop(words[1], None)
            if self.ztunnel:
                self.send("del " + words[1], del_message(words[1]))
        elif verb == "snapshot":
            self.announced = True
            if self.ztunnel is None:
                self.accept()
            else:
                self.snapshot()
        elif verb == "raw" and self.ztunnel:
            self.send("raw", bytes.fromhex(words[1]))

    def run(self):
        # Read from the descriptor itself: a buffered stdin would hide further lines from select.
        orders, stdin = b"", sys.stdin.fileno()
        while True:
            readable, _, _ = select.select([stdin, self.listener], [], [], 0 if b"\n" in orders else IDLE_CHECK)
            try:
                if b"\n" in orders:
                    line, orders = orders.split(b"\n", 1)
                    if line.strip() == b"quit":
                        return
                    self.order(line.decode().split())
                elif stdin in readable:
                    more = os.read(stdin, 4096)
                    if not more:
                        return
                    orders += more
                elif self.listener in readable:
                    self.accept()
                elif self.ztunnel:
                    self.ztunnel.idle()
            except (ValueError, EOFError, OSError) as reason:
                if self.ztunnel is None:
                    say(event="failed", reason=str(reason))
                else:
                    self.drop(reason)


Cni(sys.argv[1]).run()
