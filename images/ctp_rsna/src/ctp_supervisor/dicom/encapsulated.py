"""The transfer syntaxes in which pixel data are compressed, one frame after the other."""

from __future__ import annotations

from pydicom.uid import AllTransferSyntaxes

from .encoding import BIG_ENDIAN, DEFLATED

_UNREADABLE = {
    BIG_ENDIAN,
    DEFLATED,
    "1.2.840.10008.1.2.4.95",  # JPIP, deflated
    "1.2.840.10008.1.2.4.205",  # JPIP of HTJ2K, deflated
}
ENCAPSULATED = frozenset(
    str(uid) for uid in AllTransferSyntaxes if uid.is_encapsulated and str(uid) not in _UNREADABLE
)
