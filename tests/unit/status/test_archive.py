"""The index of series, from a double of Orthanc's REST API: its log of changes and its parents."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import archive

STUDY = {
    "ParentPatient": "p",
    "PatientMainDicomTags": {"PatientID": "ANON-1"},
    "MainDicomTags": {"StudyInstanceUID": "1.2"},
}


class Orthanc(http.server.BaseHTTPRequestHandler):
    """What Orthanc answers of one series of three instances, of which two have come at first."""

    instances = ["aaaaaaaa-bbbbbbbb-1", "aaaaaaaa-cccccccc-2"]
    changes = list(instances)
    asked: list[str] = []

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.asked.append(path)
        since = int(dict(each.partition("=")[::2] for each in query.split("&")).get("since") or 0)
        answers: dict[str, Any] = {"/studies/s": STUDY}
        if path == "/changes":
            listed = [{"ChangeType": "NewInstance", "ID": each} for each in self.changes[since:]]
            answers[path] = {"Last": len(self.changes), "Done": True, "Changes": listed}
        for instance in self.instances:
            answers[f"/instances/{instance}/series"] = {
                "ID": "e",
                "ParentStudy": "s",
                "MainDicomTags": {"SeriesInstanceUID": "1.2.3"},
                "Instances": self.instances,
            }
        body = json.dumps(answers.get(path)).encode()
        self.send_response(200 if path in answers else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[dict[str, str]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Orthanc)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield {"url": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    server.server_close()


def test_series_is_kept_and_grows_and_what_is_gone_is_left_out(
    page: dict[str, str], tmp_path: Path
) -> None:
    index = tmp_path / "archive.jsonl"
    assert archive.follow(page, "a", "b", index) == 1
    (row,) = map(json.loads, index.read_text().splitlines())
    assert row == {
        **{"patient": "p", "study": "s", "series": "e", "patient_id": "ANON-1"},
        **{"study_uid": "1.2", "series_uid": "1.2.3"},
        "instances": ["aaaaaaaabbbb", "aaaaaaaacccc"],
    }
    assert index.stat().st_mode & 0o777 == 0o600
    # Asked once for the series, not for each instance of it.
    assert sum("/instances/" in each for each in Orthanc.asked) == 1
    assert archive.follow(page, "a", "b", index) == 0
    Orthanc.instances.append("aaaaaaaa-dddddddd-3")
    Orthanc.changes += ["aaaaaaaa-dddddddd-3", "gone"]
    assert archive.follow(page, "a", "b", index) == 1
    assert len(json.loads(index.read_text().splitlines()[1])["instances"]) == 3
    # An index of Orthanc that was put back to an earlier one is read from its beginning.
    del Orthanc.changes[1:]
    assert archive.follow(page, "a", "b", index) == 1
