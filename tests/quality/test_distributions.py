"""The supported distributions are said once, in the defaults of the role preflight."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
ROLES = sorted(path.parents[1].name for path in REPOSITORY.glob("roles/*/meta/main.yml"))
CODENAMES = {
    "debian 12": ("Debian", "bookworm"),
    "debian 13": ("Debian", "trixie"),
    "ubuntu 22.04": ("Ubuntu", "jammy"),
    "ubuntu 24.04": ("Ubuntu", "noble"),
}
"""What Galaxy calls a distribution. A further one gets its line here."""


def accepted() -> list[str]:
    defaults = yaml.safe_load((REPOSITORY / "roles/preflight/defaults/main.yml").read_text())
    return list(defaults["preflight_distributions"])


@pytest.mark.parametrize("role", ROLES)
def test_galaxy_is_told_what_the_preflight_accepts(role: str) -> None:
    meta = yaml.safe_load((REPOSITORY / "roles" / role / "meta/main.yml").read_text())
    told = {
        (platform["name"], version)
        for platform in meta["galaxy_info"]["platforms"]
        for version in platform["versions"]
    }
    assert told == {CODENAMES[each] for each in accepted()}


def test_a_bundle_has_the_debian_releases_that_the_preflight_accepts() -> None:
    debian = {CODENAMES[each][1] for each in accepted() if each.startswith("debian")}
    specs = yaml.safe_load((REPOSITORY / "roles/bundle/meta/argument_specs.yml").read_text())
    option = specs["argument_specs"]["main"]["options"]["bundle_suites"]
    assert set(option["choices"]) == set(option["default"]) == debian
