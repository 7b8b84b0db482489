"""A disk that grew: the volume follows, and the data stays.

Here with xfs. To grow a mounted ext4 a process needs CAP_SYS_RESOURCE, which the test hosts do not
have: scenario vm does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import MOUNTED, Disk, Host, apply
from shared.machines import Scenario

MIB = 1024**2
SECOND = "/srv/second"


@pytest.fixture(params=[False, True], ids=["whole disk", "partition"])
def second(
    scenario: Scenario, node: Host, request: pytest.FixtureRequest
) -> Iterator[tuple[Disk, dict[str, Any]]]:
    """A second volume: xfs on a disk of its own, or in a partition of it."""
    disk = Disk(212)
    disk.do("erase", "400M")
    wished = {
        "auscat_data_root": SECOND,
        "host_volume_device": disk.path,
        "host_volume_filesystem": "xfs",
        "host_volume_partition": request.param,
        "host_volume_label": "second",
    }
    yield disk, wished
    node.shell(f"umount {SECOND} || true; chattr -i {SECOND} && rmdir {SECOND} || true")
    node.shell(f"sed -i '\\#{SECOND}#d' /etc/fstab; systemctl daemon-reload")
    # The engine waits for the first volume again.
    assert apply(scenario).returncode == 0
    assert node.mount(MOUNTED)


def test_volume_follows_the_disk(
    scenario: Scenario, node: Host, second: tuple[Disk, dict[str, Any]]
) -> None:
    disk, wished = second
    device = f"{disk.path}p1" if wished["host_volume_partition"] else disk.path
    outcome = apply(scenario, **wished)
    assert outcome.returncode == 0, outcome.errors
    before = node.mount(SECOND)
    assert (before["source"], before["fstype"]) == (device, "xfs")
    assert apply(scenario, **wished).changed == 0
    node.shell(f"echo kept > {SECOND}/writer/kept")

    disk.do("grow", "600M")
    outcome = apply(scenario, **wished)
    assert outcome.returncode == 0, outcome.errors
    grown = [name.rpartition(" | ")[2] for name in outcome.changed_tasks]
    steps = ["Grow the partition"] if wished["host_volume_partition"] else []
    assert [name for name in grown if name.startswith("Grow")] == [*steps, "Grow the file system"]
    after = node.mount(SECOND)
    assert after["uuid"] == before["uuid"]
    assert after["size"] > before["size"] + 150 * MIB
    assert node.output("cat", f"{SECOND}/writer/kept") == "kept"
    assert apply(scenario, **wished).changed == 0
