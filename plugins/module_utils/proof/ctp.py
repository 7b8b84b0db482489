"""The proof's client of CTP: its page, from outside, as a user of the node would."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError, Http
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    UID_ROOT,
)


@dataclass(frozen=True)
class Quarantined:
    """An object in CTP's quarantine."""

    identifier: str
    sop_instance_uid: str
    reason: str


class Ctp(Protocol):
    """What the proof asks of a page that shows CTP's quarantine."""

    def table_age(self) -> float | None:
        """Return how many seconds ago CTP read KeyDB; None where it asks for each object."""

    def login_problems(self) -> list[str]:
        """Return what the page answers without the right password, though it should not."""

    def quarantine(self) -> list[Quarantined]:
        """Return what lies in quarantine."""

    def counts(self) -> str:
        """Return what the page counts, in words."""

    def remove(self, entry: Quarantined) -> None:
        """Remove an object of a proof from the quarantine."""


class StatusPageCtp:
    """A page with JSON at ``/api/status``: of the stand-in, and of what stands before stock CTP."""

    STATUS = "/api/status"

    def __init__(self, http: Http) -> None:
        self._http = http

    def _status(self) -> dict[str, Any]:
        status = self._http.get_json(self.STATUS)
        if not isinstance(status, dict) or not isinstance(status.get("quarantine"), list):
            raise ClientError(
                f"{self._http.url}{self.STATUS} is not the page of this flavour of CTP; see the"
                " variables ctp_flavour and verify_ctp_url"
            )
        return status

    def table_age(self) -> float | None:
        """See `Ctp`."""
        keydb = self._status().get("keydb") or {}
        age = keydb.get("age_seconds")
        if keydb and age is None:
            return math.inf
        return None if age is None else float(age)

    def login_problems(self) -> list[str]:
        """See `Ctp`."""
        return self._http.login_problems(self.STATUS)

    def quarantine(self) -> list[Quarantined]:
        """See `Ctp`."""
        return [
            Quarantined(
                identifier=str(entry["id"]),
                sop_instance_uid=str(entry.get("sop_instance_uid") or ""),
                reason=str(entry["reason"]),
            )
            for entry in self._status()["quarantine"]
        ]

    def counts(self) -> str:
        """See `Ctp`."""
        status = self._status()
        names = ("received", "forwarded", "queued", "quarantined")
        return "its page said at that moment: " + ", ".join(
            f"{name} {'not known' if status.get(name) is None else status[name]}" for name in names
        )

    def remove(self, entry: Quarantined) -> None:
        """See `Ctp`.

        Raises:
            ClientError: it is no object of a proof, or was not removed.
        """
        if not entry.sop_instance_uid.startswith(UID_ROOT):
            raise ClientError("refused to remove an object that is not of a proof")
        # The identifier is CTP's; it goes into a path as it is.
        if not re.fullmatch(r"[A-Za-z0-9._-]+", entry.identifier):
            raise ClientError(f"CTP's quarantine has an odd identifier: {entry.identifier!r}")
        status, _ = self._http.send("DELETE", f"/api/quarantine/{entry.identifier}")
        if status not in {200, 204, 404}:
            raise ClientError(f"removing from CTP's quarantine answered with status {status}")


class AuscatCtp:
    """The page of the image auscat/customized_ctp, whose inside is not ours.

    From outside nobody can see what lies in its quarantine, nor remove anything from it.
    """

    def __init__(self, http: Http) -> None:
        self._http = http

    def answer(self) -> tuple[list[str], str]:
        """Ask for its page; return problems and what was seen.

        Raises:
            ClientError: no answer.
        """
        status, _ = self._http.send("GET", "/")
        seen = f"{self._http.url} answers with status {status}"
        return ([seen] if status >= 500 else []), seen


CTP_FLAVOURS: dict[str, Callable[[Http], Ctp | AuscatCtp]] = {
    "auscat": AuscatCtp,
    "rsna": StatusPageCtp,
    "standin": StatusPageCtp,
}


def open_ctp(flavour: str, http: Http) -> Ctp | AuscatCtp:
    """Return the client for a flavour of CTP (a key of `CTP_FLAVOURS`)."""
    return CTP_FLAVOURS[flavour](http)


def summarize_reasons(entries: Sequence[Quarantined]) -> str:
    """Return how many objects lie in quarantine for which reason."""
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.reason] = counts.get(entry.reason, 0) + 1
    return ", ".join(f"{count} for {reason!r}" for reason, count in sorted(counts.items()))
