"""What the kernel's log tells of containers that were killed for memory."""

from __future__ import annotations

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import memory

ORTHANC, CTP, OUTER = "a1" * 32, "b2" * 32, "0c" * 32


def line(seconds: float, group: str, task: str = "Orthanc") -> str:
    """As Linux 4.19 and later say it (mm/oom_kill.c, dump_oom_summary)."""
    return (
        f"[{seconds:12.6f}] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={OUTER},"
        f"mems_allowed=0,oom_memcg={group},task_memcg={group},task={task},pid=2484,uid=64042\n"
    )


@pytest.mark.parametrize(
    "group",
    [
        f"/docker/{ORTHANC}",
        f"/system.slice/docker-{ORTHANC}.scope",
        f"/docker/{OUTER}/docker/{ORTHANC}",
        f"/docker/{OUTER}/system.slice/docker-{ORTHANC}.scope/sub",
    ],
)
def test_the_container_is_found(group: str) -> None:
    log = "[    1.000000] usb 1-1: oom-kill: no\n" + line(60, group) + line(99.5, group)
    found = memory.kills(log, 1000.0)
    assert found == {ORTHANC: [1060.0, 1099.5]}
    assert memory.of_containers(found, [CTP, ORTHANC]) == [1060.0, 1099.5]
    assert memory.of_containers(found, [CTP]) == []


def test_what_is_in_no_container() -> None:
    assert not memory.kills(line(1, "/user.slice") + line(2, "/docker/abc"), 0)
    assert not memory.kills("", 0)


def test_the_boot_lies_behind() -> None:
    assert memory.booted(1e12) < 1e12
