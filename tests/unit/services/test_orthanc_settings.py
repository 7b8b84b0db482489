from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.services import (
    orthanc,
    orthanc_settings,
)

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, []),
        ({"StableAge": 60, "DicomWeb": {"Enable": True}}, []),
        ({"StableAg": 60}, ["orthanc_options.StableAg ", "The nearest is StableAge."]),
        ({"stableAge": 60}, ["The nearest is StableAge."]),
        ({"DicomWebb": {}}, ["The nearest is DicomWeb."]),
        ({"Wholly": 1}, ["A plugin of your own image may know it."]),
        # The settings of a plugin that another image has.
        ({"PostgreSQL": {"EnableIndex": True}}, []),
        ({"DicomModalities": {"pacs": {"AET": "A", "Host": "h", "Port": 104}}}, []),
        ({"DicomModalities": {"pacs": ["A", "h", 104]}}, []),
        (
            {"DicomModalities": {"pacs": {"Hots": "h"}}},
            ["orthanc_options.DicomModalities.pacs.Hots "],
        ),
        ({"OrthancPeers": {"a": {"Url": "u", "Usernam": "b"}}}, ["The nearest is Username."]),
        ("nonsense", []),
    ],
)
def test_settings_that_orthanc_may_not_know(options: Any, words: list[str]) -> None:
    said = orthanc_settings.unknown_settings(options)
    assert len(said) == bool(words)
    for word in words:
        assert word in said[0]


def test_what_this_project_sets_is_known() -> None:
    ours = {
        *orthanc.VARIABLE_OF_OPTION,
        *orthanc.FIXED_OPTIONS,
        *orthanc.DEFAULT_OPTIONS,
        *orthanc.LOCKED_OPTIONS,
        *orthanc.TLS_OPTIONS,
        *json.loads((REPOSITORY / "images/orthanc/orthanc.json").read_text()),
    }
    # The guard's own, in the image of this project.
    assert ours - {"NodeGuard"} <= orthanc_settings.SETTINGS | orthanc_settings.PLUGINS
    assert set(orthanc.CTP_MAY) <= orthanc_settings.MODALITY


def test_what_the_documents_show_is_known() -> None:
    text = (REPOSITORY / "inventories/production/group_vars/catvm.yml").read_text()
    shown = re.findall(r"^#   ([A-Z]\w+):", text, re.MULTILINE)
    assert shown
    assert orthanc_settings.unknown_settings(dict.fromkeys(shown, 1)) == []
