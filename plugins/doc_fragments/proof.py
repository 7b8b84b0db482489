"""Documentation that the modules of the proof share."""

from __future__ import annotations


class ModuleDocFragment:
    """What each of them is told (DOCUMENTATION), and what the study that is sent follows from."""

    DOCUMENTATION = r"""
options:
  where:
    description: Name of this host in the report.
    type: str
    required: true
author: The AusCAT imaging node project (!UNKNOWN)
"""

    STUDY = r"""
options:
  token:
    description: Ten digits, the first one 1, from which the study follows.
    type: str
    required: true
  ct_instances:
    description: Number of CT slices in the study, 4 to 200.
    type: int
    default: 5
  pseudonym_prefix:
    description: What the known patient's pseudonym begins with; needed where CTP asks for one.
    type: str
    default: ""
  pixel_rules:
    description:
      - What the site declares, as C(ctp_pixel_rules). For each declaration with regions to blank
        an image with a name in them is part of the study.
    type: list
    elements: dict
    default: []
"""

    BLANKS = r"""
options:
  blanks:
    description: Whether images with declared regions leave CTP blanked; else it holds them back.
    type: bool
    default: true
"""
