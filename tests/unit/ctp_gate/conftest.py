"""Make the gate's package and the stand-in's test doubles importable."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
for part in (
    "images/ctp_rsna/src",
    "images/ctp_standin/src",
    "images/shared",
    "tests/unit/ctp_standin",
    "molecule",
):
    sys.path.insert(0, str(REPOSITORY / part))
