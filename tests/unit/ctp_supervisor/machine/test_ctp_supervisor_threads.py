"""A thread that ends by an exception: the program ends with it, and its log names nobody."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import ScriptOptions
from ctp_supervisor.machine import threads
from ctp_supervisor_node import Node, _has_ended

SECRET = "Doe^Jane 4711"
FAULTY = """
import os, sys
from ctp_supervisor import __main__, supervisor
from ctp_supervisor.lookup import keydb
supervisor.FIRST_TABLE_SECONDS = 0.1  # KeyDB is not there
usual = keydb.LookupUpdater.update
def update(self):
    if os.path.exists({trigger!r}):
        raise ValueError({secret!r})
    usual(self)
keydb.LookupUpdater.update = update
status = __main__.main([])
sys.stdout.flush()
os._exit(status)
"""


@pytest.fixture
def _hooks() -> Iterator[None]:
    before = threading.excepthook, sys.excepthook
    yield
    threading.excepthook, sys.excepthook = before


def fail() -> None:
    raise ValueError(SECRET)


@pytest.mark.usefixtures("_hooks")
@pytest.mark.parametrize(("kind", "ends"), [(threading.Thread, 1), (threads.OfOneConnection, 0)])
def test_what_the_program_rests_on_ends_it_and_a_connection_does_not(
    kind: type[threading.Thread], ends: int, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[None] = []
    threads.watch(lambda: ended.append(None))
    thread = kind(target=fail, name="some thread")
    thread.start()
    thread.join()
    assert len(ended) == ends
    (record,) = caplog.records
    assert record.levelno == (logging.CRITICAL if ends else logging.ERROR)
    assert "some thread" in record.getMessage() and record.exc_info is None
    assert "ValueError in" in record.getMessage() and Path(__file__).name in record.getMessage()
    assert SECRET not in caplog.text


@pytest.mark.usefixtures("_hooks")
def test_the_main_thread_names_nobody_either(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    threads.watch(lambda: None)
    with pytest.raises(ValueError) as caught:
        fail()
    sys.excepthook(caught.type, caught.value, caught.tb)
    assert "This program ended by a fault of its own: ValueError in" in caplog.text
    assert SECRET not in caplog.text + "".join(capsys.readouterr())


def test_the_supervisor_ends_and_so_does_its_ctp(tmp_path: Path) -> None:
    trigger = tmp_path / "now"
    node = Node(tmp_path / "node", {}, ScriptOptions(), engine="standin")
    node.program = ["-c", FAULTY.format(trigger=str(trigger), secret=SECRET)]
    with node:
        children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children")
        (ctp,) = children.read_text().split()
        trigger.touch()
        assert node.process.wait(60) == 1
        node.wait(lambda: _has_ended(ctp), "its CTP has ended")
        log = node.log.read_text()
        assert "The thread lookup ended by a fault of this program: ValueError in" in log
        assert SECRET not in log and "Traceback" not in log
