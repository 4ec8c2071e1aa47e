"""Records what passes an interface, in libpcap's format on stdout: for machines without tcpdump."""

import socket
import struct
import sys
import time

ETH_P_ALL = 3

reader = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
reader.bind((sys.argv[1], 0))
out = sys.stdout.buffer
out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
out.flush()
print("listening on", sys.argv[1], file=sys.stderr, flush=True)
while True:
    packet = reader.recv(262144)
    now = time.time()
    out.write(struct.pack("<IIII", int(now), int(now % 1 * 1e6), len(packet), len(packet)) + packet)
    out.flush()
