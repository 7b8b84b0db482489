"""What goes out over one association: which data sets there are, and whether they may leave.

The relay forwards nothing of a PDU before it was shown here. The last fragment of a data set is
therefore never forwarded before all of it has been checked, and without it Orthanc stores nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..completeness.arrivals import Record
from ..completeness.whole import Departure, Finding, Whole
from ..dicom import dimse, pdu
from ..dicom.encoding import Bytes
from .egress import Checker, Violation

REFUSED = 0xC001
"""C-STORE: Cannot understand (PS3.4 B.2.3). Any failure makes CTP quarantine the object."""
_NO_CONTEXT = 0


@dataclass(frozen=True)
class Request:
    """A command that a data set follows."""

    context: int
    command: dimse.Command

    @property
    def sop_class_uid(self) -> str:
        """Affected SOP Class UID, as text."""
        return _text(self.command.sop_class_uid)

    @property
    def sop_instance_uid(self) -> str:
        """Affected SOP Instance UID, as text."""
        return _text(self.command.sop_instance_uid)

    def answer(self, status: int) -> bytes:
        """The C-STORE-RSP with that status, as a PDU."""
        return dimse.store_response(self.context, self.command, status)


@dataclass(frozen=True)
class Refused:
    """A data set that must not leave, or that is held back."""

    request: Request
    why: str
    finding: Finding | None = None
    """Where it is not what the script makes of what came."""


class Outgoing:
    """Follows the PDUs of the side that stores."""

    def __init__(self, prefixes: Sequence[str], whole: Whole | None = None) -> None:
        """``whole`` knows what came of each object."""
        self._prefixes = tuple(prefixes)
        self._whole = whole
        self._departure: Departure | None = None
        self._syntaxes: dict[int, str] = {}
        self._command = bytearray()
        self._context = _NO_CONTEXT
        """Of a command that has begun."""
        self._request: Request | None = None
        self._checker: Checker | None = None
        self.refused: Refused | None = None
        """The data set that must not leave, if there was one: the association is at its end."""
        self.complete = False
        """Whether all of the refused data set has come."""
        self.latest: Request | None = None
        """What the latest data set belongs to."""
        self.size = 0
        """Bytes of it that have come."""
        self.whole = False
        """Whether all of it has come."""
        self.passed = ""
        """SOP Instance UID of the latest data set that may leave."""
        self.values: dict[int, str] = {}
        """What it says of itself (``egress.Checker``)."""
        self.arrival: Record | None = None
        """What is kept of it."""
        self.leaving: bytes | bytearray = b""
        """The latest PDU as it may be forwarded."""

    def accepted(self, answer: bytes) -> None:
        """Learn the transfer syntaxes from the A-ASSOCIATE-AC. Raises ``ProtocolError``."""
        self._syntaxes = pdu.accepted_syntaxes(answer)

    def hold_back(self, why: str) -> None:
        """Let the latest data set leave no further; for the rest of it see ``may_leave``."""
        assert self.latest is not None
        self._end_check()
        self.refused = Refused(self.latest, why)
        self.complete = self.whole

    def may_leave(self, found: bytes) -> bool:
        """Whether this PDU may be forwarded.

        When not: ``refused`` says why, ``complete`` when to answer; the rest of the data set is
        still to be shown here. Raises ``ProtocolError``, or ``OSError`` of the data directory.
        """
        self.leaving = found
        if found[0] != pdu.P_DATA:
            return self.refused is None
        view = memoryview(found)
        position = 6
        while position < len(view):
            if position + 6 > len(view):
                raise pdu.ProtocolError("a PDV cut short")
            length, context, header = struct.unpack_from(">IBB", view, position)
            end = position + 4 + length
            if length < 2 or end > len(view):
                raise pdu.ProtocolError("a PDV longer than its PDU")
            fragment = view[position + 6 : end]
            if self.complete:
                raise pdu.ProtocolError("more than the answer was waited for")
            if header & 1:
                self._take_command(context, bytes(fragment), bool(header & 2))
            else:
                changed = self._take_data(context, fragment, bool(header & 2))
                if changed is not fragment:
                    if not isinstance(self.leaving, bytearray):
                        self.leaving = bytearray(found)
                    self.leaving[position + 6 : end] = changed
            position = end
        return self.refused is None

    def _take_command(self, context: int, fragment: bytes, last: bool) -> None:
        if self._request is not None or self._context not in (_NO_CONTEXT, context):
            raise pdu.ProtocolError("a command within another message")
        self._context = context
        self._command += fragment
        if len(self._command) > pdu.LARGEST_REQUEST:
            raise pdu.ProtocolError("a command without end")
        if not last:
            return
        command = dimse.parse(bytes(self._command), strict=True)
        self._command.clear()
        self._context = _NO_CONTEXT
        if not command.data_set:
            return
        self._request = Request(context, command)
        if command.field != dimse.C_STORE_RQ:
            # Nothing that CTP exports is sent so, and nothing may leave that is not checked.
            raise pdu.ProtocolError("a data set that is not to be stored")
        if not self._request.sop_instance_uid:
            raise pdu.ProtocolError("nothing to store")
        self.latest, self.size, self.whole = self._request, 0, False
        self.arrival = None
        syntax, uid = self._syntaxes.get(context, ""), self._request.sop_instance_uid
        try:
            self._checker = Checker(syntax, self._prefixes, uid)
            if self._whole is not None:
                self._departure = self._whole.begin(syntax, uid)
        except Violation as violation:
            self._refuse(violation)

    def _take_data(self, context: int, fragment: memoryview, last: bool) -> Bytes:
        """Return what is to leave in its place, of the same length."""
        leaves: Bytes = fragment
        request = self._request
        if request is None or request.context != context:
            raise pdu.ProtocolError("a data set without its command")
        self.size += len(fragment)
        self.whole = last
        if self._checker is not None:
            try:
                self._checker.feed(fragment)
                if self._departure is not None:
                    leaves = self._departure.feed(fragment, self._checker.pixels_at)
                if last:
                    self._checker.finish()
                    if self._is_whole(request):
                        self.passed = request.sop_instance_uid
                        self.values = self._checker.values
            except Violation as violation:
                self._refuse(violation)
        if last:
            self._end_check()
            self._request = None
            self.complete = self.refused is not None
        return leaves

    def _is_whole(self, request: Request) -> bool:
        if self._departure is None:
            return True
        found = self._departure.judge()
        if isinstance(found, Finding):
            self.refused = Refused(request, found.why, found)
            return False
        self.arrival = found
        return True

    def close(self) -> None:
        """The association has ended."""
        self._end_check()

    def _end_check(self) -> None:
        self._checker = None
        if self._departure is not None:
            self._departure.close()
            self._departure = None

    def _refuse(self, violation: Violation) -> None:
        assert self._request is not None
        self._end_check()
        self.refused = Refused(self._request, str(violation))


def _text(uid: bytes) -> str:
    return uid.decode("ascii", "replace").strip(" \0")
