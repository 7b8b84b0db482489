"""Stock CTP's files in one directory, read as the plan of a run: ``config.xml`` and ``users.xml``.

==============================  =================================================================
File, element                   What is taken from it
==============================  =================================================================
``config.xml``: Server          ``port``; ``requireAuthentication`` must be ``yes``
DicomImportService              ``ip``, ``port``, ``root``, ``quarantine``, ``accept`` with
                                ``calledAET`` or ``callingAET``; one with ``sopClass`` is passed
                                over
DicomAnonymizer                 ``lookupTable``, ``script``, ``quarantine``
DicomFilter                     ``script``, ``quarantine``
DicomExportService              ``url`` (``dicom://CALLED:CALLING@host:port``), ``interval``,
                                ``quarantine``
``users.xml``                   users, roles and passwords, hashed (``mode="digest"``) or not
==============================  =================================================================

Paths are relative to that directory. What CTP would accept in silence and what would make it pass
objects on identified, or drop them, is refused here: this program runs in CTP's place to prove what
is rendered for it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from program_settings import SettingsError

from .lookup_table import TableLookup
from .plan import QUARANTINE_ROLES, Login, Pipeline, Plan, Stage
from .rules import Rules
from .settings import Settings
from .spool import Layout, Reason

_URL = re.compile(
    r"dicom://(?P<called>[^:@/]{1,16}):(?P<calling>[^:@/]{1,16})@(?P<host>[^:@/]+):(?P<port>\d{1,5})"
)
_KINDS = {
    "DicomImportService": "import",
    "DicomAnonymizer": "anonymizer",
    "DicomFilter": "filter",
    "DicomExportService": "export",
}
_STAGE_OF = {
    Reason.UNREADABLE: "import",
    Reason.RESIDUAL_IDENTIFIER: "filter",
    Reason.REFUSED_BY_ORTHANC: "export",
}
"""The stage of CTP that would keep such an object; of the other reasons, the anonymizer."""


def read_plan(directory: Path) -> Plan:
    """The plan that the files in ``directory`` describe.

    Raises ``SettingsError`` naming the file, what is wrong there and what is needed.
    """
    directory = directory.resolve()
    root = _xml(directory / "config.xml")
    server = root.find("Server")
    if server is None:
        raise _wrong("it has no Server")
    if server.get("requireAuthentication", "").strip() != "yes":
        raise _wrong('Server has no requireAuthentication="yes": its pages would be open')
    if server.get("ssl", "").strip() == "yes":
        raise _wrong('Server has ssl="yes", which this program does not speak')
    web_port = _port(server, "port", "Server")
    pipelines = tuple(
        _pipeline(element, directory, index, web_port)
        for index, element in enumerate(root.findall("Pipeline"))
    )
    if not pipelines:
        raise _wrong("it has no Pipeline")
    if len({pipeline.rules.uid_key() for pipeline in pipelines}) > 1:
        raise _wrong("the anonymizer scripts hold different keys: UIDs would not agree")
    return Plan(
        pipelines=pipelines,
        web_address=("0.0.0.0", web_port),  # as CTP's own server
        login=read_login(directory / "users.xml"),
    )


def read_login(path: Path) -> Login:
    """The users of CTP's ``users.xml``; CTP would make ones with known passwords without it."""
    root = _xml(path)
    hashed = root.get("mode") == "digest"
    users = {}
    for user in root.findall("user"):
        password = user.get("password", "")
        roles = frozenset((role.text or "").strip() for role in user.findall("role"))
        users[user.get("username", "")] = (password if hashed else digest(password), roles)
    if not any(roles & QUARANTINE_ROLES for _, roles in users.values()):
        needed = " or ".join(sorted(QUARANTINE_ROLES))
        raise SettingsError(f"{path} has no user with the role {needed}. Give it one.")

    def login(user: str, password: str) -> frozenset[str] | None:
        expected, roles = users.get(user, ("", frozenset()))
        # CTP takes user and password apart at every colon.
        right = hmac.compare_digest(digest(password), expected) and ":" not in password
        return roles if right else None

    return login


def digest(password: str) -> str:
    """The unsalted MD5 of a password as a decimal number: what CTP's ``users.xml`` holds."""
    hashed = hashlib.md5(password.encode("utf-8"), usedforsecurity=False).digest()
    return str(int.from_bytes(hashed, "big"))


def _pipeline(element: Element, directory: Path, number: int, web_port: int) -> Pipeline:
    name = element.get("name", "").strip() or f"pipeline {number}"
    stages = [(_kind(stage, name), stage) for stage in element]
    if [kind for kind, _ in stages] != list(_KINDS.values()):
        raise _wrong(f"Pipeline {name} is not {', '.join(_KINDS)}, in this order")
    importer, anonymizer, safety, exporter = (stage for _, stage in stages)
    for kind, stage in stages:
        for attribute in ("root", "quarantine"):
            _needed(stage, attribute, f"the {kind} stage of {name}")
    if anonymizer.get("dicomScript", "").strip():
        raise _wrong(f"{name}: with dicomScript, CTP passes objects on that it does not match")
    rules = Rules(
        directory / _needed(anonymizer, "script", f"the anonymizer of {name}"),
        directory / _needed(safety, "script", f"the filter of {name}"),
    )
    if rules.problem():
        raise SettingsError(f"{rules.problem()}.")
    url = _URL.fullmatch(_needed(exporter, "url", f"the export of {name}"))
    if url is None:
        raise _wrong(f"{name}: the url of the export is not dicom://CALLED:CALLING@host:port")
    spool = directory / _needed(importer, "root", name)
    quarantines = {kind: directory / stage.get("quarantine", "") for kind, stage in stages}
    called, calling = _accepted(importer, name)
    return Pipeline(
        name=name,
        settings=Settings(
            orthanc_host=url["host"],
            orthanc_port=int(url["port"]),
            orthanc_aet=url["called"],
            aet=url["calling"],
            dicom_port=_port(importer, "port", f"the import of {name}"),
            web_port=web_port,
            bind_address=importer.get("ip", "").strip() or "0.0.0.0",
            spool_directory=spool,
            retry_seconds=_interval(exporter),
        ),
        lookup=TableLookup(
            directory / _needed(anonymizer, "lookupTable", f"the anonymizer of {name}")
        ),
        layout=Layout(
            receiving=spool / "temp",
            incoming=spool / "queue",
            quarantines={
                reason: quarantines[_STAGE_OF.get(reason, "anonymizer")] for reason in Reason
            },
            left_over=spool / "active",
        ),
        rules=rules,
        called_aets=called,
        calling_aets=calling,
        stages=tuple(
            Stage(index, kind, quarantines[kind]) for index, (kind, _) in enumerate(stages)
        ),
    )


def _kind(stage: Element, name: str) -> str:
    java_class = stage.get("class", "").rpartition(".")[2]
    if java_class not in _KINDS:
        raise _wrong(f"Pipeline {name} has a stage of the class {java_class!r}, which is unknown")
    return _KINDS[java_class]


def _accepted(importer: Element, name: str) -> tuple[frozenset[str], frozenset[str]]:
    titles: dict[str, set[str]] = {"calledAET": set(), "callingAET": set(), "sopClass": set()}
    for child in importer:
        if (
            child.tag != "accept"
            or len(child.attrib) != 1
            or not set(child.keys()) <= titles.keys()
        ):
            raise _wrong(
                f"{name}: the import has {child.tag} with {sorted(child.attrib)};"
                " this program knows accept with calledAET or callingAET"
            )
        ((attribute, title),) = child.items()
        titles[attribute].add(title.strip())
    return frozenset(titles["calledAET"]), frozenset(titles["callingAET"])


def _interval(exporter: Element) -> float:
    """The pause between two attempts in seconds; CTP's own where it is out of CTP's range."""
    value = exporter.get("interval", "").strip()
    milliseconds = int(value) if value.isascii() and value.isdigit() else 0
    return milliseconds / 1000 if 1000 <= milliseconds <= 10000 else 5.0


def _needed(element: Element, attribute: str, where: str) -> str:
    value = element.get(attribute, "").strip()
    if not value:
        raise _wrong(f"{where} has no {attribute}")
    return value


def _port(element: Element, attribute: str, where: str) -> int:
    value = _needed(element, attribute, where)
    if value.isascii() and value.isdigit() and 0 < int(value) <= 65535:
        return int(value)
    raise _wrong(f"{where} has the {attribute} {value!r}, which is no port")


def _xml(path: Path) -> Element:
    try:
        return ElementTree.fromstring(path.read_bytes())
    except (OSError, ElementTree.ParseError) as error:
        raise SettingsError(f"{path} cannot be read as XML ({error}).") from None


def _wrong(what: str) -> SettingsError:
    return SettingsError(f"config.xml: {what}.")
