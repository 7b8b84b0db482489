"""The node with the stand-in in CTP's place, and what looks at it from outside."""

from shared.ctp_node import ctp, load, node, orthanc, pacs, patient, quarantined

__all__ = ["ctp", "load", "node", "orthanc", "pacs", "patient", "quarantined"]
