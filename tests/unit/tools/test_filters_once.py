"""The callback that loads the filters: seen by what a forked task finds there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - debug:
        msg: "{{ lookup('ansible.builtin.pipe', 'true') }}{{ [] | loaded_before }}"
"""
# Says which filters of the collection were in memory before it asked for one: a task's process has
# of its own only what it needs, and this task needs none of them.
FILTER = """
import sys
class FilterModule:
    def filters(self):
        prefix = "ansible_collections.auscat.imaging.plugins.filter."
        return {"loaded_before": lambda _: sorted(
            name.removeprefix(prefix) for name in sys.modules if name.startswith(prefix))}
"""


def _loaded(directory: Path, **environment: str) -> str:
    (directory / "play.yml").write_text(PLAYBOOK)
    filters = directory / "filters"
    filters.mkdir()
    (filters / "loaded.py").write_text(FILTER)
    result = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,"]
        + [str(directory / "play.yml")],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_FILTER_PLUGINS": str(filters), **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_filters_are_there_when_the_first_task_begins(tmp_path: Path) -> None:
    said = _loaded(tmp_path)
    for file in (REPOSITORY / "plugins/filter").glob("*.py"):
        assert file.stem in said, said


def test_without_the_callback_they_are_not(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    said = _loaded(tmp_path, ANSIBLE_CALLBACKS_ENABLED="ansible.posix.timer")
    assert "report" not in said, said
