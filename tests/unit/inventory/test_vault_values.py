from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import (
    guardrails,
    vault_values,
)

INVENTORY = """
keydb_password: "{{ vault_keydb_password }}"
orthanc_registered_users:
  admin: "{{ vault_orthanc_admin_password }}"
  "{{ vault_named_user }}": x
# researcher: "{{ vault_commented_password }}"
tokens: ["{{ vault_registry_token }}"]
other: !vault |
  vault_inside_password
"""


def test_what_is_referred_to() -> None:
    assert vault_values.referenced([INVENTORY]) == {
        "vault_keydb_password",
        "vault_orthanc_admin_password",
        "vault_registry_token",
        "vault_inside_password",
    }


def test_what_the_inventory_sets_itself_is_not_asked_of_the_vault() -> None:
    own = "vault_keydb_password: \"{{ lookup('env', 'KEYDB_PASSWORD') }}\""
    assert "vault_keydb_password" not in vault_values.referenced([INVENTORY, own])


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_refers_to_nothing(text: str) -> None:
    assert vault_values.referenced([text]) == set()


def test_an_inventory_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(vault_values.VaultError, match="no YAML"):
        vault_values.referenced(["a: b: c"])


def test_values_pass_the_guardrails_and_every_syntax() -> None:
    values = {vault_values.new_value() for _ in range(200)}
    assert len(values) == 200
    for value in values:
        assert re.fullmatch(r"[A-Za-z0-9]{20,}", value)
        assert not guardrails.password_problems([guardrails.Credential("x", "", value)])


@pytest.mark.parametrize(
    ("name", "is_invented"),
    [
        ("vault_keydb_password", True),
        ("vault_host_volume_encryption_key", True),
        ("vault_images_registry_token", False),
        ("vault_password_of_somebody", False),
    ],
)
def test_which_values_are_invented(name: str, is_invented: bool) -> None:
    assert bool(vault_values.INVENTED.search(name)) == is_invented


def test_a_new_vault() -> None:
    text = vault_values.completed("", ["vault_b_password", "vault_a_password"])
    assert list(yaml.safe_load(text)) == ["vault_a_password", "vault_b_password"]
    assert text.startswith("---\n")


def test_what_is_there_stays() -> None:
    before = "---\n# ours\nvault_a_password: 'old'  # since 2024\nvault_c_password:"
    text = vault_values.completed(before, ["vault_a_password", "vault_b_password"])
    assert text.startswith(before)
    after = yaml.safe_load(text)
    assert after["vault_a_password"] == "old"
    assert len(after["vault_b_password"]) == vault_values.LENGTH
    assert after["vault_c_password"] is None


@pytest.mark.parametrize("text", ["- hunter2\n", "hunter2", "a: b: hunter2"])
def test_a_vault_that_is_no_mapping_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(vault_values.VaultError) as error:
        vault_values.names_in(text)
    assert "hunter2" not in str(error.value)


CERTIFICATES = {"vault_auscat_certificates": {"kv01": {"certificate": "a\nb\n", "key": "c\n"}}}
MORE = {"vault_auscat_certificates": {"kv01": {"certificate": "d\n"}, "cv01": {"key": "e # f\n"}}}


@pytest.mark.parametrize(
    "before",
    [
        "",
        "---\n# ours\nvault_a_password: 'old'  # since 2024\n",
        "vault_auscat_certificates:\n  kv01:\n    key: |\n      x\n\n# ours\nvault_a_password: a\n",
        "vault_auscat_certificates: {kv01: {key: x}}  # ours\nvault_a_password: old\n",
        "vault_a_password: old\nvault_auscat_certificates:  # ours\n",
    ],
)
def test_certificates_are_written_and_replaced(before: str) -> None:
    kept = {
        name: value
        for name, value in (yaml.safe_load(before) or {}).items()
        if name not in CERTIFICATES
    }
    text = vault_values.with_values(before, CERTIFICATES)
    assert yaml.safe_load(text) == {**kept, **CERTIFICATES}
    again = vault_values.with_values(text, MORE)
    assert yaml.safe_load(again) == {**kept, **MORE}
    assert ("# ours" in again) == ("# ours" in before)
    gone = vault_values.with_values(again, {"vault_auscat_certificates": {}})
    assert (yaml.safe_load(gone) or {}) == kept
    assert ("# ours" in gone) == ("# ours" in before)


@pytest.mark.parametrize("text", ["- a\n- list\n", "---\n{vault_a_password: kept}\nvault_b: x\n"])
def test_certificates_are_not_written_where_it_cannot_be(text: str) -> None:
    with pytest.raises(vault_values.VaultError):
        vault_values.with_values(text, CERTIFICATES)


def test_a_rotation_says_how_the_key_of_a_swarm_is_replaced() -> None:
    values = {"vault_swarm_unlock_keys": {"kv01": "x"}, "vault_a_password": "old"}
    places = {"vault_a_password": ["a_password"]}
    plan = vault_values.plan_rotation(places, values, {"a_password": ""}, [], {})
    assert plan.names == ["vault_a_password"]
    assert "rotate=swarm_unlock_key" in plan.left_out["vault_swarm_unlock_keys"]


def test_a_rotation_leaves_certificates_alone() -> None:
    values = {"vault_auscat_ca": {"key": "x"}, "vault_a_password": "old"}
    plan = vault_values.plan_rotation(
        {"vault_a_password": ["a_password"]}, values, {"a_password": ""}, [], {}
    )
    assert plan.names == ["vault_a_password"]
    assert "renew_certificates.yml" in plan.left_out["vault_auscat_ca"]
