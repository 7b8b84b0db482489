"""``python3 -m one_way PORT HOST TARGET [GREETING_PORT]`` forwards.

With ``--healthcheck`` it asks the one that runs.

Exit status: 0 stopped as told, or healthy; 1 not healthy, or the port is taken; 2 wrong arguments.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from .forwarder import Forwarder, health


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    values = [each for each in arguments if each != "--healthcheck"]
    numbers = values[:1] + values[2:]
    if len(values) not in (3, 4) or not all(each.isdecimal() for each in numbers):
        print(
            "usage: python3 -m one_way PORT HOST TARGET [GREETING_PORT] [--healthcheck]",
            file=sys.stderr,
        )
        return 2
    port, target, greeting = (*map(int, numbers), 0)[:3]
    host = values[1]
    if values != arguments:
        problem = health(port, host, target)
        print(problem or "ok")
        return 1 if problem else 0
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="one_way: %(levelname)-7s %(message)s"
    )
    forwarder = Forwarder(port, host, target, greeting)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=forwarder.stop).start())
    try:
        forwarder.run()
    except OSError as error:
        print(f"Port {port} cannot be opened: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Connections may still wait for a peer.
    os._exit(status)
