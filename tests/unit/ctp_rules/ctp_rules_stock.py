"""The anonymizer class of stock CTP, run on files (``Anonymize.java``)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from ctp_supervisor.engine import tags_class


def distribution() -> Path | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    for place in (os.environ.get("CTP_DISTRIBUTION"), cache / "auscat-imaging/ctp"):
        if place and (Path(place) / "CTP/libraries/CTP.jar").is_file():
            return Path(place) / "CTP/libraries"
    return None


class Ctp:
    """CTP's anonymizer, compiled once, in one process of Java for all that is asked of it."""

    def __init__(self, libraries: Path, directory: Path) -> None:
        jars = ":".join(map(str, sorted(libraries.rglob("*.jar"))))
        source = Path(__file__).with_name("Anonymize.java")
        subprocess.run(
            ["javac", "-cp", jars, "-d", str(directory), str(source)],
            check=True,
            capture_output=True,
        )
        # As the supervisor runs CTP: with the dictionary that remembers, of which
        # test_whole_in_stock_ctp.py shows that it answers as CTP's own does.
        remembering = directory / tags_class.TAGS_CLASS
        remembering.parent.mkdir(parents=True)
        remembering.write_bytes(tags_class.remembering(tags_class.dictionary(libraries)))
        assert remembering.stat().st_size > 0
        self._complaints = directory / "stderr"
        with self._complaints.open("wb") as complaints:
            self._java = subprocess.Popen(
                ["java", "-Djava.awt.headless=true", "-cp", f"{directory}:{jars}", "Anonymize"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                encoding="utf-8",
                errors="replace",
            )

    def close(self) -> None:
        """End the process."""
        self._java.communicate()
        assert self._java.returncode == 0, self._complaints.read_text()[-2000:]

    def run(
        self, text: str, table: Mapping[str, str], objects: Iterable[bytes], directory: Path
    ) -> list[Path | None]:
        """Return the file of each object that leaves, ``None`` for one in quarantine."""
        rules, lookup = directory / "rules", directory / "table"
        rules.write_text(text)
        lookup.write_text("".join(f"{key}={value}\n" for key, value in table.items()))
        assert self._java.stdin
        assert self._java.stdout
        results: list[Path | None] = []
        for number, content in enumerate(objects):
            came, left = directory / f"{number}.came", directory / f"{number}.left"
            came.write_bytes(content)
            self._java.stdin.write(f"{rules}\t{lookup}\t{came}\t{left}\n")
            self._java.stdin.flush()
            said = []
            for line in self._java.stdout:
                said.append(line)
                if line.startswith("RESULT "):
                    break
            assert said, f"Java ended: {self._complaints.read_text()[-2000:]}"
            assert said[-1] in ("RESULT OK\n", "RESULT QUARANTINE\n"), "".join(said)[-2000:]
            results.append(left if said[-1] == "RESULT OK\n" else None)
        return results
