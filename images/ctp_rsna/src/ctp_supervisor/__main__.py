"""``python3 -m ctp_supervisor`` runs CTP; ``python3 -m ctp_supervisor healthcheck`` asks one.

Exit status: 0 stopped as told, or healthy; 1 CTP ended by itself, or not healthy; 2 cannot start
with these files; 3 a file that CTP reads was changed while it ran.
"""

from __future__ import annotations

import os
import sys

from program_settings import SettingsError

from .settings import load


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    try:
        settings = load(os.environ)
        if arguments and arguments != ["healthcheck"]:
            raise SettingsError(f"Unknown argument {arguments[0]}: give none, or healthcheck.")
    except SettingsError as error:
        print(f"CTP is not started: {error}", file=sys.stderr, flush=True)
        return 2
    # Each imported here: the health check runs every few seconds and needs little of it.
    if arguments:
        from .front.healthcheck import check

        healthy, text = check(settings)
        print(text)
        return 0 if healthy else 1
    from .supervisor import run

    return run(settings)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Relays may still wait for a peer.
    os._exit(status)
