from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import vault_values
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.vault_values import (
    VaultError,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack import rotation

SERVICES = {
    "keydb_password": "",
    "orthanc_registered_users": "",
    "portainer_admin_password": "it reads it once",
}
PLACES = {
    "vault_keydb_password": {"keydb_password"},
    "vault_orthanc_a_password": {"orthanc_registered_users.a"},
    "vault_in_hosts_password": {"all.vars.keydb_password"},
    "vault_portainer_admin_password": {"portainer_admin_password"},
    "vault_disk_encryption_key": {"host_volume_encryption_key"},
    "vault_shared_password": {"keydb_password", "backup_password"},
    "vault_token": {"images_registry_login.password"},
    "vault_absent_password": {"keydb_password"},
}
VALUES: dict[str, Any] = {
    **{name: f"old {name}" for name in PLACES if name != "vault_absent_password"},
    "vault_unused_password": "old",
    "vault_number_password": 12,
}
ROTATED = ["vault_in_hosts_password", "vault_keydb_password", "vault_orthanc_a_password"]


def plan(
    wished: list[str] | None = None,
    unfinished: dict[str, str] | None = None,
    values: dict[str, Any] | None = None,
) -> vault_values.Rotation:
    return vault_values.plan_rotation(
        PLACES, values or VALUES, SERVICES, wished or [], unfinished or {}
    )


def test_passwords_of_services_are_replaced_and_nothing_else() -> None:
    made = plan()
    assert made.names == made.renewed == ROTATED
    assert made.old == {name: f"old {name}" for name in ROTATED}
    assert made.resumed == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vault_portainer_admin_password", "it reads it once"),
        ("vault_disk_encryption_key", "host_volume_encryption_key uses it"),
        ("vault_shared_password", "backup_password uses it"),
        ("vault_token", "somebody else"),
        ("vault_absent_password", "does not hold it"),
        ("vault_unused_password", "nothing in the inventory uses it"),
        ("vault_number_password", "no text"),
    ],
)
def test_what_is_left_alone_says_why(name: str, says: str) -> None:
    assert says in plan().left_out[name]
    with pytest.raises(VaultError, match="Nothing was changed"):
        plan([name])


@pytest.mark.parametrize("word", ["keydb_password", "vault_keydb_password"])
def test_names_with_and_without_prefix(word: str) -> None:
    assert plan([word]).names == ["vault_keydb_password"]


def test_an_unknown_name_is_refused_with_those_that_can_be() -> None:
    with pytest.raises(
        VaultError, match=r"vault_keydb_password, vault_orthanc_a_password\. Nothing"
    ):
        plan(["kedb_password"])


def test_an_unfinished_rotation_is_finished_and_not_begun_again() -> None:
    values = {**VALUES, "vault_keydb_password": "new already"}
    unfinished = {
        "vault_keydb_password": "the old one",
        "vault_orthanc_a_password": "old vault_orthanc_a_password",
    }
    made = plan(["in_hosts_password"], unfinished, values)
    assert made.names == ROTATED
    assert made.renewed == ["vault_in_hosts_password", "vault_orthanc_a_password"]
    assert made.old["vault_keydb_password"] == "the old one"
    assert made.resumed == ["vault_keydb_password", "vault_orthanc_a_password"]


def test_an_unfinished_name_that_is_gone_is_refused() -> None:
    with pytest.raises(VaultError, match="Put it back"):
        plan(unfinished={"vault_gone_password": "x"})


def test_nothing_to_replace_is_refused() -> None:
    with pytest.raises(VaultError, match="no value that can be replaced"):
        vault_values.plan_rotation({}, {}, SERVICES, [], {})


@pytest.mark.parametrize(
    "text",
    [
        "---\n# ours\nvault_a: 'old'  # since 2024\nvault_b: kept\n",
        '{vault_a: "old", vault_b: kept}\n',
        "vault_a: |\n  old\nvault_b: kept\n",
        "vault_a:\n  old\nvault_b: kept",
        "vault_a:\nvault_b: kept\n",
    ],
    ids=["quoted", "flow", "block", "next line", "empty"],
)
def test_one_value_is_replaced_and_the_rest_stays(text: str) -> None:
    changed = vault_values.replaced(text, ["vault_a"])
    after = yaml.safe_load(changed)
    assert after["vault_b"] == "kept"
    assert len(after["vault_a"]) == vault_values.LENGTH
    assert ("# since 2024" in changed) == ("# since 2024" in text)


@pytest.mark.parametrize(
    "text",
    ["vault_b: &x old\nvault_a: *x\n", "vault_a: [old]\n", "vault_a: !vault old\n", "vault_b: 1\n"],
    ids=["alias", "list", "encrypted alone", "absent"],
)
def test_what_cannot_be_replaced_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(VaultError) as error:
        vault_values.replaced(text, ["vault_a"])
    assert "old" not in str(error.value)


def test_the_record_is_what_it_keeps() -> None:
    old = {"vault_a": "x: y #'\"", "vault_b": "12"}
    assert vault_values.values_in(vault_values.record(old)) == old


DECLARED = [
    {"variable": "keydb_password", "service": "keydb", "secret": "keydb_pass", "fixed": ""},
    {"variable": "other_password", "service": "other", "secret": "other", "fixed": ""},
]


def test_a_fixed_variable_stays_fixed() -> None:
    definitions = [
        {"name": "a", "secrets": [{"name": "x", "variable": "v", "fixed": "why"}]},
        {"name": "b", "secrets": [{"name": "x", "variable": "v"}, {"name": "user"}]},
    ]
    declared = rotation.declared_secrets(definitions)
    assert [each["service"] for each in declared] == ["a", "b"]
    assert rotation.fixed_variables(declared) == {"v": "why"}


def test_a_secret_of_several_variables() -> None:
    """orthanc.json holds the passwords of two."""
    secret = {"name": "x", "variable": "v", "further_variables": ["w"]}
    declared = rotation.declared_secrets([{"name": "a", "secrets": [secret]}])
    assert [(each["variable"], each["secret"]) for each in declared] == [("v", "x"), ("w", "x")]
    logins = [{"variable": "w", "user": "rita", "old": "refused", "new": "accepted"}]
    (row,) = rotation.rotation_rows("kv", {"vault_w": ["w.password"]}, declared, logins, [], [])
    assert row["secret"] == "w, user rita"


def rows(**login: str) -> list[dict[str, Any]]:
    return rotation.rotation_rows(
        "kv",
        {"vault_keydb_password": ["keydb_password"], "vault_x": ["elsewhere"]},
        DECLARED,
        [{"variable": "keydb_password", "user": "key_admin", **login}],
        ["keydb", "orthanc"],
        ["auscat_keydb_pass_v1", "auscat_other_v3"],
    )


def test_a_row_says_what_became_of_a_secret() -> None:
    (row,) = rows(old="refused", new="accepted")
    assert row["passed"]
    assert (row["restarted"], row["removed"]) == ("keydb", "auscat_keydb_pass_v1")
    assert "kv    keydb_password, user key_admin" in rotation.rotation_report([row])


@pytest.mark.parametrize(
    ("old", "new"), [("ACCEPTED", "accepted"), ("refused", "REFUSED"), ("refused", "no answer")]
)
def test_a_rotation_that_did_not_work_is_not_passed(old: str, new: str) -> None:
    (row,) = rows(old=old, new=new)
    assert not row["passed"]


def test_a_secret_that_nobody_can_try_is_shown_as_such() -> None:
    (row,) = rotation.rotation_rows("kv", {"vault_o": ["other_password"]}, DECLARED, [], [], [])
    assert row["passed"]
    assert (row["old"], row["restarted"]) == ("not tried", "none in this run")


def test_places_are_the_keys_from_the_root() -> None:
    text = 'users: {admin: "{{ vault_a }}"}\nlist: [{b: "{{ vault_a }}"}]\n'
    assert vault_values.uses([text]) == {"vault_a": {"users.admin", "list.b"}}
