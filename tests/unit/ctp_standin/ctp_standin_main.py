"""Runs the gateway for a test: everything is the product's, except where pseudonyms come from."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images/ctp_standin/src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images/shared"))

from ctp_standin.gateway import configure_logging, run
from ctp_standin.lookup import LookupUnavailableError
from ctp_standin.plan import from_settings
from ctp_standin.settings import Settings


class LookupDouble:
    """Pseudonyms from a JSON file; while the file is absent, KeyDB is away."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pseudonym(self, patient_id: str, issuer: str) -> str | None:
        try:
            return json.loads(self._path.read_text()).get(patient_id)
        except FileNotFoundError:
            raise LookupUnavailableError("double") from None

    def date_shift(self, patient_id: str, issuer: str) -> str | None:
        return "-17" if self.pseudonym(patient_id, issuer) else None


if __name__ == "__main__":
    configure_logging()
    settings = Settings.from_environment(os.environ)
    run(from_settings(settings, LookupDouble(Path(sys.argv[1]))))
