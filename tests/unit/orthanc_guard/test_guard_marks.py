"""Which objects carry the marks, and what the configuration must say."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from orthanc_guard.marks import Marks
from orthanc_guard.settings import SettingsError, read, user_of

MARKS = Marks(True, ("AusCAT imaging: ",), ("113100", "113104"), ("ANON-", "TRIAL-"))
CODES = [{"CodeValue": code, "CodingSchemeDesignator": "DCM"} for code in ("113104", "113100")]
TAGS = {
    "PatientID": "ANON-1",
    "PatientName": "ANON-1",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "AusCAT imaging: PS3.15 Basic Profile, only listed values kept",
    "DeidentificationMethodCodeSequence": CODES,
}
CONFIGURATION: dict[str, Any] = {
    "AuthenticationEnabled": True,
    "RegisteredUsers": {"admin": "a-password", "rita": "another"},
    "NodeGuard": {
        "Marks": {
            "IdentityRemoved": True,
            "Methods": ["AusCAT imaging: "],
            "Codes": ["113100"],
            "PseudonymPrefixes": ["ANON-"],
        },
        "Roles": {"admin": "admin", "rita": "reader"},
    },
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"PatientID": "TRIAL-9", "PatientName": "TRIAL-9"},
        {"PatientName": ""},
        {"PatientName": None},
        {"PixelData": None},
    ],
)
def test_marks_are_there(changes: dict[str, Any]) -> None:
    assert MARKS.missing({**TAGS, **changes}) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"PatientIdentityRemoved": "NO"}, "(0012,0062)"),
        ({"PatientIdentityRemoved": "yes"}, "(0012,0062)"),
        ({"PatientIdentityRemoved": None}, "(0012,0062)"),
        ({"DeidentificationMethod": "Somebody else's"}, "(0012,0063)"),
        ({"DeidentificationMethod": None}, "(0012,0063)"),
        ({"DeidentificationMethodCodeSequence": None}, "(0012,0064)"),
        ({"DeidentificationMethodCodeSequence": []}, "(0012,0064)"),
        ({"DeidentificationMethodCodeSequence": CODES[:1]}, "(0012,0064)"),
        (
            {
                "DeidentificationMethodCodeSequence": [
                    {**each, "CodingSchemeDesignator": "99X"} for each in CODES
                ]
            },
            "(0012,0064)",
        ),
        ({"PatientID": "4711"}, "(0010,0020)"),
        ({"PatientID": ""}, "(0010,0020)"),
        ({"PatientID": None}, "(0010,0020)"),
        ({"PatientID": "x ANON-1"}, "(0010,0020)"),
        ({"PatientID": "anon-1"}, "(0010,0020)"),
        ({"PatientName": "Doe^Jane"}, "(0010,0010)"),
    ],
)
def test_a_mark_is_missing(changes: dict[str, Any], why: str) -> None:
    found = MARKS.missing({**TAGS, **changes})
    assert found.startswith(why)
    assert "Doe" not in found
    assert "4711" not in found


@pytest.mark.parametrize("tag", sorted(TAGS.keys() - {"PatientName"}))
def test_each_mark_is_needed(tag: str) -> None:
    assert MARKS.missing({key: value for key, value in TAGS.items() if key != tag})


def test_only_what_is_asked_for_is_needed() -> None:
    assert Marks(True, (), (), ()).missing({"PatientIdentityRemoved": "YES"}) == ""
    assert Marks(True, (), (), ()).missing({"PatientID": "ANON-1"})
    assert Marks(False, (), (), ("ANON-",)).missing({"PatientID": "ANON-1"}) == ""


def login(user: str, password: str = "x", scheme: str = "Basic") -> dict[str, str]:
    return {
        "authorization": f"{scheme} " + base64.b64encode(f"{user}:{password}".encode()).decode()
    }


def test_configuration_is_read() -> None:
    guard = read(CONFIGURATION)
    assert guard.marks == Marks(True, ("AusCAT imaging: ",), ("113100",), ("ANON-",))
    assert guard.may(login("rita"), "GET", "/system")
    assert not guard.may(login("rita"), "POST", "/instances")
    assert guard.may(login("admin", "with:colon"), "POST", "/instances")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Basic"},
        {"authorization": "Basic ????"},
        {"authorization": "Basic /w=="},
        login("admin", scheme="Bearer"),
        login("admin", scheme="basic"),
        login("Admin"),
        login(""),
    ],
)
def test_whoever_is_nobody_may_nothing(headers: dict[str, str]) -> None:
    assert not read(CONFIGURATION).may(headers, "GET", "/system")


def test_names_in_other_alphabets() -> None:
    assert user_of(login("björn")) == "björn"


WRONG = [
    (("NodeGuard",), None, "NodeGuard is missing"),
    (("NodeGuard",), [], "NodeGuard is missing"),
    (("NodeGuard", "Marks"), None, "NodeGuard.Marks is missing"),
    (("NodeGuard", "More"), 1, "exactly the keys"),
    (("NodeGuard", "Marks", "IdentityRemoved"), "yes", "neither true nor false"),
    (("NodeGuard", "Marks", "Methods"), "AusCAT", "is no list"),
    (("NodeGuard", "Marks", "Codes"), [113100], "is no list"),
    (("NodeGuard", "Marks", "PseudonymPrefixes"), [""], "is no list"),
    (("NodeGuard", "Marks", "Extra"), [], "exactly the keys"),
    (("NodeGuard", "Roles"), [], "no mappings"),
    (("NodeGuard", "Roles"), {"admin": "admin"}, "other users"),
    (("NodeGuard", "Roles", "rita"), "Reader", "the role of 'rita' is none"),
    (("NodeGuard", "Roles", "rita"), None, "the role of 'rita' is none"),
    (("AuthenticationEnabled",), False, "AuthenticationEnabled"),
    (("AuthenticationEnabled",), None, "AuthenticationEnabled"),
    (("RegisteredUsers",), {}, "RegisteredUsers"),
]


@pytest.mark.parametrize(("path", "value", "said"), WRONG)
def test_configuration_is_refused(path: tuple[str, ...], value: Any, said: str) -> None:
    configuration = copy.deepcopy(CONFIGURATION)
    place = configuration
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(SettingsError) as refused:
        read(configuration)
    assert said in str(refused.value)
    assert "a-password" not in str(refused.value)


def test_marks_that_ask_for_nothing_are_refused() -> None:
    configuration = copy.deepcopy(CONFIGURATION)
    configuration["NodeGuard"]["Marks"] = {
        "IdentityRemoved": False,
        "Methods": [],
        "Codes": [],
        "PseudonymPrefixes": [],
    }
    with pytest.raises(SettingsError, match="asks for nothing"):
        read(configuration)


def test_simulation_of_the_image_is_guarded() -> None:
    path = Path(__file__).resolve().parents[3] / "images/orthanc/orthanc.json"
    guard = read(json.loads(path.read_text(encoding="utf-8")))
    assert guard.roles == {"admin": "admin"}
    assert guard.marks.prefixes == ("ANON-",)
