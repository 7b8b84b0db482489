"""``python3 -m ctp_supervisor.outlet`` runs the outlet; with ``healthcheck`` it asks one.

The exit status is that of ``program``.
"""

from __future__ import annotations

import sys

from .. import program


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    # Each imported here: the health check runs every few seconds and needs little of it.
    if arguments == ["healthcheck"]:
        from .settings import check, load

        return program.healthcheck("outlet", load, check)
    from .outlet import run

    return run(arguments)


if __name__ == "__main__":
    program.end(main(sys.argv[1:]))
