"""A DICOM gateway that stands in the place of CTP, for simulation and tests only.

It is not RSNA CTP and not the AusCAT image: it keeps the same ports, environment, secrets and
promises, so that everything around CTP can be built and proved where the real image cannot be had.
It says what it is in its log, on its page and as its DICOM implementation version name.

What it does with an object, in this order:

1. ``receiver``: C-STORE on 8104. The object is on disk before the sender reads Success.
2. ``spool``: one file per object; the directory it lies in is its state. Nothing else is kept.
3. ``lookup``: PatientID to pseudonym, asked of KeyDB for every object.
4. ``rules``: CTP's own, as they are rendered for it. Its anonymizer script and its filter script
   are carried out by the package ``ctp_rules``; this program has no rules of its own.
5. ``export``: C-STORE to Orthanc; only then does the file leave the spool.

``gateway`` wires them as a ``plan`` says, ``web`` shows the state. A plan comes from ``settings``
(environment, secrets and rules, in the place of the AusCAT image) or from ``ctp_files``: the files
that were rendered for stock CTP, with its ``lookup_table`` in KeyDB's place.
"""

from __future__ import annotations

__version__ = "1"

IMPLEMENTATION_VERSION_NAME = f"CTPSTANDIN_{int(__version__):02d}"
"""Implementation Version Name, at most 16 characters (PS3.7 D.3.3.2.4)."""

IMPLEMENTATION_CLASS_UID = "2.25.125286190617093837925413146209911470114"
"""Implementation Class UID of this program (PS3.7 D.3.3.2.3), under the UUID root of PS3.5 B.2."""

BANNER = "STAND-IN — simulation and tests only, not RSNA CTP"
"""What every view of this program says about itself."""
