"""Make the checkout importable as the collection auscat.imaging, as Ansible itself does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from pynetdicom.association import Association

REPOSITORY = Path(__file__).resolve().parents[2]

_AnsibleCollectionFinder(paths=[str(REPOSITORY / ".collections")])._install()


_serve_request = Association._serve_request


def _keep_answers(self: Association, message: Any, context: int) -> None:
    """As in molecule/shared/streams.py: pynetdicom's own thread, on a busy machine, takes an answer
    from who waits for it, and drops it."""
    if message.is_valid_response:
        self.dimse.msg_queue.put((context, message))
    else:
        _serve_request(self, message, context)


Association._serve_request = _keep_answers  # type: ignore[assignment, method-assign]
