"""The supported distributions are said once, in the defaults of the role preflight."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]


def test_galaxy_is_told_what_the_preflight_accepts() -> None:
    program = REPOSITORY / "tools" / "distributions.py"
    check = subprocess.run(
        [sys.executable, program, "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr


def test_a_bundle_has_the_debian_releases_that_the_preflight_accepts() -> None:
    meta = yaml.safe_load((REPOSITORY / "roles/bundle/meta/main.yml").read_text())
    (debian,) = (
        each["versions"] for each in meta["galaxy_info"]["platforms"] if each["name"] == "Debian"
    )
    specs = yaml.safe_load((REPOSITORY / "roles/bundle/meta/argument_specs.yml").read_text())
    option = specs["argument_specs"]["main"]["options"]["bundle_suites"]
    assert option["choices"] == option["default"] == debian
