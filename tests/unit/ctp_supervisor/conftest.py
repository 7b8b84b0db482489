"""Make the package of the supervisor, and the one that it shares with the stand-in, importable."""

from __future__ import annotations

import sys
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[3] / "images"
sys.path[:0] = [str(IMAGES / "ctp_rsna/src"), str(IMAGES / "shared")]
