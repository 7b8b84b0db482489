"""Make the package that images share, and the supervisor, importable; stock CTP, where it is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[3]
_IMAGES = _REPOSITORY / "images"
sys.path[:0] = [
    str(_IMAGES / "shared"),
    str(_IMAGES / "ctp_rsna/src"),
    str(_REPOSITORY / "tests/marks"),
]

from ctp_rules_stock import Ctp, distribution  # noqa: E402


@pytest.fixture(scope="session")
def ctp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ctp]:
    libraries = distribution()
    if libraries is None:
        pytest.skip("no distribution of CTP: set CTP_DISTRIBUTION (docs/ctp.md)")
    if shutil.which("javac") is None:
        pytest.skip("no javac: install default-jdk-headless")
    ctp = Ctp(libraries, tmp_path_factory.mktemp("classes"))
    yield ctp
    ctp.close()
