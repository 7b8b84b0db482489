"""Lookup plugin: the images of this project and their names."""

from __future__ import annotations

DOCUMENTATION = r"""
name: built_images
author: The AusCAT imaging node project (!UNKNOWN)
short_description: The images of this project and the names that follow from their inputs
version_added: 0.1.0
description:
  - Reads the C(image.yml) of each image and the files beside it, on the controller.
  - Returns one mapping, image name to its description, each image after the one that it is built
    from. The key C(ref) holds the name to run, C(auscat-imaging/<name>:<digest of its inputs>).
options:
  _terms:
    description: The directory with the images. Without it, C(images/) of this collection.
    type: path
  refresh:
    description: Any text. Another text gives all images other names, so they are built anew.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what would run as Orthanc
  ansible.builtin.debug:
    msg: "{{ lookup('auscat.imaging.built_images')['orthanc'].ref }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping of image names to what C(image.yml) says and name, ref, lineage, path, archive.
  type: list
  elements: dict
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.auscat.imaging.plugins.module_utils.images.inputs import (
    ImageError,
    describe_images,
)

# A template that names an image is evaluated for many tasks; the files do not change meanwhile.
_described = lru_cache(maxsize=4)(describe_images)


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(
        self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, dict[str, Any]]]:
        """Return a list of one mapping."""
        self.set_options(var_options=variables, direct=kwargs)
        own = Path(__file__).resolve().parents[2] / "images"
        directory = Path(str(terms[0])).expanduser() if terms and terms[0] else own
        try:
            return [_described(directory, str(self.get_option("refresh")))]
        except (ImageError, OSError) as error:
            raise AnsibleLookupError(f"The images cannot be described: {error}") from error
