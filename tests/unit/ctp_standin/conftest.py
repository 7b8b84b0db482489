"""Make the stand-in's package importable from its image's source directory."""

from __future__ import annotations

import sys
from pathlib import Path

import pydicom
import pytest

IMAGES = Path(__file__).resolve().parents[3] / "images"
sys.path[:0] = [str(IMAGES / "ctp_standin/src"), str(IMAGES / "shared")]


@pytest.fixture(autouse=True)
def _no_validation_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marked values are deliberately not always valid for their VR."""
    settings = pydicom.config.settings
    monkeypatch.setattr(settings, "reading_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(settings, "writing_validation_mode", pydicom.config.IGNORE)
