"""How data sets are encoded (PS3.5).

Nothing here is asked of pydicom: the health checks run every few seconds, and it takes long to be
imported.
"""

from __future__ import annotations

from typing import Union

Bytes = Union[bytes, bytearray, memoryview]
"""A piece of a data set, wherever it lies."""

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"

LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations with a length of 32 bits (7.1.2)."""
VRS = LONG | frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
UNDEFINED = 0xFFFFFFFF
"""The length of what ends with a delimiter (7.5)."""
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
