"""What passes over a machine's network, word for word, as somebody who listens there sees it."""

from __future__ import annotations

import json
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterable
from types import TracebackType

from shared.machines import Machine

# Reads every packet of the interface until standard input ends, and prints the bytes of each
# direction of each connection, in base64. Segments are put in their order, and what is sent twice
# counts once, so that a word that is split over two segments is found.
PROGRAM = r"""
import base64, json, select, socket, struct, sys
listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(0x0003))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
listener.bind((sys.argv[1], 0))
flows, count = {}, 0
print("listening", flush=True)
while True:
    ready, _, _ = select.select([listener, sys.stdin], [], [])
    if sys.stdin in ready and not sys.stdin.readline():
        break
    if listener not in ready:
        continue
    frame = listener.recv(1 << 17)
    count += 1
    if frame[12:14] != b"\x08\x00":
        continue
    packet = frame[14:]
    header = (packet[0] & 15) * 4
    length = struct.unpack("!H", packet[2:4])[0] or len(packet)
    packet = packet[:length]
    source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    if packet[9] == 6:
        ports = struct.unpack("!HH", packet[header:header + 4])
        sequence = struct.unpack("!I", packet[header + 4:header + 8])[0]
        payload = packet[header + (packet[header + 12] >> 4) * 4:]
    elif packet[9] == 17:
        ports = struct.unpack("!HH", packet[header:header + 4])
        sequence, payload = count, packet[header + 8:]
    else:
        continue
    if payload:
        key = f"{source}:{ports[0]} > {target}:{ports[1]} {'tcp' if packet[9] == 6 else 'udp'}"
        flow = flows.setdefault(key, {})
        if len(payload) > len(flow.get(sequence, b"")):
            flow[sequence] = payload
_, dropped = struct.unpack("II", listener.getsockopt(263, 6, 8))
said = {}
for key, flow in flows.items():
    # Sequence numbers go round at 2 ** 32; a flow of this size does so once at most.
    first = next(iter(flow))
    order = sorted(flow, key=lambda number: (number - first + (1 << 31)) % (1 << 32))
    said[key] = base64.b64encode(b"".join(flow[number] for number in order)).decode()
json.dump({"flows": said, "dropped": dropped}, sys.stdout)
"""


class Wire:
    """Listens at a machine's network interface while the block runs.

    Attributes:
        flows: after the block, the bytes of each direction of each connection, by
            ``address:port > address:port protocol``.
    """

    def __init__(self, machine: Machine, interface: str = "eth0") -> None:
        self.machine = machine
        self.flows: dict[str, bytes] = {}
        self._command = ["docker", "exec", "--interactive", machine.container]
        self._command += ["python3", "-u", "-c", PROGRAM, interface]

    def __enter__(self) -> Wire:
        self._listener = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert self._listener.stdout is not None
        assert self._listener.stdout.readline() == "listening\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        time.sleep(0.5)  # for packets that are still on their way through the kernel
        text, _ = self._listener.communicate(timeout=120)
        heard = json.loads(text)
        assert heard["dropped"] == 0, f"{heard['dropped']} packets were not seen"
        self.flows = {key: b64decode(value) for key, value in heard["flows"].items()}

    def with_words(self, words: Iterable[bytes]) -> list[str]:
        """Say which words were heard, and in which connection."""
        return sorted(
            f"{word!r} in {key}"
            for word in words
            for key, text in self.flows.items()
            if word in text
        )
