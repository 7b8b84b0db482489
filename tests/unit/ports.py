"""A TCP port for a test."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on.

    It is below those that the kernel gives to clients (ip(7), ip_local_port_range). Whoever asks
    again and again whether something listens on one of these is in the end connected to itself, and
    the program that was to listen finds its port taken.
    """
    for port in random.sample(range(15000, 32000), 100):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise OSError("no port is free")
