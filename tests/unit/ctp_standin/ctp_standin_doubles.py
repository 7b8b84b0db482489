"""What stands around the gateway in tests: the receiver behind it, senders, its process."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import (
    ScriptOptions,
    anonymizer_script,
    filter_script,
)
from ctp_standin.export import settle
from ports import free_port
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

HERE = Path(__file__).resolve().parent
PASSWORD = "a-password-for-tests"


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain: {what}")


class ReceivingScpDouble:
    """A C-STORE SCP in the place of Orthanc: keeps the first object of each UID, as Orthanc does.

    It is a real DICOM implementation (pynetdicom), but it is not Orthanc.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.objects: dict[str, Dataset] = {}
        self.times_sent: Counter[str] = Counter()
        self.calling_versions: set[str] = set()
        self.associations = 0
        self.answer: Callable[[Dataset], int] = lambda _dataset: 0x0000
        self.ends_at: Callable[[Dataset], bool] = lambda _dataset: False
        """Objects at which it breaks the association off, as if it had ended."""
        self.ends = 0
        self._server: Any = None

    def start(self, contexts: Iterable[Any] | None = None) -> ReceivingScpDouble:
        ae = AE(ae_title="ORTHANC")
        ae.require_called_aet = True
        ae.supported_contexts = [
            *(contexts if contexts is not None else AllStoragePresentationContexts),
            build_context(Verification),
        ]
        self._server = ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_ACCEPTED, self._accepted)],
        )
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.ae.shutdown()
            self._server = None

    def _accepted(self, event: evt.Event) -> None:
        self.associations += 1
        version = event.assoc.requestor.implementation_version_name
        self.calling_versions.add(f"{event.assoc.requestor.ae_title} {version}")

    def _store(self, event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        if self.ends_at(dataset):
            self.ends += 1
            event.assoc.abort()
            return 0x0110
        status = self.answer(dataset)
        if status == 0x0000:
            self.times_sent[str(dataset.SOPInstanceUID)] += 1
            self.objects.setdefault(str(dataset.SOPInstanceUID), dataset)
        return status


class Process:
    """A gateway as a process of its own, that can be killed and asked."""

    def __init__(
        self, command: list[str], environment: dict[str, str], web_port: int, log: Path
    ) -> None:
        self.command, self.environment = command, environment
        self.web_port, self.log = web_port, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self) -> Process:
        self.launch()
        wait_until("the gateway answers", self._answers)
        return self

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def terminate(self, seconds: float = 10) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 10) -> int:
        assert self._process is not None
        return self._process.wait(timeout=seconds)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def status(self) -> dict[str, Any]:
        code, body = self.request("GET", "/api/status")
        assert code == 200, body
        return dict(json.loads(body))

    def request(
        self,
        method: str,
        path: str,
        login: str | None = f"admin:{PASSWORD}",
        headers: dict[str, str] | None = None,
        timeout: float = 12,
    ) -> tuple[int, str]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.web_port}{path}", method=method, headers=headers or {}
        )
        if login is not None:
            request.add_header(
                "Authorization", f"Basic {base64.b64encode(login.encode()).decode()}"
            )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the gateway ended: {self.log.read_text()}")
        try:
            return self.request("GET", "/healthz", None)[0] == 200
        except OSError:
            return False


class GatewayProcess(Process):
    """The gateway as it runs in the place of the AusCAT image."""

    def __init__(self, directory: Path, receiver_port: int, **variables: str) -> None:
        self.directory = directory
        self.dicom_port = free_port()
        web_port = free_port()
        self.keys = directory / "keys.json"
        self.spool = directory / "ctp_temp"
        secrets = directory / "secrets"
        secrets.mkdir(parents=True)
        self.spool.mkdir()
        (secrets / "ctp_admin_pass").write_text(PASSWORD + "\n")
        rules = directory / "rules"
        rules.mkdir()
        (rules / "anonymizer.script").write_text(anonymizer_script(ScriptOptions()))
        (rules / "filter.script").write_text(filter_script(["PROOF-"]))
        super().__init__(
            [sys.executable, str(HERE / "ctp_standin_main.py"), str(self.keys)],
            {
                **os.environ,
                "ORTHANC_HOSTNAME": "127.0.0.1",
                "ORTHANC_PORT": str(receiver_port),
                "CTP_DICOM_PORT": str(self.dicom_port),
                "CTP_WEB_PORT": str(web_port),
                "CTP_SPOOL_DIRECTORY": str(self.spool),
                "CTP_SECRETS_DIRECTORY": str(secrets),
                "CTP_RULES_DIRECTORY": str(rules),
                "CTP_RETRY_SECONDS": "1",
                **variables,
            },
            web_port,
            directory / "log",
        )

    def know(self, **pseudonyms: str) -> None:
        temporary = self.keys.with_suffix(".new")
        temporary.write_text(json.dumps({k.replace("_", "-"): v for k, v in pseudonyms.items()}))
        temporary.replace(self.keys)


def send(port: int, objects: Iterable[Dataset], called_aet: str = "ANY") -> list[int | None]:
    """C-STORE over one association; the status of each object, ``None`` without an answer."""
    objects = list(objects)
    ae = AE(ae_title="SENDER")
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = 10
    pairs = dict.fromkeys((ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in objects)
    association = ae.associate(
        "127.0.0.1", port, contexts=[build_context(*pair) for pair in pairs], ae_title=called_aet
    )
    statuses: list[int | None] = []
    for dataset in objects:
        try:
            answer = association.send_c_store(dataset)
            statuses.append(int(answer.Status) if "Status" in answer else None)
            settle(association)
        except (RuntimeError, ValueError):
            statuses.append(None)
    if association.is_established:
        association.release()
    return statuses


class SteadySender(threading.Thread):
    """Sends objects one after the other, each until it is acknowledged, whatever happens."""

    def __init__(self, port: int, objects: list[Dataset]) -> None:
        super().__init__(daemon=True)
        self._port, self._objects = port, objects
        self.acknowledged: list[str] = []

    def run(self) -> None:
        waiting = list(self._objects)
        while waiting:
            statuses = send(self._port, waiting)
            done = [status == 0x0000 for status in statuses]
            self.acknowledged += [str(ds.SOPInstanceUID) for ds, sent in zip(waiting, done) if sent]
            waiting = [ds for ds, sent in zip(waiting, done) if not sent]
            time.sleep(0.05)
