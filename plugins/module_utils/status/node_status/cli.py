"""Take one sample: keep it, write the metrics, tell people of alerts. The timer runs this.

``python3 -m node_status.cli SETTINGS``: the path of status.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import collect, metrics, notify, rules, samples


def main(arguments: list[str]) -> int:
    """Run; return the exit status."""
    if len(arguments) != 1:
        print("usage: python3 -m node_status.cli SETTINGS", file=sys.stderr)
        return 2
    try:
        settings = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        state = collect.state(settings, sampling=True)
        history = Path(settings["history"])
        alerts = rules.evaluate(state, samples.read(history), settings["limits"])
        # First the metrics and the people: a full disk must not keep them from being told of it.
        target = Path(settings["metrics_directory"]) / "auscat.prom"
        try:
            samples.write(target, metrics.text(state, alerts, settings["limits"]), 0o644)
        finally:
            told = tell(settings, state, alerts)
        samples.append(history, samples.compact(state, alerts), settings["history_days"])
        collect.follow_archive(settings)
    except (OSError, ValueError, KeyError) as error:
        print(f"No sample was taken: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for each in alerts:
        print(f"{each['severity']}: {each['alert']}: {each['subject']}: {each['text']}")
    return 0 if told else 1


def tell(
    settings: Mapping[str, Any], state: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]
) -> bool:
    """Tell people of what changed, and return whether that could be tried."""
    if not settings.get("notify"):
        return True  # settings of before, in the moment in which the role replaces both
    try:
        for line in notify.after_sample(settings, state, alerts):
            print(line)
    except (OSError, ValueError, KeyError, TypeError) as error:
        # The texts of others than the first may hold anything.
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        print(f"Nobody was told of alerts: {why}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
