"""What the kernel says of a container, against its entry in the stack file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.stack.confined import (
    Seen,
    differences,
)
from processes import ended

STATUS = "Name:\tx\nCapPrm:\t{prm:016x}\nCapBnd:\t{bnd:016x}\nNoNewPrivs:\t{nnp}\n"
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max processes             unlimited            unlimited            processes
Max open files            {files}                 {files}                 files
"""
SERVICE: dict[str, Any] = {
    "cap_drop": ["ALL"],
    "cap_add": ["CHOWN"],
    "read_only": True,
    "ulimits": {"nofile": {"soft": 1024, "hard": 1024}},
    "deploy": {"resources": {"limits": {"pids": 256}}},
}


@pytest.fixture(params=["v1", "v2"])
def seen(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """A process as the files of /proc and of the control groups show it."""

    def make(
        prm: int = 1,
        bnd: int = 1,
        nnp: int = 1,
        root: str = "ro",
        files: str = "1024",
        pids: str = "256",
    ) -> Seen:
        process = tmp_path / "proc/7"
        process.mkdir(parents=True)
        (process / "status").write_text(STATUS.format(prm=prm, bnd=bnd, nnp=nnp))
        (process / "limits").write_text(LIMITS.format(files=files))
        (process / "mountinfo").write_text(
            f"1 0 0:1 / / {root},relatime - overlay overlay rw\n"
            "2 1 0:2 / /tmp rw - tmpfs tmpfs rw\n"
        )
        groups = tmp_path / "groups"
        if request.param == "v1":
            (process / "cgroup").write_text("2:memory:/docker/a\n1:pids:/docker/a\n0::/\n")
            place = groups / "pids/docker/a"
        else:
            (process / "cgroup").write_text("0::/docker/a\n")
            place = groups / "docker/a"
        place.mkdir(parents=True)
        (place / "pids.max").write_text(pids + "\n")
        return Seen(7, tmp_path / "proc", groups)

    return make


def test_one_that_is_as_it_should_be(seen: Any) -> None:
    assert differences(SERVICE, seen()) == []


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"bnd": 1 | 1 << 7 | 1 << 13}, "has further capabilities (SETUID, number 13)"),
        ({"prm": 1 << 0 | 1 << 21}, "has further capabilities (number 21)"),
        ({"nnp": 0}, "may gain privileges"),
        ({"root": "rw"}, "may write to its root file system"),
        ({"files": "1048576"}, "may open more than 1024 files"),
        ({"files": "unlimited"}, "may open more than 1024 files"),
        ({"pids": "max"}, "may start more than 256 processes"),
        ({"pids": "257"}, "may start more than 256 processes"),
    ],
)
def test_each_thing_that_is_not(seen: Any, values: dict[str, Any], text: str) -> None:
    (found,) = differences(SERVICE, seen(**values))
    assert found.startswith(text)


def test_a_real_process_with_and_without_new_privileges() -> None:
    """This kernel's own files."""
    waiting = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    for command, set_ in ((waiting, False), (["setpriv", "--no-new-privs", *waiting], True)):
        with ended(command, stdin=subprocess.PIPE) as process:
            # setpriv becomes the program within moments.
            for _ in range(1000):
                found = Seen(process.pid)
                if found.no_new_privileges is set_:
                    break
            process.communicate(b"")
        assert found.no_new_privileges is set_
        assert found.open_files >= 1


def test_a_process_that_ended() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(OSError, match=str(process.pid)):
        Seen(process.pid)
    assert os.getpid() != process.pid
