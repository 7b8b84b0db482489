"""The proof's clients: Orthanc's REST API, CTP's page, KeyDB, and the DICOM tools of dcmtk.

All of them look from outside, as a user of the node would, except where only the inside tells: the
patient is entered in KeyDB through its container, and the way from CTP to Orthanc is tried from
CTP's network.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import math
import re
import secrets
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    docker_objects,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    PATIENT_PREFIX,
    PSEUDONYM_PREFIX,
    UID_ROOT,
    is_proof_patient,
    is_proof_pseudonym,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services.keydb import qualified

REQUEST_SECONDS = 20
# A node's own PATH, not that of whoever runs Ansible: an activated Python environment may hold
# another program called echoscu.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
REPLICATED_SERVICE_LABEL = "com.docker.swarm.service.name"


class ClientError(RuntimeError):
    """A service or a program did not do what it was asked; the text is for the operator.

    Args:
        problem: what happened.
        remedy: what to do, where that does not depend on what was to be looked at.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy


class Http:
    """A web server with basic authentication, asked without any proxy.

    Args:
        url: such as ``http://127.0.0.1:8042``.
        user: user name.
        password: password.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self.user = user
        self.password = password
        # The proxies of the environment are for the way out of the hospital, not to a neighbour.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        password: str | None = "",
    ) -> tuple[int, bytes]:
        """Send a request and return status and content.

        Args:
            method: GET, POST or DELETE.
            path: below the URL.
            body: sent as JSON where it is not None.
            password: instead of the right one; None sends no credentials at all.

        Raises:
            ClientError: no answer.
        """
        request = urllib.request.Request(self.url + path, method=method)
        if password is not None:
            login = f"{self.user}:{password or self.password}".encode()
            request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=REQUEST_SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ClientError(
                f"{self.url} does not answer: {reason}",
                "Nothing can be said before it answers. See whether the service runs (docker"
                " service ls), its log, and whether the firewall lets this machine in.",
            ) from error

    def get(self, path: str) -> bytes:
        """Return the content of a page.

        Raises:
            ClientError: no answer, or another status than 200.
        """
        status, content = self.send("GET", path)
        if status != 200:
            raise ClientError(f"{self.url}{path} answered with status {status}")
        return content

    def get_json(self, path: str) -> Any:
        """Return a JSON document.

        Raises:
            ClientError: no answer, another status than 200, or no JSON.
        """
        content = self.get(path)
        try:
            return json.loads(content)
        except ValueError as error:
            raise ClientError(
                f"{self.url}{path} answered with something that is no JSON"
            ) from error

    def login_problems(self, path: str) -> list[str]:
        """Try a wrong password and none at all; return what was not refused with 401.

        Raises:
            ClientError: no answer.
        """
        problems = []
        for what, password in (
            ("a wrong password", secrets.token_urlsafe(16)),
            ("no password", None),
        ):
            status, _ = self.send("GET", path, password=password)
            if status != 401:
                problems.append(f"{what} was answered with status {status} instead of 401")
        return problems


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


@dataclass(frozen=True)
class Quarantined:
    """An object in CTP's quarantine."""

    identifier: str
    sop_instance_uid: str
    reason: str


class Ctp(Protocol):
    """What the proof asks of a page that shows CTP's quarantine."""

    def table_age(self) -> float | None:
        """Return how many seconds ago CTP read KeyDB; None where it asks for each object."""

    def login_problems(self) -> list[str]:
        """Return what the page answers without the right password, though it should not."""

    def quarantine(self) -> list[Quarantined]:
        """Return what lies in quarantine."""

    def counts(self) -> str:
        """Return what the page counts, in words."""

    def remove(self, entry: Quarantined) -> None:
        """Remove an object of a proof from the quarantine."""


class StatusPageCtp:
    """A page with JSON at ``/api/status``: of the stand-in, and of what stands before stock CTP."""

    STATUS = "/api/status"

    def __init__(self, http: Http) -> None:
        self._http = http

    def _status(self) -> dict[str, Any]:
        status = self._http.get_json(self.STATUS)
        if not isinstance(status, dict) or not isinstance(status.get("quarantine"), list):
            raise ClientError(
                f"{self._http.url}{self.STATUS} is not the page of this flavour of CTP; see the"
                " variables ctp_flavour and verify_ctp_url"
            )
        return status

    def table_age(self) -> float | None:
        """See `Ctp`."""
        keydb = self._status().get("keydb") or {}
        age = keydb.get("age_seconds")
        if keydb and age is None:
            return math.inf
        return None if age is None else float(age)

    def login_problems(self) -> list[str]:
        """See `Ctp`."""
        return self._http.login_problems(self.STATUS)

    def quarantine(self) -> list[Quarantined]:
        """See `Ctp`."""
        return [
            Quarantined(
                identifier=str(entry["id"]),
                sop_instance_uid=str(entry.get("sop_instance_uid") or ""),
                reason=str(entry["reason"]),
            )
            for entry in self._status()["quarantine"]
        ]

    def counts(self) -> str:
        """See `Ctp`."""
        status = self._status()
        names = ("received", "forwarded", "queued", "quarantined")
        return "its page counts " + ", ".join(f"{status.get(name)} {name}" for name in names)

    def remove(self, entry: Quarantined) -> None:
        """See `Ctp`.

        Raises:
            ClientError: it is no object of a proof, or was not removed.
        """
        if not entry.sop_instance_uid.startswith(UID_ROOT):
            raise ClientError("refused to remove an object that is not of a proof")
        # The identifier is CTP's; it goes into a path as it is.
        if not re.fullmatch(r"[A-Za-z0-9._-]+", entry.identifier):
            raise ClientError(f"CTP's quarantine has an odd identifier: {entry.identifier!r}")
        status, _ = self._http.send("DELETE", f"/api/quarantine/{entry.identifier}")
        if status not in {200, 204, 404}:
            raise ClientError(f"removing from CTP's quarantine answered with status {status}")


class AuscatCtp:
    """The page of the image auscat/customized_ctp, whose inside is not ours.

    From outside nobody can see what lies in its quarantine, nor remove anything from it.
    """

    def __init__(self, http: Http) -> None:
        self._http = http

    def answer(self) -> tuple[list[str], str]:
        """Ask for its page; return problems and what was seen.

        Raises:
            ClientError: no answer.
        """
        status, _ = self._http.send("GET", "/")
        seen = f"{self._http.url} answers with status {status}"
        return ([seen] if status >= 500 else []), seen


CTP_FLAVOURS: dict[str, Callable[[Http], Ctp | AuscatCtp]] = {
    "auscat": AuscatCtp,
    "rsna": StatusPageCtp,
    "standin": StatusPageCtp,
}


def open_ctp(flavour: str, http: Http) -> Ctp | AuscatCtp:
    """Return the client for a flavour of CTP (a key of `CTP_FLAVOURS`)."""
    return CTP_FLAVOURS[flavour](http)


def container_of(service: str) -> dict[str, Any]:
    """Return what the engine tells of the running container of a Swarm service on this host.

    Raises:
        ClientError: none runs here.
    """
    try:
        containers = docker_objects("container", [f"label={REPLICATED_SERVICE_LABEL}={service}"])
    except CommandError as error:
        raise ClientError(str(error)) from error
    running = [entry for entry in containers if entry["State"]["Running"]]
    if not running:
        raise ClientError(
            f"no container of service {service} runs on this host",
            f"See docker service ps {service} and docker service logs {service}.",
        )
    return running[0]


# A pair of a proof is told by both its sides: the pseudonym ends with the hash of the very token
# that stands in the identifier (`names.pseudonym_of`), whatever prefix it was given.
_HASH_OF_TOKEN = (
    f"encode(sha256(convert_to(substr(patient_id, {len(PATIENT_PREFIX) + 1}, 10), 'UTF8')), 'hex')"
)
REMOVE_PROOFS = (
    "DELETE FROM {table}"
    f" WHERE patient_id ~ '^{PATIENT_PREFIX}1[0-9]{{{{9}}}}-KNOWN$'"
    f" AND right(pseudonym, {len(PSEUDONYM_PREFIX) + 12})"
    f" = '{PSEUDONYM_PREFIX}' || upper(left({_HASH_OF_TOKEN}, 12)) RETURNING pseudonym;"
)


class KeyDb:
    """KeyDB through its container, as its superuser over the socket that only the container has."""

    # The user's name is in a secret of the container; it stays there.
    PSQL = (
        "exec psql --no-psqlrc --quiet --tuples-only --no-align --no-password"
        ' --set=ON_ERROR_STOP=1 --dbname=key_db --username="$(cat /run/secrets/keydb_user)"'
    )

    def __init__(self, service: str, table: str = "patient") -> None:
        self._container = str(container_of(service)["Id"])
        self._table = qualified(table)

    def _run(self, sql: str) -> list[str]:
        # Statements go over standard input: command lines are visible to every user of the host.
        command = ["docker", "exec", "--interactive", self._container, "sh", "-c", self.PSQL]
        try:
            return run(command, stdin=sql).split()
        except CommandError as error:
            raise ClientError(f"KeyDB: {error}") from error

    def add(self, patient_id: str, pseudonym: str) -> None:
        """Enter a proof's patient.

        Raises:
            ClientError: KeyDB refused.
        """
        for value, is_proofs in ((patient_id, is_proof_patient), (pseudonym, is_proof_pseudonym)):
            if not is_proofs(value):
                raise ClientError(f"{value!r} is no identifier of a proof")
        self._run(
            f"INSERT INTO {self._table} (patient_id, pseudonym)"
            f" VALUES ('{patient_id}', '{pseudonym}');"
        )

    def remove_all(self) -> list[str]:
        """Remove all patients of proofs, also of earlier ones, and return their pseudonyms.

        Raises:
            ClientError: KeyDB refused.
        """
        return self._run(REMOVE_PROOFS.format(table=self._table))


def tool(name: str) -> str:
    """Return the path of a program of the node.

    Raises:
        ClientError: it is not installed.
    """
    path = shutil.which(name, path=SYSTEM_PATH)
    if path is None:
        raise ClientError(f"{name} is not installed on this host; it is in the package dcmtk")
    return path


def own_address() -> str:
    """Return this host's address on its default route, or the loopback address without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a UDP socket sends nothing (the address is for documentation, RFC 5737).
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def send_files(
    address: str,
    port: int,
    calling: str,
    called: str,
    directory: Path,
    enter: Sequence[str] = (),
) -> int:
    """Send the DICOM files of a directory with dcmtk's dcmsend.

    Args:
        address: of the receiver.
        port: of the receiver.
        calling: AE title of the sender.
        called: AE title of the receiver.
        directory: holds the files; the report of dcmsend lands beside it.
        enter: command that starts dcmsend elsewhere, such as in the network of a container.

    Returns:
        How many objects the receiver acknowledged with Success.

    Raises:
        ClientError: dcmsend is missing or did not reach the receiver.
    """
    limits = ["--timeout", "10", "--acse-timeout", "30", "--dimse-timeout", "120"]
    names = ["-aet", calling, "-aec", called]
    report = directory.with_suffix(".report")
    options = [*limits, *names, "--scan-directories", "--create-report-file", str(report)]
    try:
        send = [*enter, tool("dcmsend"), *options, address, str(port), str(directory)]
        run(send, timeout=600)
        said = report.read_text(encoding="utf-8", errors="replace")
    except CommandError as error:
        raise ClientError(_last_words(str(error))) from error
    finally:
        report.unlink(missing_ok=True)
    return len(re.findall(r"^DIMSE Status\s*: 0x0000 ", said, re.MULTILINE))


def _last_words(text: str) -> str:
    """Return what dcmtk's programs say of an error, without their progress."""
    errors = re.findall(r"^[EF]: (.*)$", text, re.MULTILINE)
    return " ".join(errors) if errors else text


def resolve_within(container: dict[str, Any], name: str) -> str:
    """Return the address that a name has inside a container.

    Raises:
        ClientError: it has none.
    """
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        found = run(["docker", "exec", str(container["Id"]), "getent", "hosts", name]).split()
    except CommandError as error:
        raise ClientError(f"the name {name!r} has no address in CTP's container") from error
    return found[0]


def echo_from(
    container: dict[str, Any], calling: str, called: str, name: str = "", port: int = 0
) -> str:
    """Send a C-ECHO (PS3.7 9.1.5) to Orthanc from the network of CTP's container.

    Args:
        container: what the engine tells of CTP's container.
        calling: AE title of CTP.
        called: AE title of Orthanc.
        name: of Orthanc; empty: the one that CTP has in its environment (ORTHANC_HOSTNAME).
        port: of Orthanc; 0: the one that CTP has in its environment (ORTHANC_PORT).

    Returns:
        Where Orthanc answered.

    Raises:
        ClientError: the name has no address, or Orthanc does not answer or refuses.
    """
    environment = dict(entry.partition("=")[::2] for entry in container["Config"].get("Env") or [])
    name = name or environment.get("ORTHANC_HOSTNAME") or "orthanc"
    at = str(port or environment.get("ORTHANC_PORT") or 4242)
    address = resolve_within(container, name)
    enter = [tool("nsenter"), "--target", str(container["State"]["Pid"]), "--net"]
    echo = [tool("echoscu"), "-to", "10", "-ta", "20", "-td", "20", "-aet", calling, "-aec", called]
    try:
        run([*enter, *echo, address, at], timeout=60)
    except CommandError as error:
        raise ClientError(f"{name}:{at} ({address}): {_last_words(str(error))}") from error
    return f"{name}:{at} ({address})"


def summarize_reasons(entries: Sequence[Quarantined]) -> str:
    """Return how many objects lie in quarantine for which reason."""
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.reason] = counts.get(entry.reason, 0) + 1
    return ", ".join(f"{count} for {reason!r}" for reason, count in sorted(counts.items()))
