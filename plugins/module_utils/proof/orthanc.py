"""The proof's client of Orthanc: its REST API, from outside, as a user of the node would."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError, Http


class Orthanc(Http):
    """Orthanc's REST API."""

    LEVELS = {"Patient": "patients", "Study": "studies", "Instance": "instances"}

    # What Orthanc searches in its database; it finds nothing else without reading every file.
    TEXTS = (
        ("Patient", "PatientID"),
        ("Patient", "PatientName"),
        ("Study", "AccessionNumber"),
        ("Study", "StudyDescription"),
    )
    UIDS = (
        ("Study", "StudyInstanceUID"),
        ("Series", "SeriesInstanceUID"),
        ("Instance", "SOPInstanceUID"),
    )

    def version(self) -> str:
        """Return Orthanc's version.

        Raises:
            ClientError: it does not answer, refuses the password, or is not Orthanc.
        """
        status, content = self.send("GET", "/system")
        if status == 401:
            raise ClientError(f"{self.url} refuses the password of {self.user}")
        try:
            return str(json.loads(content)["Version"])
        except (ValueError, KeyError, TypeError) as error:
            raise ClientError(
                f"{self.url}/system answered with status {status} and without a version"
            ) from error

    def find(self, level: str, query: dict[str, str]) -> list[str]:
        """Return Orthanc's identifiers of what matches a query.

        Args:
            level: Patient, Study, Series or Instance.
            query: values by attribute; ``*`` stands for anything except in a UID, where a backslash
                separates several (PS3.4 C.2.2.2).

        Raises:
            ClientError: no answer.
        """
        body = {"Level": level, "Query": query, "CaseSensitive": True, "Expand": False}
        status, content = self.send("POST", "/tools/find", body)
        if status != 200:
            raise ClientError(f"{self.url}/tools/find answered with status {status}")
        return [str(entry) for entry in json.loads(content)]

    def upload(self, content: bytes) -> int:
        """Upload a DICOM file and return the status of the answer.

        Raises:
            ClientError: no answer.
        """
        return self.send("POST", "/instances", content)[0]

    def delete(self, level: str, identifier: str) -> None:
        """Delete a resource; one that is gone already is fine.

        Raises:
            ClientError: it was not deleted.
        """
        path = f"/{self.LEVELS[level]}/{identifier}"
        status, _ = self.send("DELETE", path)
        if status not in {200, 404}:
            raise ClientError(f"DELETE {self.url}{path} answered with status {status}")

    def last_change(self) -> int:
        """Return the number of the last entry in Orthanc's log of changes.

        Raises:
            ClientError: no answer.
        """
        return int(self.get_json("/changes?last")["Last"])

    def new_instances(self, since: int) -> list[str]:
        """Return the instances that came in after an entry of the log of changes.

        Raises:
            ClientError: no answer.
        """
        found: dict[str, None] = {}
        while True:
            page = self.get_json(f"/changes?since={since}&limit=1000")
            for change in page["Changes"]:
                if change["ChangeType"] == "NewInstance":
                    found[str(change["ID"])] = None
            since = int(page["Last"])
            if page["Done"]:
                return list(found)

    def instance_file(self, identifier: str) -> bytes | None:
        """Return an instance's file, or None where it is gone.

        Raises:
            ClientError: no answer.
        """
        status, content = self.send("GET", f"/instances/{identifier}/file")
        if status not in {200, 404}:
            raise ClientError(f"{self.url} gave status {status} for an instance's file")
        return content if status == 200 else None

    def resource(self, collection: str, identifier: str) -> dict[str, Any] | None:
        """Return what Orthanc's index tells of a resource, or None where it is gone.

        Raises:
            ClientError: no answer.
        """
        status, content = self.send("GET", f"/{collection}/{identifier}")
        if status not in {200, 404}:
            raise ClientError(f"{self.url}/{collection} answered with status {status}")
        return json.loads(content) if status == 200 else None
