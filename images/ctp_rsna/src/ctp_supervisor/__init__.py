"""Runs CTP of RSNA so that it lets nothing through unchecked and loses nothing acknowledged.

Stock CTP passes objects unmodified when a script is missing or broken, answers Success to a sender
that it turns away, and drops what it acknowledged when it is killed or its disk is full. Nothing of
CTP is changed here; this program stands around it:

1. ``verify``: what CTP is about to read, before it is started.
2. ``workdir``: CTP's working directory in memory, made anew at every start.
3. ``recovery``: what an earlier kill left on disk, before CTP sees it.
4. ``gate``: the DICOM port. Refuses so that the sender sees it; an answer of CTP passes only when
   the object is on disk.
5. ``disk``: closes the gate, and freezes CTP, before there is no space left.
6. ``relay``: CTP's way to Orthanc. Closed at once when a file that CTP reads was changed.
7. ``lookup``: CTP's lookup table, kept equal to KeyDB.
8. ``process``: CTP itself, its log, its end.
9. ``quarantine``, ``status``, ``web``, ``healthcheck``: what is to be seen, and released.
10. ``blanking``: regions of images that the site declares, on the way out. ``unpacking``: what of
   these came compressed, before; the decoder is a process of its own, ``unpack``.

``supervisor`` wires them, ``settings`` holds the table of what can be set.
"""

from __future__ import annotations

__version__ = "1"

NAME = f"CTP_SUPERVISOR_{__version__}"
"""What the web front calls itself."""
