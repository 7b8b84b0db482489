#!/usr/bin/env python3
"""Write docs/ctp-objects.md: what objects lose, by de-identifying and judging them as the tests do.

Needs dciodvfy (``make machine`` installs it). The tests of
tests/unit/ctp_rules compare the page with what they find.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

REPOSITORY = Path(__file__).resolve().parents[1]
TARGET = REPOSITORY / "docs" / "ctp-objects.md"


def main() -> None:
    """Write the page."""
    _AnsibleCollectionFinder(paths=[str(REPOSITORY / ".collections")])._install()
    for place in ("tests/unit/ctp_rules", "images/shared", "images/ctp_rsna/src"):
        sys.path.insert(0, str(REPOSITORY / place))
    from ctp_rules_table import page

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        TARGET.write_text(page())


if __name__ == "__main__":
    main()
