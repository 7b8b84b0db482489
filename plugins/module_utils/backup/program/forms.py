"""The forms of data by their names, as a service declares them."""

from __future__ import annotations

from . import orthanc, parts, postgresql

#: Form, which a service declares, to how it is done.
PARTS: dict[str, type[parts.Part]] = {
    "ctp": parts.Ctp,
    "postgresql": postgresql.Database,
    "orthanc": orthanc.Orthanc,
    "files": parts.Files,
}
