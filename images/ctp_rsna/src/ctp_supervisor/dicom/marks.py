"""What this program writes into objects for CTP's script, and reads off them again."""

from __future__ import annotations

import re

MARK = 0x7FDEFFF0
"""An element that no edition of the standard defines, in front of the pixel data. The script has
one rule for it: quarantine."""
WRONG_VR, WRONG_VALUE, TOO_LONG = "wrong-vr", "wrong-value", "too-long"
MARKED = re.compile(
    rf"(?:{WRONG_VR}|{WRONG_VALUE}|{TOO_LONG}) \([0-9A-F]{{4}},[0-9A-F]{{4}}\) [A-Z]{{2}}"
)

UNPACKED = "AUSCAT_UNPACKED"
"""Implementation Version Name, (0002,0013), of a file whose image this program has decompressed
(``unpacking``). CTP writes its own into what a sender sends."""
