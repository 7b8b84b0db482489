"""The lookup plugin, as a playbook uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError
from ansible.plugins.loader import lookup_loader
from ansible_collections.auscat.imaging.plugins.module_utils.images.inputs import describe_images

OWN_IMAGES = Path(__file__).resolve().parents[3] / "images"


def test_own_images_are_the_default() -> None:
    lookup = lookup_loader.get("auscat.imaging.built_images")
    assert lookup.run([], {}) == [describe_images(OWN_IMAGES)]
    assert lookup.run([], {}, refresh="x") == [describe_images(OWN_IMAGES, "x")]


def test_another_directory(tmp_path: Path) -> None:
    lookup = lookup_loader.get("auscat.imaging.built_images")
    assert lookup.run([str(tmp_path)], {}) == [{}]


def test_errors_reach_the_operator(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/image.yml").write_text("{kind: nix}")
    lookup = lookup_loader.get("auscat.imaging.built_images")
    with pytest.raises(AnsibleLookupError, match=r"cannot be described: app/image\.yml: kind is"):
        lookup.run([str(tmp_path)], {})
