#!/usr/bin/env python3
"""Write docs/ctp-score.md, and its table by action into docs/ctp.md: the share of right actions.

Needs dciodvfy (``make machine`` installs it), since the tests that share the
objects judge them. The tests of tests/unit/ctp_rules compare the pages with what they find.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write the pages."""
    _AnsibleCollectionFinder(paths=[str(REPOSITORY / ".collections")])._install()
    for place in ("tests/marks", "tests/unit/ctp_rules", "images/shared", "images/ctp_rsna/src"):
        sys.path.insert(0, str(REPOSITORY / place))
    from ctp_rules_score_page import PAGE, SUMMARY_PAGE, page, with_summary

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        PAGE.write_text(page())
        SUMMARY_PAGE.write_text(with_summary(SUMMARY_PAGE.read_text()))


if __name__ == "__main__":
    main()
