"""Rendered files of a small site, with a script of the tests' own, and files for its queues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ctp_supervisor.engine.verify import LOOKUP
from ctp_supervisor.settings import Settings, load
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

METHOD = "a method of this test"
SCRIPT = rf"""<script>
  <p t="ONE_VALUE">[^\\]*</p>
  <e en="T" t="00100020" n="PatientID">@always(){LOOKUP}</e>
  <e en="T" t="00120062" n="PatientIdentityRemoved">@always()YES</e>
  <e en="T" t="00120063" n="DeidentificationMethod">@always(){METHOD}</e>
  <e en="T" t="0012fff0" n="UidKey">@@UID_KEY@@@remove()</e>
  <r en="T" t="privategroups"/>
  <r en="T" t="unspecifiedelements"/>
</script>
"""
FILTER = (
    f'[00120062].equals("YES")\n* [00120063].equals("{METHOD}")\n'
    '* ([00100020].startsWith("ANON-") + [00100020].startsWith("B-"))\n'
)


class Site:
    """A directory tree as the container has it."""

    def __init__(self, directory: Path, pipelines: int = 1) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.configuration = directory / "etc"
        self.distribution = directory / "ctp"
        self.secrets = directory / "secrets"
        self.memory = directory / "shm"
        for each in (self.data, self.configuration, self.secrets, self.memory):
            each.mkdir(parents=True)
        (self.distribution / "libraries").mkdir(parents=True)
        (self.distribution / "examples").mkdir()
        for name in ("CTP.jar", "util.jar"):
            (self.distribution / "libraries" / name).write_bytes(b"no CTP")
        for name in ("keydb_user", "keydb_pass", "ctp_admin_pass"):
            (self.secrets / name).write_text(f"a-{name}\n")
        self.supervisor: dict[str, Any] = {
            "engine": "ctp",
            "dicom_port": 104,
            "web_port": 9090,
            "ctp_web_port": 9080,
            "heap_mib": 256,
            "minimum_free_mib": 1,
            "largest_object_mib": 100,
            "account_days": 90,
            "account_quiet_minutes": 5,
            "sync_before_acknowledge": True,
            "stop_seconds": 10,
            "pseudonym_prefixes": ["ANON-", "B-"],
            "issuers": [""],
            "lookup_table": str(self.data / "lookup.properties"),
            "date_shift": False,
            "deidentification": ["orthanc: strict"],
            "pixel_regions": [],
            "keydb": {
                "host": "keydb",
                "port": 5432,
                "database": "key_db",
                "query": "",
                "tls_name": "",
            },
            "trusted": "",
            "pipelines": [self._pipeline(index) for index in range(pipelines)],
        }
        self.files = {
            "config.xml": self._config(),
            "log4j.properties": "log4j.rootLogger = WARN\n",
            "orthanc.anonymizer.script": SCRIPT,
            "orthanc.filter.script": FILTER,
        }

    def _pipeline(self, index: int) -> dict[str, Any]:
        name = f"orthanc-{index + 1}"
        return {
            "name": name,
            "index": index,
            "import_port": 8201 + index,
            "called_aets": ["CTP"],
            "calling_aets": [],
            "script": "orthanc.anonymizer.script",
            "filter": "orthanc.filter.script",
            "export": {
                "listen_port": 8301 + index,
                "host": "orthanc",
                "port": 4242,
                "greeting_port": 0,
                "tls_names": [],
            },
            "stages": [
                {
                    "index": number,
                    "kind": kind,
                    "root": str(self.data / "roots" / name / kind),
                    "quarantine": str(self.data / "quarantines" / name / kind),
                }
                for number, kind in enumerate(("import", "anonymizer", "filter", "export"))
            ],
        }

    def _config(self) -> str:
        lines = ['<Configuration>\n<Server port="9080" requireAuthentication="yes"/>']
        extra = {
            "import": ("DicomImportService", 'ip="127.0.0.1" port="{import_port}"'),
            "anonymizer": (
                "DicomAnonymizer",
                'script="{script}" lookupTable="' + str(self.data / "lookup.properties") + '"',
            ),
            "filter": ("DicomFilter", 'script="{filter}"'),
            "export": ("DicomExportService", 'url="dicom://O:C@127.0.0.1:{export[listen_port]}"'),
        }
        for pipeline in self.supervisor["pipelines"]:
            lines.append(f'<Pipeline name="{pipeline["name"]}">')
            for stage in pipeline["stages"]:
                name, own = extra[stage["kind"]]
                lines.append(
                    f'<{name} name="{name}" class="org.rsna.ctp.stdstages.{name}"'
                    f' root="{stage["root"]}" quarantine="{stage["quarantine"]}"'
                    f" {own.format(**pipeline)}/>"
                )
            lines.append("</Pipeline>")
        return "\n".join([*lines, "</Configuration>"])

    def settings(self) -> Settings:
        """Write the files, and read them as the program does."""
        for name, text in self.files.items():
            (self.configuration / name).write_text(text)
        (self.configuration / "supervisor.json").write_text(json.dumps(self.supervisor))
        return load(
            {
                "CTP_CONFIGURATION_DIRECTORY": str(self.configuration),
                "CTP_DISTRIBUTION_DIRECTORY": str(self.distribution),
                "CTP_SECRETS_DIRECTORY": str(self.secrets),
                "CTP_MEMORY_DIRECTORY": str(self.memory),
                "CTP_BIND_ADDRESS": "127.0.0.1",
            }
        )


def dicom(
    path: Path, patient_id: str = "1", done: bool = False, pixels: int = 2000, uid: str = ""
) -> bytes:
    """Write an object, as it came or as the script leaves it; return its bytes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = uid or generate_uid()
    dataset.PatientID = patient_id
    if done:
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = METHOD
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 1, pixels // 2, 16
    dataset.PixelData = bytes(pixels)
    dataset["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path.read_bytes()
