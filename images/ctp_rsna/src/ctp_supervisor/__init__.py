"""Runs CTP of RSNA so that it lets nothing through unchecked and loses nothing acknowledged.

Stock CTP passes objects unmodified when a script is missing or broken, answers Success to a sender
that it turns away, and drops what it acknowledged when it is killed or its disk is full. Nothing of
CTP is changed here; this program stands around it:

- ``engine``: CTP itself. What it is about to read is verified before it is started, its working
  directory is made anew in memory, and what an earlier kill left on disk is put right.
- ``gate``: the DICOM port, and the program in front of CTP's container. Refuses so that the sender
  sees it; an answer of CTP passes only when the object is on disk.
- ``entrance``: how CTP is given what a sender sends. ``data_set``: what may not pass as it is.
- ``completeness``: what came is kept, and what leaves has to be what the script makes of it.
- ``export``: CTP's way to Orthanc. Closed at once when a file that CTP reads was changed.
- ``lookup``: CTP's lookup table, kept equal to KeyDB.
- ``held_back``: the quarantines, and how their objects go round again.
- ``front``: what is to be seen.
- ``machine``: closes the gate, and freezes CTP, before there is no space left. ``dicom``: what is
  read of DICOM.

``supervisor`` wires them, ``settings`` holds the table of what can be set.
"""

from __future__ import annotations

__version__ = "1"

NAME = f"CTP_SUPERVISOR_{__version__}"
"""What the web front calls itself."""
