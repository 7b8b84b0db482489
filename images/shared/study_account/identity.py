"""What one object says of itself. Alone here: who reads it off a stream needs no more."""

from __future__ import annotations

from typing import NamedTuple


class Identity(NamedTuple):
    """As its sender wrote it."""

    sop_instance_uid: str
    study: str = ""
    series: str = ""
    patient_id: str = ""
    issuer: str = ""
    told: int = 0
    """Number of Series Related Instances (0020,1209); 0: not said."""
