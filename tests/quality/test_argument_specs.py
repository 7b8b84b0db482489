"""Every role says the same twice: to a person in defaults/main.yml, to Ansible in its specs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

REPOSITORY = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (REPOSITORY / "roles").iterdir() if path.is_dir())


def load(role: str, file: str) -> dict[str, Any]:
    path = REPOSITORY / "roles" / role / file
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def options(role: str) -> dict[str, dict[str, Any]]:
    return load(role, "meta/argument_specs.yml")["argument_specs"]["main"].get("options") or {}


def is_template(value: Any) -> bool:
    return "{{" in str(value) or "{%" in str(value)


@pytest.mark.parametrize("role", ROLES)
def test_role_has_its_standard_files(role: str) -> None:
    for file in ("meta/main.yml", "meta/argument_specs.yml"):
        assert load(role, file), f"roles/{role}/{file} is missing or empty"
    assert load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["short_description"]


@pytest.mark.parametrize("role", ROLES)
def test_specs_and_defaults_name_the_same_variables(role: str) -> None:
    optional = {name for name, option in options(role).items() if not option.get("required")}
    assert optional == set(load(role, "defaults/main.yml"))


@pytest.mark.parametrize("role", ROLES)
def test_specs_and_defaults_hold_the_same_values(role: str) -> None:
    defaults = load(role, "defaults/main.yml")
    different = {
        name: {"argument_specs.yml": option.get("default"), "defaults/main.yml": defaults[name]}
        for name, option in options(role).items()
        # The types too: True is equal to 1 in Python and not to an operator.
        if name in defaults
        and (
            option.get("default") != defaults[name]
            or type(option.get("default")) is not type(defaults[name])
        )
    }
    assert not different


@pytest.mark.parametrize("role", ROLES)
def test_required_variables_have_no_default(role: str) -> None:
    required = {name for name, option in options(role).items() if option.get("required")}
    assert not {name for name in required if "default" in options(role)[name]}
    assert not required & set(load(role, "defaults/main.yml"))


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_described(role: str) -> None:
    poor = {
        name: missing
        for name, option in options(role).items()
        if (missing := [key for key in ("description", "type") if not option.get(key)])
    }
    assert not poor
    lists = {name for name, option in options(role).items() if option["type"] == "list"}
    assert not {name for name in lists if "elements" not in options(role)[name]}


@pytest.mark.parametrize("role", ROLES)
def test_public_variables_carry_the_name_of_their_role(role: str) -> None:
    assert not {name for name in options(role) if not name.startswith(f"{role}_")}


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_values_that_the_specs_accept(role: str) -> None:
    literal = {
        name: option["default"]
        for name, option in options(role).items()
        if "default" in option and not is_template(option["default"])
    }
    known = {name: {**options(role)[name]} for name in literal}
    assert not ArgumentSpecValidator(known).validate(literal).error_messages


@pytest.mark.parametrize("role", ROLES)
def test_secret_options_are_kept_out_of_the_log(role: str) -> None:
    secret = re.compile(r"(password|passphrase|token|secret_key)s?$")
    open_ones = {
        name
        for name, option in options(role).items()
        if secret.search(name) and not option.get("no_log")
    }
    assert not open_ones


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_commented(role: str) -> None:
    """A variable stands below a comment, or in a paragraph that begins with one."""
    path = REPOSITORY / "roles" / role / "defaults" / "main.yml"
    if not path.exists():
        return
    bare = []
    for paragraph in re.split(r"\n\s*\n", path.read_text().removeprefix("---\n")):
        lines = paragraph.strip().splitlines()
        if lines and not lines[0].startswith("#"):
            bare += [line.split(":")[0] for line in lines if re.match(r"\w+:", line)]
    assert not bare, "variables in a paragraph without a comment above it"
