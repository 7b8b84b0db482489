"""What CTP's script itself refuses, asked of the files in quarantine.

CTP tells nobody why it holds an object back. The script that is in force is asked again, by the
second reading of it (``ctp_rules``), which the net for completeness uses too. When it says that the
object is refused, CTP would refuse it each time; no release gets it further. A changed script is
another start of this program, which asks it anew.
"""

from __future__ import annotations

import logging
import struct
import threading
from pathlib import Path

from ctp_rules import encoded
from ctp_rules.anonymizer import Anonymizer
from ctp_rules.encoded import Encoded, UnreadableError
from ctp_rules.refusals import UNREADABLE, Judge, Refused
from ctp_rules.script import Script

from ..completeness import arrivals
from ..dicom.encoding import IMPLICIT

LOG = logging.getLogger(__name__)


class Profile:
    """Of one pipeline. Files are not read: they are mapped, and only the elements looked at that
    rules ask for, in front of the pixel data."""

    def __init__(self, script: Script) -> None:
        self._judge = Judge(Anonymizer(script))
        self._lock = threading.Lock()

    def refuses(self, path: Path) -> Refused | None:
        """Why the script refuses an object of a known patient; ``None``: it does not, as far as
        can be told.

        Raises ``OSError``: it cannot be told now.
        """
        try:
            with path.open("rb") as file:
                syntax = arrivals.begin(file)
                start = file.tell()
                if not path.stat().st_size > start:
                    return None
                with arrivals.view(file, start) as data:
                    whole = Encoded(data, syntax == IMPLICIT)
                    at = encoded.pixels_at(whole)
                    with self._lock, data[:at] as header:
                        came = Encoded(header, syntax == IMPLICIT)
                        return self._judge.of_encoded(came, syntax, _found)
        except UnreadableError:
            return Refused(UNREADABLE, 0, "")
        except (ValueError, EOFError, struct.error):
            return None  # no file that this can judge


def _found(kind: str, key: str) -> str:
    """Whose it is, is asked elsewhere."""
    return ""
