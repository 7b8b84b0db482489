"""A whole node in small: the supervisor as a program, CTP or the stand-in in it, a store behind.

KeyDB is away, so that the lookup table stays as it is written here.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import pixels
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script as ctp_script
from ctp_supervisor.dicom.part10 import begin_data_set
from ctp_supervisor_site import Site
from ports import free_port
from pydicom.uid import UID
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, _config, evt
from pynetdicom.dimse_primitives import C_STORE

# The device that the node believes, and one that shows a name in two places.
BANNER = ((0, 0, 160, 20), (100, 30, 10, 5))
RULES: list[dict[str, Any]] = [
    {"manufacturer": "AusCAT", "model": "Tests", "action": "clean"},
    *(
        {
            "manufacturer": "AusCAT",
            "model": "Banner",
            "rows": size,
            "columns": size,
            "action": "blank",
            "regions": [dict(zip(("x", "y", "width", "height"), each)) for each in regions],
        }
        for size, regions in ((160, BANNER), (100, ((0, 0, 100, 10),)))
    ),
]
DECLARED = pixels.rules(RULES)
IMAGES = Path(__file__).resolve().parents[3] / "images"
DISTRIBUTION = Path(os.environ.get("CTP_DISTRIBUTION") or "/nonexistent") / "CTP"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
# A program that hands CTP another script than the one that was judged: not what any node does.
OTHER_SCRIPT = """
import dataclasses, sys
from ctp_supervisor.engine import workdir
usual, told = workdir.make, {told!r}
def other(settings, verified, key, password):
    name = settings.pipelines[0].script
    script = verified.files[name]
    for old, new in told:
        assert script.count(old) == 1, old
        script = script.replace(old, new)
    changed = dataclasses.replace(verified, files={{**verified.files, name: script}})
    return usual(settings, changed, key, password)
workdir.make = other
from ctp_supervisor.__main__ import main
sys.exit(main([]))
"""


class Node:
    """Use it as a context; ``arrived`` has the data sets that left, by SOP Instance UID."""

    def __init__(
        self,
        directory: Path,
        table: Mapping[str, str],
        options: ctp_script.ScriptOptions,
        engine: str = "ctp",
        told: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """``engine``: CTP or the stand-in. ``told``: what its script says in the place of what was
        judged."""
        self.site = Site(directory)
        self.port, self.web, ctp_web = free_port(), free_port(), free_port()
        store = free_port()
        site = self.site
        site.supervisor["engine"] = engine
        if engine == "ctp":
            site.distribution = DISTRIBUTION
        else:
            parts = (
                "ctp_standin/src/ctp_standin",
                "shared/ctp_rules",
                "shared/whole_files",
                "shared/program_settings",
            )
            for part in parts:
                (site.distribution / Path(part).name).symlink_to(IMAGES / part)
        site.supervisor |= {"dicom_port": self.port, "web_port": self.web, "date_shift": True}
        site.supervisor |= {"ctp_web_port": ctp_web, "sync_before_acknowledge": False}
        site.supervisor["heap_mib"] = 768
        pipeline = site.supervisor["pipelines"][0]
        pipeline["import_port"] = free_port()
        pipeline["export"] = {
            "listen_port": free_port(),
            "host": "127.0.0.1",
            "port": store,
            "greeting_port": 0,
            "tls_names": [],
        }
        site.files["orthanc.filter.script"] = ctp_script.filter_script(["ANON-", "B-"])
        config = site._config().replace('port="9080"', f'port="{ctp_web}"')
        site.files["config.xml"] = config.replace('8301"/>', '8301" interval="500"/>')
        self._options = options
        self.declare(RULES)
        (site.data / "lookup.properties").write_text(
            "".join(f"{key}={value}\n" for key, value in table.items())
        )
        self.told = told or []
        self.program = ["-m", "ctp_supervisor"]
        self.log = directory / "log"
        self.arrived: dict[str, bytes] = {}
        self.syntax_of: dict[str, str] = {}
        self.status = 0
        ae = AE("O")
        ae.maximum_pdu_size = 0
        self._store_port, self._ae = store, ae
        self._server: Any = None

    def __enter__(self) -> Node:
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        self._ae.add_supported_context("1.2.840.10008.1.1", ALL_TRANSFER_SYNTAXES)
        self._open()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.close_store()

    def _open(self) -> None:
        handlers: Any = [(evt.EVT_C_STORE, self._store)]
        self._server = self._ae.start_server(
            ("127.0.0.1", self._store_port), block=False, evt_handlers=handlers
        )

    def declare(self, rules: list[dict[str, Any]]) -> None:
        """Render these as ctp_pixel_rules, for the next start."""
        script = ctp_script.anonymizer_script(self._options, pixels.rules(rules))
        self.site.files["orthanc.anonymizer.script"] = script
        self.site.supervisor["pixel_regions"] = pixels.regions(rules)
        self.site.settings()

    def release(self) -> dict[str, Any]:
        """Release the quarantine; return the counts."""
        found = self._ask("/api/quarantine/release", b"")
        assert isinstance(found, dict)
        return found

    def close_store(self) -> None:
        """Orthanc is away from now on."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()

    def open_store(self) -> None:
        """Orthanc is back."""
        self._open()

    def start(self) -> None:
        """Start the program, and wait until it takes objects."""
        environment = {
            **os.environ,
            "PYTHONPATH": f"{IMAGES / 'ctp_rsna/src'}:{IMAGES / 'shared'}",
            "CTP_CONFIGURATION_DIRECTORY": str(self.site.configuration),
            "CTP_DISTRIBUTION_DIRECTORY": str(self.site.distribution),
            "CTP_SECRETS_DIRECTORY": str(self.site.secrets),
            "CTP_MEMORY_DIRECTORY": str(self.site.memory),
            "CTP_BIND_ADDRESS": "127.0.0.1",
        }
        program = self.program
        if self.told:
            program = ["-c", OTHER_SCRIPT.format(told=self.told)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program], env=environment, stdout=log, stderr=log
            )
        self.wait(lambda: self.status_now().get("reception") == "open", "reception is open")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the program and its CTP; SIGKILL as when a container is killed."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        below = children.read_text().split() if self.process.poll() is None else []
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            for child in below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), number)
        self.process.wait(60)
        for child in below:
            self.wait(partial(_has_ended, child), "CTP has ended")

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        """Return what a condition gives as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            said = self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{said}"
            time.sleep(0.1)
        return found

    def status_now(self) -> dict[str, Any]:
        """What the page's status says; empty while it does not answer."""
        found = self._get("/api/status")
        return found if isinstance(found, dict) else {}

    def quarantine(self) -> list[dict[str, Any]]:
        """What lies in quarantine."""
        found = self._get("/api/quarantine")
        return found if isinstance(found, list) else found["quarantine"]

    def _get(self, path: str) -> Any:
        try:
            return self._ask(path)
        except OSError:
            return {}

    def _ask(self, path: str, data: bytes | None = None) -> Any:
        password = (self.site.secrets / "ctp_admin_pass").read_text().strip()
        login = base64.b64encode(f"admin:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.web}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def settled(self, seconds: float = 240) -> list[dict[str, Any]]:
        """Wait until nothing is under way; return what lies in quarantine."""

        def end() -> bool:
            if self.process.poll() is not None:
                self.start()  # as Swarm does
            now = self.status_now()
            return bool(now) and now["received"] <= now["forwarded"] + now["quarantined"]

        self.wait(end, "all has left or is held back", seconds)
        return self.quarantine()

    def send(self, content: bytes) -> int | None:
        """C-STORE of a DICOM file, to the byte; the status, ``None`` where CTP takes none such."""
        file = io.BytesIO(content)
        syntax = begin_data_set(file)
        data = content[file.tell() :]
        sop_class, uid = _uids(content)
        if not sop_class:
            return None
        ae = AE("PACS")
        ae.add_requested_context(UID(sop_class), UID(syntax))
        association: Any = ae.associate("127.0.0.1", self.port, ae_title="CTP")
        if not association.is_established:
            return None
        try:
            request: Any = C_STORE()
            request.MessageID, request.Priority = 7, 2
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, uid
            request.DataSet = io.BytesIO(data)
            context = association.accepted_contexts[0]
            association._reactor_checkpoint.clear()
            while not association._is_paused:
                time.sleep(0.001)
            association.dimse.send_msg(request, context.context_id)
            _, answer = association.dimse.get_msg(block=True)
            association._reactor_checkpoint.set()
            return None if answer is None else int(answer.Status)
        finally:
            association.release()

    def _store(self, event: Any) -> int:
        if not self.status:
            uid = str(event.request.AffectedSOPInstanceUID)
            self.arrived[uid] = event.request.DataSet.getvalue()
            self.syntax_of[uid] = str(event.context.transfer_syntax)
        return self.status


def _has_ended(process: str) -> bool:
    try:
        return ") Z" in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True


def _uids(content: bytes) -> tuple[str, str]:
    """SOP Class UID and SOP Instance UID of a file, by its own header (PS3.10 7.1)."""
    found = {}
    position = 132
    while content[position : position + 2] == b"\2\0":
        element, vr, length = struct.unpack_from("<H2sH", content, position + 2)
        position += 8
        if vr in (b"OB", b"UN"):
            (length,) = struct.unpack_from("<I", content, position)
            position += 4
        found[element] = (
            content[position : position + length].rstrip(b" \0").decode("ascii", "replace")
        )
        position += length
    return found.get(2, ""), found.get(3, "")
