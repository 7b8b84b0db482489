"""What watches a node, put there and taken away: by a module on files, with a double of systemd."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.auscat.imaging.plugins.module_utils.host import files as host_files
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import keeper
from ansible_collections.auscat.imaging.plugins.modules import status_install

TIMER, SERVICE = "auscat-status.timer", "auscat-status.service"
DRAWN_OUT = "x" * 100_000
Snapshot = dict[str, tuple[int, bytes]]


class BrokenOffError(Exception):
    """In the place of SIGKILL."""


class SystemdDouble:
    """A double of systemctl and of the systemd behind it, and not systemd.

    It knows what was read of each unit, which are enabled and which run, as systemd.unit(5) and
    systemctl(1) say; a unit is read when it is first named, and again with daemon-reload.
    """

    def __init__(self, units: Path) -> None:
        self.units = units
        self.read: dict[str, str] = {}
        self.enabled: set[str] = set()
        self.active: set[str] = set()
        self.asked: list[str] = []
        self.break_off_at = ""

    def __call__(self, arguments: Sequence[str], **_: Any) -> str:
        program, command, *rest = arguments
        assert program == "systemctl"
        if command == self.break_off_at:
            raise BrokenOffError
        self.asked.append(command)
        names = [each for each in rest if not each.startswith("-")]
        for name in names:
            if name not in self.read and (self.units / name).exists():
                self.read[name] = self._text(name)
        answer = getattr(self, "_" + command.replace("-", "_"))(names, rest)
        return answer or ""

    def _text(self, name: str) -> str:
        path = self.units / name
        return path.read_text() if path.exists() else ""

    def _show(self, names: list[str], rest: list[str]) -> str:
        assert rest[:2] == ["--property=NeedDaemonReload", "--value"]
        stale = [name in self.read and self.read[name] != self._text(name) for name in names]
        return "\n\n".join("yes" if each else "no" for each in stale) + "\n"

    def _daemon_reload(self, *_: list[str]) -> None:
        self.read = {name: self._text(name) for name in self.read if (self.units / name).exists()}

    def _known(self, names: list[str]) -> None:
        for name in names:
            if name not in self.read:
                raise CommandError(f"systemctl ended with code 5: Unit {name} not loaded.")

    def _enable(self, names: list[str], _: list[str]) -> None:
        self._known(names)
        self.enabled |= {*names}

    def _restart(self, names: list[str], _: list[str]) -> None:
        self._known(names)
        self.active |= {*names}

    def _stop(self, names: list[str], _: list[str]) -> None:
        self._known(names)
        self.active -= {*names}

    def _disable(self, names: list[str], rest: list[str]) -> None:
        assert "--now" in rest
        self._stop(names, rest)
        self.enabled -= {*names}

    def _is_enabled(self, names: list[str], _: list[str]) -> None:
        if not {*names} <= self.enabled:
            raise CommandError("systemctl ended with code 1: disabled")

    def _is_active(self, names: list[str], _: list[str]) -> None:
        if not {*names} <= self.active:
            raise CommandError("systemctl ended with code 3: inactive")


class HostDouble:
    """A directory in the place of a host's root, and a double of its systemd."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.program = root / "lib" / "node_status"
        self.settings = root / "etc" / "status.json"
        self.units = root / "systemd"
        self.metrics = root / "var" / "auscat.prom"  # behind the units, when sorted
        for each in (self.program, self.settings.parent, self.units, self.metrics.parent):
            each.mkdir(parents=True)
        self.root, self._capsys = root, capsys
        self.systemd = SystemdDouble(self.units)
        for each in (host_files, status_install):
            monkeypatch.setattr(each, "UNITS", self.units)
            monkeypatch.setattr(each, "run", self.systemd)
        self.manager = "systemd"
        monkeypatch.setattr(status_install.host_facts, "service_manager", lambda: self.manager)

    def play(self, check: bool = False, **other: Any) -> dict[str, Any]:
        arguments = {
            "directory": str(self.program),
            "package": {"__init__.py": "", "cli.py": "# é\nprint(1)", "page.py": DRAWN_OUT},
            "settings_path": str(self.settings),
            "settings": {"node": "kv01"},
            "notify_path": str(self.settings.with_name("notify.json")),
            "units": {SERVICE: "[Service]\n", TIMER: "[Timer]\nOnUnitActiveSec=5min"},
            "timer": TIMER,
            "lock": str(self.root / "lock"),
            "_ansible_check_mode": check,
            **other,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            status_install.main()
        found: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return found

    def remove(self, check: bool = False) -> dict[str, Any]:
        leftovers = [self.units / SERVICE, self.units / TIMER, self.metrics]
        return self.play(check, package={}, units={}, leftovers=[str(each) for each in leftovers])

    def files(self) -> Snapshot:
        return {
            str(path.relative_to(self.root)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def is_well(self) -> bool:
        """As systemd has it, not as the module says."""
        systemd = self.systemd
        return (
            systemd.enabled == systemd.active == {TIMER}
            and "5min" in systemd.read[TIMER]
            and all(text == systemd._text(name) for name, text in systemd.read.items())
        )


@pytest.fixture
def host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[HostDouble]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield HostDouble(tmp_path, monkeypatch, capsys)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_it_is_installed_once(host: HostDouble) -> None:
    nothing = host.files()
    found = host.play(check=True)
    assert found["changed"] and host.files() == nothing and not host.systemd.read
    assert f"{host.settings}\n" in found["diff"]["after"]
    assert f"{TIMER} started" in found["diff"]["after"]
    found = host.play()
    assert found["changed"] and host.is_well()
    files = host.files()
    assert files["lib/node_status/cli.py"] == (0o644, "# é\nprint(1)\n".encode())
    assert files["etc/status.json"] == (0o600, b'{\n    "node": "kv01"\n}\n')
    host.systemd.asked.clear()
    for check in (True, False):
        found = host.play(check)
        assert not found["changed"] and found["diff"] == {"before": "", "after": ""}
    assert host.files() == files
    assert {*host.systemd.asked} == {"show", "is-enabled", "is-active"}


def test_what_tells_people_is_for_root_alone_and_goes_when_it_is_off(host: HostDouble) -> None:
    secret = '{"password": "relay-4b1f9d27c6"}'
    found = host.play(notify=secret)
    assert host.files()["etc/notify.json"] == (0o600, f"{secret}\n".encode())
    assert "notify.json\n" in found["diff"]["after"] and "relay-4b1f" not in json.dumps(found)
    assert not host.play(notify=secret)["changed"]
    assert host.play(notify=secret.replace("4b", "5c"))["changed"]
    assert b"relay-5c1f" in host.files()["etc/notify.json"][1]
    found = host.play(check=True)
    assert found["changed"] and "notify.json\n" in found["diff"]["before"]
    assert host.play()["changed"] and "etc/notify.json" not in host.files()
    assert not host.play()["changed"]


def test_what_somebody_changed_is_set_right(host: HostDouble) -> None:
    host.play()
    good = host.files()
    elsewhere = host.root / "elsewhere"

    def linked(path: Path, target: Path, content: bytes = b"") -> None:
        if target == elsewhere:
            target.write_bytes(content)
        path.unlink()
        path.symlink_to(target)

    cases: dict[str, Callable[[], object]] = {
        "unit": lambda: (host.units / TIMER).write_text("[Timer]\nOnUnitActiveSec=1s\n"),
        "mode": lambda: host.settings.chmod(0o644),
        "line ends": lambda: (host.program / "cli.py").write_bytes("# é\r\nprint(1)\r\n".encode()),
        "no text": lambda: (host.program / "cli.py").write_bytes(b"\xff"),
        "gone": lambda: (host.units / SERVICE).unlink(),
        "of before": lambda: (host.program / "old.py").write_text("print(2)\n"),
        "link": lambda: linked(host.program / "cli.py", elsewhere, b"another's"),
        "link to the same": lambda: linked(
            host.program / "cli.py", elsewhere, good["lib/node_status/cli.py"][1]
        ),
        "masked": lambda: linked(host.units / TIMER, Path("/dev/null")),
        "stopped": lambda: host.systemd.active.clear(),
        "disabled": lambda: host.systemd.enabled.clear(),
        "changed and read": lambda: (
            (host.units / TIMER).write_text("[Timer]\nOnUnitActiveSec=1s\n"),
            host.systemd(["systemctl", "daemon-reload"]),
        ),
    }
    for case, change in cases.items():
        change()
        assert host.play(check=True)["changed"], case
        assert host.play()["changed"], case
        assert host.is_well(), case
        if case.startswith("link"):
            assert not (host.program / "cli.py").is_symlink(), case
            elsewhere.unlink()
        assert host.files() == good, case
        assert not host.play()["changed"], case


@pytest.mark.parametrize("at", ["daemon-reload", "enable", "restart"])
@pytest.mark.parametrize("before", ["nothing", "another"])
def test_what_was_broken_off_is_finished(host: HostDouble, at: str, before: str) -> None:
    if before == "another":
        host.play(units={SERVICE: "[Service]\n", TIMER: "[Timer]\nOnUnitActiveSec=9min\n"})
    host.systemd.break_off_at = at
    with pytest.raises(BrokenOffError):
        host.play()
    host.systemd.break_off_at = ""
    host.play()
    assert host.is_well()
    assert not host.play()["changed"]


def _no_room(host: HostDouble) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(DRAWN_OUT) // 2, limit))


def _directory(host: HostDouble) -> None:
    host.settings.unlink()
    (host.settings / "of-another").mkdir(parents=True)


def _no_directory(host: HostDouble) -> None:
    host.program.rename(host.root / "away")
    host.program.write_text("a file")


@pytest.mark.parametrize(
    ("case", "names"),
    [(_no_room, "page.py"), (_directory, "status.json"), (_no_directory, "node_status")],
)
def test_where_one_cannot_be_written_none_is(
    host: HostDouble, case: Callable[[HostDouble], None], names: str
) -> None:
    host.play(package={"cli.py": "old", "gone.py": "old", "page.py": "old"})
    case(host)
    before = host.files()
    found = host.play(settings={"node": "other"}, units={SERVICE: "new", TIMER: "new"})
    assert found["failed"] and names in found["msg"]
    assert host.files() == before
    assert host.systemd.active == {TIMER}


def test_without_systemd_nothing_is_changed(
    host: HostDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(arguments: Sequence[str], **_: Any) -> str:
        raise CommandError(f"{arguments[0]} is not installed on this host.")

    for each in (host_files, status_install):
        monkeypatch.setattr(each, "run", absent)
    found = host.play()
    assert found["failed"] and "systemctl is not installed" in found["msg"]
    assert not host.files()


def test_a_package_that_was_not_found_removes_nothing(host: HostDouble) -> None:
    host.play()
    good = host.files()
    found = host.play(package={})
    assert found["failed"] and "package is empty" in found["msg"]
    assert host.files() == good and host.is_well()


def test_it_is_removed_and_the_program_stays(host: HostDouble) -> None:
    host.metrics.write_text("of another's\n")
    assert not host.remove()["changed"]
    assert host.metrics.exists(), "without the timer it is another's"
    host.play()
    host.systemd.active.add(SERVICE)  # a sample is being taken
    good = host.files()
    found = host.remove(check=True)
    assert found["changed"] and host.files() == good and TIMER in host.systemd.active
    assert found["diff"]["before"].splitlines()[-1] == str(host.units / TIMER)
    assert host.remove()["changed"]
    assert {*host.files()} == {*good} - {
        *(f"systemd/{each}" for each in (TIMER, SERVICE)),
        "var/auscat.prom",
    }
    assert not host.systemd.enabled | host.systemd.active
    assert not host.remove()["changed"]


@pytest.mark.parametrize("at", ["disable", "stop", "daemon-reload", *map(str, range(3))])
def test_a_removal_that_was_broken_off_is_finished(
    host: HostDouble, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    host.play()
    host.metrics.write_text("auscat_up 1\n")
    unlinked: list[Path] = []
    unlink = Path.unlink

    def counted(path: Path, missing_ok: bool = False) -> None:
        if at.isdigit() and len(unlinked) == int(at):
            raise BrokenOffError
        unlinked.append(path)
        unlink(path, missing_ok=missing_ok)

    host.systemd.break_off_at = at
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", counted)
        with pytest.raises(BrokenOffError):
            host.remove()
    host.systemd.break_off_at = ""
    host.remove()
    assert not host.metrics.exists() and not list(host.units.iterdir())
    assert not host.systemd.enabled | host.systemd.active


def test_two_at_once_leave_whole_files(tmp_path: Path) -> None:
    """Each file is of one of them, and nothing else lies there."""
    path = tmp_path / "file"
    children = []
    for text in ("a", "b"):
        if (child := os.fork()) == 0:
            try:
                for _ in range(50):
                    host_files.write({path: (text * 5000, 0o644)})
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert path.read_text() in ("a" * 5000, "b" * 5000)
    assert list(tmp_path.iterdir()) == [path]


FAKE = """
import json, os, pathlib, sys, time
settings = pathlib.Path(sys.argv[1])
found = json.loads(settings.read_text())
with open(found["history"], "a") as file:
    print(os.getppid(), file=file)
print("what it said")
time.sleep(found.get("lasts", 0))
"""


@pytest.fixture
def without(host: HostDouble) -> Iterator[Callable[..., dict[str, Any]]]:
    """Install the real keeper with a sample that only writes down who takes it; no systemd."""
    host.manager = "none"
    package = Path(keeper.__file__).parent

    def play(check: bool = False, **settings: Any) -> dict[str, Any]:
        found = {"timer": True, "interval_minutes": 60, "history": str(host.root / "history")}
        files = {
            "__init__.py": "",
            "cli.py": FAKE,
            "keeper.py": (package / "keeper.py").read_text(),
        }
        return host.play(check, package=files, settings={**found, **settings})

    yield play
    (host.root / "etc/status.json").unlink(missing_ok=True)
    wait_for(lambda: not keeper.holder(host.root / "lock"))


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.1)
    return found


Play = Callable[..., dict[str, Any]]


def samples(host: HostDouble) -> list[str]:
    path = host.root / "history"
    return path.read_text().split() if path.exists() else []


def test_without_systemd_a_process_takes_the_samples(host: HostDouble, without: Play) -> None:
    assert without(check=True)["changed"] and not keeper.holder(host.root / "lock")
    assert without()["changed"]
    assert not list(host.units.iterdir()) and not host.systemd.asked
    pid = keeper.holder(host.root / "lock")
    assert wait_for(lambda: samples(host)) == [str(pid)]
    wait_for(lambda: (host.root / "last.log").read_text() == "what it said\n")
    assert stat.S_IMODE((host.root / "last.log").stat().st_mode) == 0o600
    for check in (True, False):
        assert not without(check=check)["changed"]
    assert keeper.holder(host.root / "lock") == pid
    # Another interval is read by the one that runs: the next sample is due at once.
    assert without(interval_minutes=0.01)["changed"]
    assert keeper.holder(host.root / "lock") == pid
    wait_for(lambda: len(samples(host)) > 2)


def test_one_that_was_killed_is_started_again(host: HostDouble, without: Play) -> None:
    without()
    first = keeper.holder(host.root / "lock")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not keeper.holder(host.root / "lock"))
    assert without()["changed"]
    assert keeper.holder(host.root / "lock") not in (0, first)


def test_it_ends_with_its_settings_and_when_it_is_removed(host: HostDouble, without: Play) -> None:
    without(lasts=30)
    pid = keeper.holder(host.root / "lock")
    wait_for(lambda: samples(host))
    host.metrics.write_text("auscat_up 1\n")
    assert host.remove(check=True)["changed"] and keeper.holder(host.root / "lock") == pid
    began = time.monotonic()
    assert host.remove()["changed"]
    # A sample that is just taken, too: it would write the metrics again.
    assert time.monotonic() - began < 20
    assert not keeper.holder(host.root / "lock") and not host.metrics.exists()
    assert not host.remove()["changed"]
    without()
    host.settings.unlink()
    wait_for(lambda: not keeper.holder(host.root / "lock"))
