"""Make the checkout importable as the collection auscat.imaging, as Ansible itself does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from pynetdicom.association import Association

REPOSITORY = Path(__file__).resolve().parents[2]

_AnsibleCollectionFinder(paths=[str(REPOSITORY / ".collections")])._install()


#: Those that take longest, first, so that none of them runs alone in the end.
LONGEST = (
    "ctp_rules/test_ctp_rules_encoded.py",
    "ctp_rules/test_ctp_rules_judged.py",
    "ctp_supervisor/completeness/test_net_around_ctp.py",
    "ctp_gate/test_rude_senders.py",
    "tools/test_killed_at_each.py",
    "ctp_supervisor/held_back/test_ctp_supervisor_unpacking.py",
    "firewall/test_port_guard.py",
    "services/test_database.py",
    "ctp_standin/test_auscat_entrypoint.py",
    "backup/test_backup_run.py",
    "ctp_supervisor/machine/test_ctp_supervisor_threads.py",
    "ctp_standin/test_ctp_standin_rules.py",
    "ctp_standin/test_ctp_standin_as_ctp.py",
    "proof/test_proof.py",
    "ctp_gate/test_holding_gate.py",
    "proof/test_pixel_text.py",
    "ctp_standin/test_ctp_standin_gateway.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the longest modules out first; tools/unit.sh keeps xdist from another order."""
    here = Path(__file__).parent
    place = {here / name: number for number, name in enumerate(LONGEST)}
    for path in place:
        assert path.is_file(), f"{path} of LONGEST is not there"
    items.sort(key=lambda item: place.get(item.path, len(place)))


_serve_request = Association._serve_request


def _keep_answers(self: Association, message: Any, context: int) -> None:
    """As in molecule/shared/streams.py: pynetdicom's own thread, on a busy machine, takes an answer
    from who waits for it, and drops it."""
    if message.is_valid_response:
        self.dimse.msg_queue.put((context, message))
    else:
        _serve_request(self, message, context)


Association._serve_request = _keep_answers  # type: ignore[assignment, method-assign]
