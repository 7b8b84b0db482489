"""orthanc.json: what is put together, and what is refused in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.filter.orthanc import FilterModule
from ansible_collections.auscat.imaging.plugins.module_utils.services.orthanc import (
    OrthancConfigurationError,
    problems,
    render,
)

PASSWORD = "a-very-secure-password"


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "orthanc_name": "AusCAT ORTHANC server",
        "orthanc_remote_access_allowed": True,
        "orthanc_authentication_enabled": True,
        "orthanc_registered_users": {"admin": PASSWORD},
        "orthanc_aet": "ORTHANC",
        "orthanc_options": {},
        **{f"orthanc_{name}": value for name, value in changes.items()},
    }


def test_configuration() -> None:
    options = {"OverwriteInstances": True, "DicomModalities": {"ctp": ["CTP", "ctp", 104]}}
    assert json.loads(render(settings(options=options))) == {
        "Name": "AusCAT ORTHANC server",
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"admin": PASSWORD},
        "DicomAet": "ORTHANC",
        "MaximumPduLength": 131072,
        "DicomWeb": {"EnableMetadataCache": False},
        "OverwriteInstances": True,
        "DicomModalities": {"ctp": ["CTP", "ctp", 104]},
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowGet": False,
        "DicomAlwaysAllowMove": False,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": False,
        "ExecuteLuaEnabled": False,
        "RestApiWriteToFileSystemEnabled": False,
        "DeidentifyLogs": True,
        "LimitFindResults": 10000,
        "LimitFindInstances": 10000,
    }


def test_orthanc_is_locked_to_ctp() -> None:
    content = json.loads(render(settings(ctp_aet="GATE", ctp_addresses=["10.0.0.1", "10.0.1.1"])))
    assert content["DicomCheckModalityHost"] is True
    assert sorted(content["DicomModalities"]) == ["ctp", "ctp2"]
    modality = content["DicomModalities"]["ctp2"]
    assert (modality["AET"], modality["Host"]) == ("GATE", "10.0.1.1")
    allowed = {key for key, value in modality.items() if key.startswith("Allow") and value}
    assert allowed == {"AllowEcho", "AllowStore"}


def test_options_open_what_was_locked() -> None:
    options = {
        "DicomAlwaysAllowEcho": True,
        "LimitFindInstances": 5,
        "DicomModalities": {"viewer": ["VIEWER", "10.0.0.9", 104]},
    }
    content = json.loads(render(settings(options=options, ctp_addresses=["10.0.0.1"])))
    assert content["DicomAlwaysAllowEcho"] is True
    assert (content["LimitFindInstances"], content["LimitFindResults"]) == (5, 10000)
    assert sorted(content["DicomModalities"]) == ["ctp", "viewer"]


def test_options_win_over_our_defaults() -> None:
    options = {"MaximumPduLength": 16384}
    assert json.loads(render(settings(options=options)))["MaximumPduLength"] == 16384


def test_same_settings_give_the_same_text() -> None:
    """A change of the text is a new secret and restarts the service."""
    users = {"admin": PASSWORD, "bob": "another-password"}
    options = {"StableAge": 30, "Warnings": {"W001": False, "W002": True}}
    backwards = {"Warnings": {"W002": True, "W001": False}, "StableAge": 30}
    text = render(settings(registered_users=users, options=options))
    again = settings(registered_users=dict(reversed(users.items())), options=backwards)
    assert render(dict(reversed(again.items()))) == text
    assert text.endswith("}\n")


def test_booleans_of_the_command_line_are_understood() -> None:
    """--extra-vars name=true hands over a text."""
    content = json.loads(
        render(settings(remote_access_allowed="false", authentication_enabled="True"))
    )
    assert content["RemoteAccessAllowed"] is False
    assert content["AuthenticationEnabled"] is True


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, r"orthanc_name is ''\. Accepted: a text"),
        ({"name": " "}, "orthanc_name is ' '"),
        ({"name": 7}, "orthanc_name is 7"),
        ({"name": "$HOME"}, r"orthanc_name is '\$HOME'.*without \$"),
        ({"remote_access_allowed": "perhaps"}, "orthanc_remote_access_allowed is 'perhaps'"),
        ({"remote_access_allowed": 1}, r"remote_access_allowed is 1\. Accepted: true or false"),
        ({"authentication_enabled": False}, r"authentication_enabled is False\. Accepted: true"),
        ({"authentication_enabled": None}, "orthanc_authentication_enabled is None"),
        ({"registered_users": None}, "orthanc_registered_users is missing.*vault"),
        ({"registered_users": {}}, "orthanc_registered_users is empty"),
        ({"registered_users": ["admin"]}, "orthanc_registered_users is of the type list"),
        ({"registered_users": "admin"}, "orthanc_registered_users is of the type text"),
        ({"registered_users": {"admin": ""}}, "the password of 'admin' is empty"),
        ({"registered_users": {"admin": "  "}}, "the password of 'admin' is empty"),
        ({"registered_users": {"admin": None}}, "password of 'admin' is of the type null"),
        ({"registered_users": {"admin": 1234}}, "of the type number.*Put it in quotes"),
        ({"registered_users": {"admin": "a$b"}}, r"password of 'admin' contains \$"),
        ({"registered_users": {"": "x"}}, "contains the user ''"),
        ({"registered_users": {"a:b": "x"}}, "contains the user 'a:b'.*without :"),
        ({"registered_users": {7: "x"}}, "contains the user 7.*in quotes"),
        ({"aet": ""}, "orthanc_aet is ''"),
        ({"aet": "A" * 17}, "orthanc_aet is 'A{17}'. Accepted: an AE title, 1 to 16"),
        ({"aet": "A\\B"}, "no backslash"),
        ({"aet": " A"}, "orthanc_aet is ' A'"),
        ({"aet": "ÄET"}, "ASCII"),
        ({"ctp_aet": ""}, "orthanc_ctp_aet is ''. Accepted: an AE title"),
        ({"ctp_addresses": "10.0.0.1"}, "orthanc_ctp_addresses is of the type text"),
        (
            {"ctp_addresses": ["ctp.example"]},
            r"ctp_addresses\[0\] is 'ctp.example'. Accepted: an IPv4",
        ),
        ({"ctp_addresses": [4]}, r"orthanc_ctp_addresses\[0\] is 4"),
        ({"find_limit": -1}, "orthanc_find_limit is -1. Accepted: a whole number"),
        ({"options": None}, "orthanc_options is of the type null"),
        ({"options": []}, "orthanc_options is of the type list. Accepted: a mapping"),
        ({"options": "Name=x"}, "orthanc_options is of the type text"),
        (
            {"options": {"AuthenticationEnabled": False}},
            "orthanc_options.AuthenticationEnabled is False.*cannot be switched off",
        ),
        ({"options": {"AuthenticationEnabled": True}}, "Use orthanc_authentication_enabled"),
        ({"options": {"Name": "x"}}, "contains Name.*Use orthanc_name instead"),
        ({"options": {"RegisteredUsers": {"admin": PASSWORD}}}, "Use orthanc_registered_users"),
        ({"options": {"DicomAet": "X"}}, "Use orthanc_aet"),
        ({"options": {"HttpPort": 80}}, "contains HttpPort, which is fixed.*orthanc_web_port"),
        ({"options": {"DicomPort": 104}}, "orthanc_dicom_port"),
        ({"options": {"StorageDirectory": "/x"}}, "StorageDirectory, which is fixed"),
        ({"options": {"IndexDirectory": "/x"}}, "IndexDirectory, which is fixed"),
        ({"options": {"Plugins": []}}, "Plugins, which is fixed"),
        ({"options": {"DicomServerEnabled": False}}, "DicomServerEnabled, which is fixed"),
        ({"options": {1: 2}}, "contains the setting 1"),
        ({"options": {"Dictionary": {1: 2}}}, "orthanc_options.Dictionary contains the key 1"),
        ({"options": {"A": [1, {2, 3}]}}, r"orthanc_options\.A\[1\] is of the type set"),
        ({"options": {"A": float("nan")}}, "orthanc_options.A is no finite number"),
    ],
)
def test_problem(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(OrthancConfigurationError, match=error):
        render(settings(**changes))
    assert len(problems(settings(**changes))) == 1


def test_all_problems_are_told_together_and_no_password() -> None:
    wrong = settings(
        name="",
        registered_users={"admin": "secret$one", "b:ob": "secret-two", "eve": ""},
        options={"HttpPort": 1, "AuthenticationEnabled": False},
    )
    found = problems(wrong)
    assert len(found) == 6
    with pytest.raises(OrthancConfigurationError) as error:
        render(wrong)
    assert str(error.value).splitlines() == found
    assert "secret" not in str(error.value)


def test_missing_settings_are_problems_and_no_failure() -> None:
    assert len(problems({})) == 5


def test_filters() -> None:
    filters = FilterModule().filters()
    assert filters["orthanc_configuration"](settings()) == render(settings())
    with pytest.raises(AnsibleFilterError, match="orthanc_name is ''"):
        filters["orthanc_configuration"](settings(name=""))
