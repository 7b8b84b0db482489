"""What must be the same after a machine or a version was changed for another."""

from __future__ import annotations

from shared.machines import Node
from shared.streams import Rest


def verified(orthanc: Rest) -> dict[str, str]:
    """Let Orthanc check the MD5 of every object, and return these by instance."""
    found = {}
    for instance in orthanc.ask("/instances"):
        path = f"/instances/{instance}/attachments/dicom"
        assert orthanc.ask(f"{path}/verify-md5", {}, "POST") == {}
        found[instance] = str(orthanc.ask(f"{path}/info")["UncompressedMD5"])
    return found


def pairs(node: Node) -> str:
    """Every pair of KeyDB, with all its columns."""
    (task,) = node.tasks("auscat_keydb")
    query = "COPY (SELECT * FROM patient ORDER BY patient_id, issuer) TO STDOUT"
    psql = ("psql", "--no-psqlrc", "--username=key_admin", "--dbname=key_db", "--command", query)
    return node.output("docker", "exec", task["Id"], *psql)
