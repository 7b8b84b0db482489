"""How the gateway is started.

``python3 -m ctp_standin`` runs it from the environment, and with the argument ``healthcheck`` asks
such a one whether it is well. ``python3 -m ctp_standin --ctp DIRECTORY`` runs it in the place of
stock CTP, on the ``config.xml`` and the other files in that directory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from program_settings import SettingsError

from .settings import Settings


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 well, 1 not healthy, 2 cannot run with these settings."""
    try:
        if len(arguments) == 2 and arguments[0] == "--ctp":
            return _run_as_ctp(Path(arguments[1]))
        settings = Settings.from_environment(os.environ)
        if not arguments:
            return _run(settings)
        if arguments != ["healthcheck"]:
            raise SettingsError(
                f"Unknown argument {arguments[0]}: give none, healthcheck, or --ctp DIRECTORY."
            )
    except SettingsError as error:
        return _cannot_start(str(error))
    from .healthcheck import check

    problem = check(settings)
    print(problem or "ok")
    return 1 if problem else 0


def _run(settings: Settings) -> int:
    # Imported here: the health check runs every few seconds and needs little of this.
    from .gateway import configure_logging, run
    from .lookup import KeyDBLookup
    from .plan import from_settings
    from .spool import SpoolError

    configure_logging()
    for name in ("keydb_user", "keydb_pass"):
        settings.secret(name)
    try:
        run(from_settings(settings, KeyDBLookup.from_settings(settings)))
    except SpoolError as error:
        return _cannot_start(str(error))
    except OSError as error:
        return _cannot_start(
            f"{error.strerror}. Its ports are {settings.dicom_port} (CTP_DICOM_PORT) and"
            f" {settings.web_port} (CTP_WEB_PORT); both must be free."
        )
    return 0


def _run_as_ctp(directory: Path) -> int:
    from .ctp_files import read_plan
    from .gateway import configure_logging, run
    from .spool import SpoolError

    configure_logging()
    os.umask(0o077)  # queues and quarantines are identifiable
    try:
        run(read_plan(directory))
    except SpoolError as error:
        return _cannot_start(str(error))
    except OSError as error:
        return _cannot_start(f"{error.strerror}. The ports in config.xml must be free.")
    return 0


def _cannot_start(why: str) -> int:
    print(f"The CTP stand-in cannot start: {why}", file=sys.stderr, flush=True)
    return 2


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # The DICOM library leaves threads behind that are not daemons.
    os._exit(status)
