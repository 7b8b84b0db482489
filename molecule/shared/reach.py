"""Who reaches which port: connection attempts of several machines, all at once.

A firewall that drops says nothing, so a refused attempt shows as silence. How long it must last is
measured: by others, from the same machine and at the same time, that are answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.machines import Machine

# Silence means refusal once every control has been answered, and no sooner than after three times
# the slowest answer, or 1.5 s, since a lost SYN is repeated after one (RFC 6298 2.1).
PROGRAM = """
import errno, json, os, select, socket, sys, time
targets = json.load(sys.stdin)
begin, slowest = time.monotonic(), 0
poll, waiting, said = select.poll(), {}, [None] * len(targets)
def answered(number, code):
    said[number] = errno.errorcode[code] if code else ""
    waiting.pop(number, None)
for number, (address, port, _) in enumerate(targets):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    attempt = socket.socket(family, socket.SOCK_STREAM)
    attempt.setblocking(False)
    code = attempt.connect_ex((address, port))
    waiting[number] = attempt
    if code == errno.EINPROGRESS:
        poll.register(attempt, select.POLLOUT)
    else:
        answered(number, code)
while waiting:
    late = any(targets[number][2] for number in waiting)
    if time.monotonic() - begin > (30 if late else max(1.5, 3 * slowest)):
        break
    events = dict(poll.poll(50))
    for number, attempt in list(waiting.items()):
        if attempt.fileno() in events:
            slowest = time.monotonic() - begin
            poll.unregister(attempt)
            answered(number, attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
print(json.dumps(["silence" if each is None else each for each in said]))
"""


@dataclass(frozen=True)
class Attempt:
    """A connection from a machine to a port.

    Attributes:
        source: the machine.
        address: IPv4 or IPv6.
        port: TCP.
        control: whether somebody must answer, so that the others' time to answer can be measured.
    """

    source: Machine
    address: str
    port: int
    control: bool


def connections(attempts: Iterable[Attempt]) -> list[bool]:
    """Make the attempts, each from its machine, and tell for each whether it connected.

    Raises:
        AssertionError: a machine has no control, so that silence would show nothing.
    """
    listed = list(attempts)
    sources = {each.source.name: each.source for each in listed}
    for name in sources:
        assert any(each.control for each in listed if each.source.name == name), (
            f"nothing shows how soon {name} would be answered"
        )

    def of_one(name: str) -> list[bool]:
        own = [each for each in listed if each.source.name == name]
        targets = [(each.address, each.port, each.control) for each in own]
        said = sources[name].output("python3", "-c", PROGRAM, stdin=json.dumps(targets))
        return [not reason for reason in json.loads(said)]

    with ThreadPoolExecutor(len(sources)) as pool:
        found = dict(zip(sources, map(iter, pool.map(of_one, sources))))
    return [next(found[each.source.name]) for each in listed]
