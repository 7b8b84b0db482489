"""The anonymizer class of stock CTP, run on files (``Anonymize.java``)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path


def distribution() -> Path | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    for place in (os.environ.get("CTP_DISTRIBUTION"), cache / "auscat-imaging/ctp"):
        if place and (Path(place) / "CTP/libraries/CTP.jar").is_file():
            return Path(place) / "CTP/libraries"
    return None


class Ctp:
    """CTP's anonymizer, compiled once."""

    def __init__(self, libraries: Path, directory: Path) -> None:
        jars = ":".join(map(str, sorted(libraries.rglob("*.jar"))))
        self._classes = f"{jars}:{directory}"
        source = Path(__file__).with_name("Anonymize.java")
        subprocess.run(
            ["javac", "-cp", jars, "-d", str(directory), str(source)],
            check=True,
            capture_output=True,
        )

    def run(
        self, text: str, table: Mapping[str, str], objects: Iterable[bytes], directory: Path
    ) -> list[Path | None]:
        """Return the file of each object that leaves, ``None`` for one in quarantine."""
        rules, lookup = directory / "rules", directory / "table"
        rules.write_text(text)
        lookup.write_text("".join(f"{key}={value}\n" for key, value in table.items()))
        pairs = []
        for number, content in enumerate(objects):
            came, left = directory / f"{number}.came", directory / f"{number}.left"
            came.write_bytes(content)
            pairs.append((came, left))
        done = subprocess.run(
            ["java", "-Djava.awt.headless=true", "-cp", self._classes, "Anonymize"],
            input="".join(f"{rules}\t{lookup}\t{came}\t{left}\n" for came, left in pairs),
            capture_output=True,
            text=True,
            check=True,
        )
        said = [line for line in done.stdout.splitlines() if line in ("OK", "QUARANTINE")]
        assert len(said) == len(pairs), done.stdout[-2000:] + done.stderr[-2000:]
        return [left if word == "OK" else None for word, (_, left) in zip(said, pairs)]
