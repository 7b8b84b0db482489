"""Take one sample: keep it, and write the metrics. The timer of the role status runs this.

``python3 -m node_status.cli SETTINGS``: the path of status.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import collect, metrics, rules, samples


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
        # First the metrics: a full disk must not keep monitoring from being told of it.
        target = Path(settings["metrics_directory"]) / "auscat.prom"
        samples.write(target, metrics.text(state, alerts, settings["limits"]), 0o644)
        samples.append(history, samples.compact(state, alerts), settings["history_days"])
        collect.follow_archive(settings)
    except (OSError, ValueError, KeyError) as error:
        print(f"No sample was taken: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for each in alerts:
        print(f"{each['severity']}: {each['alert']}: {each['subject']}: {each['text']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
