"""What comes in over one association, and what CTP is given of it.

Each data set is rewritten on the way (``data_set.rewrite``) and kept until it has left
(``completeness.arrivals``); everything else passes as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..completeness.arrivals import Arrival, Arrivals
from ..data_set import beside
from ..data_set.rewrite import MOST_HELD, Rewriter
from ..data_set.rules import Rules
from ..dicom import dimse, pdu
from ..dicom.encapsulated import ENCAPSULATED
from ..dicom.encoding import EXPLICIT, IMPLICIT, Bytes
from .broken_off import BrokenOff

_IMPLICIT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.481.",  # radiotherapy: contours, dose-volume histograms, spot maps
    "1.2.840.10008.5.1.4.1.1.88.",  # structured reports: coordinates
    "1.2.840.10008.5.1.4.1.1.11.",  # presentation states: graphics
    "1.2.840.10008.5.1.4.1.1.30",  # parametric maps: numbers of 64 bits, which CTP writes as UN
)


class Incoming:
    """What comes in over one association."""

    def __init__(
        self,
        rules: Rules,
        broken_off: BrokenOff | None = None,
        arrivals: Arrivals | None = None,
    ) -> None:
        """``rules``: of the scripts of CTP. ``broken_off`` is told what CTP is given whole,
        ``arrivals`` keeps it until it has left."""
        self._rules = rules
        self._broken_off = broken_off
        self._command = b""
        self._uid: str | None = None
        self._given = 0
        self._proposed: dict[int, list[str]] = {}
        self._abstract: dict[int, str] = {}
        """By presentation context, the SOP class that it is for."""
        self._of_class: dict[str, Rules] = {}
        self._class = ""
        """What the latest command calls its object."""
        self._from: dict[int, str] = {}
        self._to: dict[int, str] = {}
        self._largest = 0
        self._header = bytearray()
        self._kind = 0
        self._pdu_left = self._fragment_left = 0
        self._context = self._control = 0
        self._rewriter: Rewriter | None = None
        self._arrivals = arrivals
        self._arrival: Arrival | None = None

    def proposal(self, request: bytes) -> bytes:
        """The A-ASSOCIATE-RQ as CTP is to see it: where lists of numbers can be long, implicit
        little endian alone. Raises ``ProtocolError``."""

        def syntaxes(context: int, abstract: str, proposed: list[str]) -> list[str]:
            self._proposed[context] = proposed
            self._abstract[context] = abstract
            if not abstract.startswith(_IMPLICIT_CLASSES) or EXPLICIT not in proposed:
                return proposed
            others = [each for each in proposed if each not in (EXPLICIT, IMPLICIT)]
            return [IMPLICIT, *others]

        return pdu.with_proposed_syntaxes(request, syntaxes)

    def answer(self, accepted: bytes) -> bytes:
        """CTP's A-ASSOCIATE-AC as the sender is to see it. Raises ``ProtocolError``."""
        settled = pdu.negotiated(accepted)
        self._to = settled.syntaxes
        self._largest = settled.largest_pdu
        for context, syntax in settled.syntaxes.items():
            proposed = self._proposed.get(context, [])
            if syntax == IMPLICIT and EXPLICIT in proposed:
                syntax = next(each for each in proposed if each in (EXPLICIT, IMPLICIT))
            self._from[context] = syntax
        return pdu.with_accepted_syntaxes(accepted, self._from)

    def feed(self, data: Bytes) -> Iterator[Bytes]:
        """Yield what goes to CTP for what came from the sender.

        Raises ``ProtocolError``, or ``OSError`` where it could not be kept.
        """
        view = memoryview(data)
        position, size = 0, len(view)
        while position < size:
            if self._fragment_left or (self._pdu_left and self._kind != pdu.P_DATA):
                count = min(self._fragment_left or self._pdu_left, size - position)
                piece = view[position : position + count]
                position += count
                self._pdu_left -= count
                if self._kind != pdu.P_DATA:
                    yield piece
                    continue
                self._fragment_left -= count
                yield from self._fragment(piece)
            else:
                count = min(6 - len(self._header), size - position)
                self._header += view[position : position + count]
                position += count
                if len(self._header) == 6:
                    header = bytes(self._header)
                    self._header.clear()
                    yield from self._read_header(header)

    def _read_header(self, header: bytes) -> Iterator[Bytes]:
        if not self._pdu_left:
            self._kind, self._pdu_left = struct.unpack(">BxI", header)
            if self._kind != pdu.P_DATA:
                yield header
            return
        length, self._context, self._control = struct.unpack(">IBB", header)
        if length < 2 or length + 4 > self._pdu_left:
            raise pdu.ProtocolError("a fragment longer than its PDU")
        self._pdu_left -= 6
        self._fragment_left = length - 2
        if not self._fragment_left:
            yield from self._fragment(memoryview(b""))

    def _fragment(self, piece: memoryview) -> Iterator[Bytes]:
        """A piece of a fragment, the last one of it when nothing is left."""
        last = bool(self._control & 2) and not self._fragment_left
        pieces: list[Bytes] = [piece]
        if self._control & 1:
            self._command += piece
            if last:
                self._begins(dimse.parse(self._command))
                self._command = b""
            elif len(self._command) > MOST_HELD:
                raise pdu.ProtocolError("a command without end")
        else:
            if self._rewriter is None:
                self._rewriter = self._begin()
            if self._rewriter is not None:
                pieces = self._rewriter.feed(piece, last)
                self._keep(pieces)
                if last:
                    more = self._rewriter.finish()
                    self._keep(more)
                    pieces = [*pieces, *more]
                    if self._arrival is not None:
                        self._arrival.keep(self._rewriter.hidden)
                    beside.tell(self._rewriter.cleared)
            if last:
                self._rewriter = None
                self._drop()
            self._given += sum(map(len, pieces))
        yield from self._packed(pieces, last)
        if last and not self._control & 1:
            self._ends()

    def _begins(self, command: dimse.Command) -> None:
        self._ends()
        self._class = dimse.uid(command.sop_class_uid)
        if command.field == dimse.C_STORE_RQ and command.data_set and self._broken_off is not None:
            self._uid, self._given = dimse.uid(command.sop_instance_uid), 0
            self._broken_off.begins(self._uid)

    def _ends(self) -> None:
        if self._uid is not None and self._broken_off is not None:
            self._broken_off.ends(self._uid)
        self._uid = None

    def close(self) -> None:
        """The association has ended, and CTP's side of it."""
        if self._uid is not None and self._broken_off is not None:
            self._broken_off.ends(self._uid, self._given)
        self._uid = None
        self._drop()

    def _keep(self, pieces: list[Bytes]) -> None:
        rewriter = self._rewriter
        if self._arrival is not None and rewriter is not None:
            self._arrival.feed(pieces, rewriter.cut, rewriter.readable)

    def _drop(self) -> None:
        if self._arrival is not None:
            self._arrival.drop()
            self._arrival = None

    def _begin(self) -> Rewriter | None:
        came, goes = self._from.get(self._context, ""), self._to.get(self._context, "")
        if goes not in (IMPLICIT, EXPLICIT) and goes not in ENCAPSULATED:
            return None
        if self._arrivals is not None:
            self._arrival = self._arrivals.begin(goes == IMPLICIT)
        is_held = self._arrival is not None
        return Rewriter(came == IMPLICIT, goes == IMPLICIT, self._rules_here(), is_held, goes)

    def _rules_here(self) -> Rules:
        abstract = self._abstract.get(self._context, "")
        said = abstract if self._class in (abstract, "") else ""
        if said not in self._of_class:
            self._of_class[said] = self._rules.of_class(said)
        return self._of_class[said]

    def _packed(self, pieces: list[Bytes], last: bool) -> Iterator[Bytes]:
        """P-DATA-TF PDUs (PS3.8 9.3.5) of these bytes, no longer than CTP takes."""
        most = self._largest - 6 if self._largest > 12 else MOST_HELD
        control = self._control & 1
        if len(pieces) == 1 and len(pieces[0]) <= most:
            body: Bytes = pieces[0]
        else:
            body = b"".join(pieces)
        size = len(body)
        if not size and not last:
            return
        view = memoryview(body)
        position = 0
        while True:
            count = min(size - position, most)
            end = position + count == size
            flags = control | (2 if last and end else 0)
            yield struct.pack(">BxIIBB", pdu.P_DATA, count + 6, count + 2, self._context, flags)
            if count:
                yield view[position : position + count]
            position += count
            if end:
                return
