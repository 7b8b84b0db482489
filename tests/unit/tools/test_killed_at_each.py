"""A playbook killed at each step: a trivial one, whose steps leave files that can be counted."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "molecule"))

from shared.killed import (  # noqa: E402
    Kill,
    Playbook,
    Run,
    Step,
    descendants,
    kill_tree,
    killed_at_each,
    steps_of,
)

ONE, LOOP, QUIET, LAST = "Write one", "Write two and three", "Write quietly", "Write the last"
ALL = {"one", "two", "three", "quiet", "c", "d", "last"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the steps leave their files."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def playbook(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    """One whose steps write files, look and compare; that of `LOOP` takes its time."""

    def shell(name: str, script: str, **more: object) -> dict[str, object]:
        return {"name": name, "ansible.builtin.shell": {"cmd": script, "chdir": str(made)}, **more}

    def copy(name: str) -> dict[str, object]:
        return {"name": "Write the same", "ansible.builtin.copy": {"dest": name, "content": "c"}}

    tasks = [
        {"name": "Say something", "ansible.builtin.debug": {"msg": "hello"}},
        shell(ONE, "touch one", args={"creates": "one"}),
        shell("Look only", "ls", changed_when=False),
        shell("Compare", "touch never", check_mode=True),
        shell("Left out", "touch never", when=False),
        shell(LOOP, "touch {{ item }}; sleep 1.5", loop=["two", "three"]),
        shell(QUIET, "touch quiet", changed_when=False),
        copy(f"{made}/c"),
        copy(f"{made}/d"),
        shell(LAST, "touch last"),
    ]
    home = tmp_path_factory.mktemp("home")
    path = home / "play.yml"
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    path.write_text(yaml.safe_dump([play]), encoding="utf-8")
    command = ("ansible-playbook", "-i", "localhost,", "-c", "local", str(path))
    config = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_HOME": str(home)}
    environment = {**os.environ, **config, "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    return Playbook(command, REPOSITORY, environment)


@pytest.fixture(scope="module")
def whole(playbook: Playbook, made: Path) -> Run:
    run = playbook.run()
    assert (run.ended, run.returncode) == ("whole", 0), run.text
    assert files(made) == ALL
    return run


@pytest.fixture(autouse=True)
def nothing_is_done_yet(made: Path, whole: Run) -> None:
    for each in made.iterdir():
        each.unlink()


def files(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


def test_every_step_in_one_way_through(playbook: Playbook, made: Path, whole: Run) -> None:
    """The list, the place of each kill, what lives on, and what a second run no longer does."""
    steps = steps_of(whole, only_look=["Look only"])
    same = [Step("Write the same"), Step("Write the same", 2)]
    assert steps == [Step(ONE), Step(LOOP), Step(QUIET), *same, Step(LAST)]
    assert 3 <= steps[1].seconds < 30
    seen: dict[str, set[str]] = {}

    def check(kill: Kill) -> None:
        seen[f"{kill.share} {kill.step}"] = files(made)
        assert not descendants_of_this_test()

    done = killed_at_each(playbook, steps, check)
    assert [(kill.step, kill.share) for kill in done] == [
        (step, share) for step in steps for share in (0, 0.5)
    ]
    assert [kill.ended for kill in done if not kill.share] == ["before"] * len(steps)
    # A short one may be over before half the time that it took when it was recorded.
    assert {kill.ended for kill in done if kill.share} <= {"amid", "after"}
    assert done[3].ended == "amid"
    assert seen[f"0 {ONE}"] == set()
    assert seen[f"0 {LOOP}"] == {"one"}
    assert "quiet" not in seen[f"0 {QUIET}"] and {"two", "three"} <= seen[f"0 {QUIET}"]
    assert "c" not in seen["0 Write the same"]
    assert "c" in seen["0 Write the same (time 2)"] and "d" not in seen["0 Write the same (time 2)"]
    assert "last" not in seen[f"0 {LAST}"]
    run = playbook.run()
    assert (run.ended, run.returncode) == ("whole", 0), run.text
    assert files(made) == ALL
    assert Step(ONE) not in run.changed


def descendants_of_this_test() -> list[str]:
    """What still runs of Ansible below this process."""
    found = []
    for process in descendants(os.getpid()):
        try:
            line = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "ansible" in line:
            found.append(line)
    return found


def test_a_condition_in_the_place_of_a_share(playbook: Playbook, made: Path, whole: Run) -> None:
    step = steps_of(whole)[2]
    assert step == Step(LOOP)
    run = playbook.run(step, 0.5, (made / "two").exists)
    assert run.ended == "amid"
    assert not (made / "three").exists()
    assert run.tasks[-1].step == step


def test_a_step_that_is_over_before_its_moment_is_told(playbook: Playbook, whole: Run) -> None:
    step = Step(ONE, seconds=300)
    run = playbook.run(step, 1)
    assert run.ended == "after"
    assert run.tasks[-1].step == step


def test_a_step_that_does_not_come_is_told(playbook: Playbook, made: Path, whole: Run) -> None:
    step = Step("Write what nobody writes")
    assert playbook.run(step).ended == "whole"
    with pytest.raises(AssertionError, match="Write what nobody writes never came"):
        killed_at_each(playbook, [step], lambda kill: None, shares=[0])
    with pytest.raises(
        AssertionError, match="Write what nobody writes is to be killed and did not"
    ):
        steps_of(whole, also=[step.name])


def test_what_is_wrong_after_a_kill_names_the_step(playbook: Playbook, whole: Run) -> None:
    def check(kill: Kill) -> None:
        assert not kill.share, "two values are lost"

    with pytest.raises(AssertionError, match=r"Killed \w+ Write the last \(run 2\): two values"):
        killed_at_each(playbook, steps_of(whole)[-1:], check)


def test_a_step_that_nobody_foresaw_is_one_too(playbook: Playbook, made: Path, whole: Run) -> None:
    last = steps_of(whole)[-1:]
    done = killed_at_each(playbook, last, lambda kill: None, shares=[0], most=5)
    # All that said that they had changed something when the first run was killed.
    assert {str(kill.step) for kill in done} == {LAST, ONE, LOOP, "Write the same",
                                                 "Write the same (time 2)"}  # fmt: skip
    with pytest.raises(AssertionError, match="1 runs, and not yet killed"):
        killed_at_each(playbook, [*last, *last], lambda kill: None, shares=[0], most=1)


def test_a_run_that_fails_by_itself_is_told(playbook: Playbook, whole: Run) -> None:
    wrong = replace(playbook, command=[*playbook.command, "--skip-tags"])
    with pytest.raises(AssertionError, match="to be killed at Write the last failed by itself"):
        killed_at_each(wrong, [Step(LAST)], lambda kill: None)


def test_no_process_below_is_spared() -> None:
    """One in a session of its own, and what it starts while it is being killed."""
    program = (
        "import os, subprocess, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    while True:\n"
        "        subprocess.Popen(['sleep', '60']); time.sleep(0.01)\n"
        "time.sleep(60)\n"
    )
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", program], dict(os.environ))
    deadline = time.monotonic() + 30
    while len(descendants(process)) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed = kill_tree(process)
    os.waitpid(process, 0)
    assert len(killed) >= 5
    assert not [each for each in descendants(os.getpid()) if each in killed]
    for each in killed:
        stat = Path(f"/proc/{each}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
