"""Make importable what asks KeyDB from CTP's container."""

from __future__ import annotations

import sys
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[3] / "images"
sys.path[:0] = [str(IMAGES / part) for part in ("ctp_rsna/src", "ctp_standin/src", "shared")]
