"""The node with stock CTP (or the stand-in in its place), and what looks at it from outside."""

from shared.ctp_node import ctp, known_patient, load, node, orthanc, pacs, patient, quarantined

__all__ = ["ctp", "known_patient", "load", "node", "orthanc", "pacs", "patient", "quarantined"]
