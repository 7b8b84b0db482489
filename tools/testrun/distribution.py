"""What the tests use of others: stock CTP and OHIF's viewer. Never fetched, only found."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: What makes something a distribution of CTP, wherever in it.
MARK = "libraries/CTP.jar"
ACCEPTED = (
    "the installer that RSNA offers for download (CTP-installer.jar), a zip archive, "
    f"or a directory that holds CTP/{MARK}"
)


#: Knows where the cache has the build of OHIF that the node's image is made of.
VIEWER = Path(__file__).parents[1] / "viewer_archive.sh"


class DistributionError(ValueError):
    """What is named or lies in the cache cannot be used; the text says what to do."""


@dataclass(frozen=True)
class Distribution:
    """Where something was looked for, and where it is: no path where there is none."""

    path: Path | None
    where: str


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory outside the tree that holds what runs of the tests keep."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/root")) / ".cache"
    return Path(base) / "auscat-imaging"


def usable(path: Path) -> bool:
    """Tell whether CTP can be installed from a file or directory."""
    if path.is_dir():
        return (path / MARK).is_file() or any(path.glob(f"*/{MARK}"))
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(f"/{name}".endswith(f"/{MARK}") for name in archive.namelist())
    return False


def find(environment: Mapping[str, str] = os.environ) -> Distribution:
    """Find the distribution: CTP_DISTRIBUTION, or else what lies in ``ctp`` of the cache.

    Raises:
        DistributionError: CTP_DISTRIBUTION is set and cannot be used, or what lies in the cache
            cannot, or is not one thing.
    """
    named = environment.get("CTP_DISTRIBUTION", "")
    if named:
        path = Path(named).expanduser()
        if not usable(path):
            why = "no distribution of CTP" if path.exists() else "not there"
            raise DistributionError(
                f"CTP_DISTRIBUTION is {named}, which is {why}. Accepted: {ACCEPTED}. "
                "Name one, or unset it to use the one in the cache or none (docs/ctp.md)."
            )
        return Distribution(path.resolve(), "named by CTP_DISTRIBUTION")
    place = cache(environment) / "ctp"
    there = sorted(place.iterdir()) if place.is_dir() else []
    if not there:
        return Distribution(None, f"CTP_DISTRIBUTION is not set and nothing lies in {place}")
    if usable(place):
        return Distribution(place, "found in the cache")
    files = [path for path in there if usable(path)]
    if len(files) != 1:
        raise DistributionError(
            f"{place} holds {len(files)} distributions of CTP "
            f"({', '.join(path.name for path in there)}). "
            f"Accepted: one, as {ACCEPTED}; or nothing. Leave one there, or name one with "
            "CTP_DISTRIBUTION (docs/ctp.md)."
        )
    return Distribution(files[0], "found in the cache")


def find_viewer(environment: Mapping[str, str] = os.environ) -> Distribution:
    """Find OHIF's build: OHIF_ARCHIVE, or else what tools/viewer_archive.sh has brought.

    Raises:
        DistributionError: OHIF_ARCHIVE names no file.
    """
    found = subprocess.run(
        [VIEWER, "--at-hand"], env=dict(environment), capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise DistributionError(found.stderr.strip())
    if not found.stdout.strip():
        return Distribution(None, "OHIF_ARCHIVE is not set, and the cache has no archive")
    named = environment.get("OHIF_ARCHIVE")
    where = "named by OHIF_ARCHIVE" if named else "found in the cache"
    return Distribution(Path(found.stdout.strip()), where)
