from __future__ import annotations

import zoneinfo
from datetime import datetime

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import time_zones


@pytest.mark.parametrize("zone", ["Etc/UTC", "UTC", "Australia/Sydney", "Etc/GMT-10"])
def test_zones_of_the_images(zone: str) -> None:
    assert time_zones.problems(zone) == []


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("Australia/NSW", "It is Australia/Sydney by an old name"),
        ("US/Pacific", "It is America/Los_Angeles by an old name"),
        ("australia/sydney", "The nearest is Australia/Sydney."),
        ("Sydney", "The nearest is Australia/Sydney."),
        ("Australia/Sidney", "The nearest is Australia/Sydney."),
        ("Europe/Berlln", "The nearest is Europe/Berlin."),
        ("America/New York", "The nearest is America/New_York."),
        # What is near to these means another time.
        ("AEST", "Etc/UTC is always right."),
        ("GMT+10", "Etc/UTC is always right."),
        ("", "Etc/UTC is always right."),
        ("nonsense", "Etc/UTC is always right."),
        ("../../etc/passwd", "Etc/UTC is always right."),
    ],
)
def test_others_are_refused_with_what_to_write(zone: str, words: str) -> None:
    (problem,) = time_zones.problems(zone)
    assert problem.startswith(f"auscat_timezone is {zone!r}. Accepted: ")
    assert words in problem


def test_the_lists_are_the_tz_databases_own() -> None:
    """Compared with that of this machine, which has old names too; new zones may be missing."""
    here = zoneinfo.available_timezones()
    listed = time_zones.ZONES | time_zones.OLD_NAMES.keys()
    assert here - {"Factory", "localtime"} <= listed
    assert not time_zones.ZONES & time_zones.OLD_NAMES.keys()
    assert set(time_zones.OLD_NAMES.values()) <= time_zones.ZONES


def test_an_old_name_means_the_same_time() -> None:
    here = zoneinfo.available_timezones()
    compared = {old: new for old, new in time_zones.OLD_NAMES.items() if {old, new} <= here}
    assert len(compared) > 50
    for old, new in compared.items():
        for month in (1, 7):
            shown = [
                datetime(2025, month, 1, tzinfo=zoneinfo.ZoneInfo(each)) for each in (old, new)
            ]
            assert shown[0].utcoffset() == shown[1].utcoffset(), (old, new)
