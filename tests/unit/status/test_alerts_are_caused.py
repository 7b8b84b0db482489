"""An alert that cannot fire is worse than none: each is caused in molecule/status/tests."""

from __future__ import annotations

import ast
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import rules

TESTS = Path(__file__).parents[3] / "molecule" / "status" / "tests"
CAUSES = [TESTS / "test_38_notify.py", TESTS / "test_40_alerts.py"]
FUTURE = "from __future__ import annotations"
EVERY = {(name, s) for name, (severities, _) in rules.ALERTS.items() for s in severities}


def asserted() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Give the alerts that the tests see raised, and those that they see cleared."""
    raised: set[tuple[str, str]] = set()
    cleared: set[tuple[str, str]] = set()
    tree = ast.parse("\n".join(each.read_text().replace(FUTURE, "") for each in CAUSES))
    denied = {
        id(node.operand)
        for node in ast.walk(tree)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            below = [part for each in node.args for part in ast.walk(each)]
            texts = [str(part.value) for part in below if isinstance(part, ast.Constant)]
            if node.func.id == "raised":
                raised.update(zip(texts[::2], texts[1::2]))
            elif node.func.id == "cleared":
                cleared.update(zip(texts[::2], texts[1::2]))
            elif node.func.id == "told":  # the first text is the machine
                (cleared if id(node) in denied else raised).add((texts[1], texts[2]))
    return raised, cleared


def test_each_is_raised_by_its_cause() -> None:
    assert asserted()[0] == EVERY


def test_each_is_gone_after_its_cause() -> None:
    assert EVERY - asserted()[1] == set()
