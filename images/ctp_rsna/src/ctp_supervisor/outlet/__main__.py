"""``python3 -m ctp_supervisor.outlet`` runs the outlet; with ``healthcheck`` it asks one.

Exit status: 0 stopped as told, or healthy; 1 a part of it failed, or not healthy; 2 cannot run with
these settings.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    # Each imported here: the health check runs every few seconds and needs little of it.
    if arguments == ["healthcheck"]:
        from .settings import healthcheck

        return healthcheck(os.environ)
    from .outlet import run

    return run(arguments)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Associations may still wait for a peer.
    os._exit(status)
