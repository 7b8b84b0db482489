"""What CTP is about to read, judged before it is started. Fail-closed: what is unknown is refused.

Each rule answers to a case in which stock CTP lets objects through unmodified, deletes them, or
puts a file of its own in the place of a missing one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..data_set.rules import Rules
from ..data_set.rules import rules as read_rules
from ..settings import Pipeline, Settings, Stage

PLACEHOLDER = "@@UID_KEY@@"
PATIENT_ID = "00100020"
METHOD = "00120063"
STAGE_CLASSES = {
    "import": "org.rsna.ctp.stdstages.DicomImportService",
    "anonymizer": "org.rsna.ctp.stdstages.DicomAnonymizer",
    "filter": "org.rsna.ctp.stdstages.DicomFilter",
    "export": "org.rsna.ctp.stdstages.DicomExportService",
}
LOOKUP = (
    "@if(PatientID,matches,@ONE_VALUE){@if(IssuerOfPatientID,matches,@ONE_VALUE)"
    "{@if(IssuerOfPatientID,isblank){@if(00100024::00400032,matches,@ONE_VALUE)"
    "{@lookup(PatientID|00100024::00400032,PatientID)}{@quarantine()}}"
    "{@lookup(PatientID|IssuerOfPatientID,PatientID)}}{@quarantine()}}{@quarantine()}"
)
"""Looks up PatientID with its issuer (``keydb.key``); what has several of either is held back."""
ONE_VALUE = r"[^\\]*"
_LOOKS_UP_PATIENT = (
    rf"@always\(\)(?:{re.escape(LOOKUP)}|@select\(\)\{{(?:{re.escape(LOOKUP)}"
    rf"|@if\(this,matches,@PATIENT_ID\)\{{{re.escape(LOOKUP)}\}}\{{@quarantine\(\)\}})\}}"
    r"\{@remove\(\)\})"
)
_CONDITION = r'\[?\w+\]?\.\w+\("[^"]*"\)'
_CONDITION_PARTS = r'\[?(\w+)\]?\.(\w+)\("([^"]*)"\)'
_GROUP = rf"(?:{_CONDITION}|\(\s*{_CONDITION}(?:\s*\+\s*{_CONDITION})*\s*\))"
_IDENTITY_REMOVED = ("00120062", "PatientIdentityRemoved")
_PATIENT_IDS = (PATIENT_ID, "PatientID")
_METHODS = (METHOD, "DeidentificationMethod")
_COMMON = {"name", "id", "class", "root", "quarantine"}
_ATTRIBUTES = {
    "import": _COMMON | {"ip", "port", "logConnections", "throttle"},
    "anonymizer": _COMMON | {"script", "lookupTable"},
    "filter": _COMMON | {"script"},
    "export": _COMMON | {"url", "interval", "associationTimeout", "forceClose", "throttle"},
}


class VerificationError(Exception):
    """A file that CTP must not be started with; the text is one sentence."""


@dataclass(frozen=True)
class Verified:
    """The files as they were judged, and what the scripts write as the method."""

    files: Mapping[str, bytes]
    methods: Mapping[str, str]
    """Script file name to the text that it writes into (0012,0063)."""
    rules: Rules
    """What the scripts do with elements, together."""


def verify(settings: Settings) -> Verified:
    """Judge all files. Raises ``VerificationError`` at the first that is not as it has to be."""
    files: dict[str, bytes] = {}
    for name in ("config.xml", "log4j.properties"):
        files[name] = _read(settings.configuration / name)
    _config(settings, files["config.xml"])
    methods = {}
    rules = Rules()
    for pipeline in settings.pipelines:
        for name in (pipeline.script, pipeline.filter):
            if Path(name).name != name:
                raise VerificationError(f"The script {name!r} has to be a plain file name.")
            files[name] = _read(settings.configuration / name)
        method = _filter_script(
            pipeline.filter, files[pipeline.filter], settings.pseudonym_prefixes
        )
        _anonymizer_script(pipeline.script, files[pipeline.script], method)
        methods[pipeline.script] = method
        rules |= read_rules(files[pipeline.script])
    if settings.engine == "ctp":
        for name in ("CTP.jar", "util.jar"):
            path = settings.distribution / "libraries" / name
            if not path.is_file():
                raise VerificationError(
                    f"{path} is missing: mount the directory CTP of an installation there."
                )
    return Verified(files, methods, rules)


def with_key(script: bytes, key: bytes) -> bytes:
    """A script as it has been rendered, with the key for UIDs in it."""
    return script.replace(PLACEHOLDER.encode(), key.hex().encode())


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VerificationError(f"{path} cannot be read ({type(error).__name__}).") from error
    if not data.strip():
        raise VerificationError(f"{path} is empty.")
    return data


def _xml(name: str, data: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise VerificationError(f"{name} has a document type, which is not accepted.")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise VerificationError(f"{name} is not well-formed XML: {error}.") from error


def _config(settings: Settings, data: bytes) -> None:
    root = _xml("config.xml", data)
    servers = root.findall("Server")
    pipelines = root.findall("Pipeline")
    if root.tag != "Configuration" or len(servers) != 1:
        raise VerificationError("config.xml has to be a Configuration with one Server.")
    others = {child.tag for child in root} - {"Server", "Pipeline"}
    if others:
        raise VerificationError(f"config.xml has elements not known here: {sorted(others)}.")
    server = servers[0]
    if server.get("requireAuthentication") != "yes":
        raise VerificationError('config.xml: Server has not requireAuthentication="yes".')
    if set(server.attrib) - {"port", "requireAuthentication", "maxThreads"} or (
        server.get("port") != str(settings.ctp_web_port)
    ):
        raise VerificationError(
            f'config.xml: Server has to have port="{settings.ctp_web_port}" and no users class.'
        )
    if [each.get("name") for each in pipelines] != [each.name for each in settings.pipelines]:
        raise VerificationError("config.xml has other pipelines than supervisor.json.")
    for element, pipeline in zip(pipelines, settings.pipelines):
        _pipeline(element, pipeline, settings)


def _pipeline(element: ElementTree.Element, pipeline: Pipeline, settings: Settings) -> None:
    where = f"config.xml: pipeline {pipeline.name}"
    if set(element.attrib) - {"name"}:
        raise VerificationError(f"{where} has attributes besides its name.")
    if [child.get("class") for child in element] != list(STAGE_CLASSES.values()):
        raise VerificationError(
            f"{where} has to have the stages import, anonymizer, filter and export, in this order."
        )
    for child, stage in zip(element, pipeline.stages):
        _stage(f"{where}, stage {stage.kind}", child, stage, pipeline, settings)


def _stage(
    where: str,
    element: ElementTree.Element,
    stage: Stage,
    pipeline: Pipeline,
    settings: Settings,
) -> None:
    expected = {"root": str(stage.root), "quarantine": str(stage.quarantine)}
    if stage.kind == "import":
        expected |= {"ip": "127.0.0.1", "port": str(pipeline.import_port)}
    elif stage.kind == "anonymizer":
        expected |= {"script": pipeline.script, "lookupTable": str(settings.lookup_table)}
    elif stage.kind == "filter":
        expected["script"] = pipeline.filter
    for name, value in expected.items():
        if element.get(name) != value:
            raise VerificationError(
                f"{where}: {name} is {element.get(name)!r} and has to be {value!r}."
            )
    if stage.kind == "export" and not re.fullmatch(
        rf"dicom://[^:@/]{{1,16}}:[^:@/]{{1,16}}@127\.0\.0\.1:{pipeline.export.listen_port}",
        element.get("url", ""),
    ):
        raise VerificationError(
            f"{where}: url has to lead to 127.0.0.1:{pipeline.export.listen_port}, the relay."
        )
    unknown = set(element.attrib) - _ATTRIBUTES[stage.kind]
    if unknown:
        raise VerificationError(f"{where} has attributes not accepted here: {sorted(unknown)}.")
    for child in element:
        if stage.kind != "import" or child.tag != "accept" or set(child.attrib) != {"sopClass"}:
            # <accept calledAET> and <reject> drop objects while they answer Success.
            raise VerificationError(f"{where} has the element {child.tag}, not accepted here.")


def _anonymizer_script(name: str, data: bytes, method: str) -> None:
    """Judge a script; ``method`` is what the filter behind it asks for in (0012,0063)."""
    root = _xml(name, data)
    if root.tag != "script":
        raise VerificationError(f"{name}: the root element is {root.tag!r} and not 'script'.")
    removed = {each.get("t") for each in root.findall("r") if each.get("en") == "T"}
    for switch in ("privategroups", "unspecifiedelements"):
        if switch not in removed:
            raise VerificationError(f"{name} does not remove {switch}.")
    if [each.text for each in root.findall("p") if each.get("t") == "ONE_VALUE"] != [ONE_VALUE]:
        raise VerificationError(f"{name} has not the parameter ONE_VALUE as it has to be.")
    elements = root.findall("e")
    if not elements:
        raise VerificationError(f"{name} has no element.")
    if data.decode("utf-8", "replace").count(PLACEHOLDER) != 1:
        raise VerificationError(f"{name} has to hold {PLACEHOLDER} exactly once.")
    seen = {}
    for element in elements:
        tag, text = element.get("t", ""), (element.text or "").strip()
        if element.get("en") not in ("T", "F") or len(tag) < 8:
            raise VerificationError(f"{name}: element {tag!r} has no valid en or t.")
        if len(element):
            raise VerificationError(f"{name}: the script of element {tag} holds XML.")
        if element.get("en") == "F":
            continue
        if "@skip" in text:
            raise VerificationError(f"{name}: element {tag} calls @skip, which lets objects pass.")
        if "@lookup" in text and not text.startswith("@always()"):
            raise VerificationError(
                f"{name}: element {tag} has @lookup without @always(): objects without the element"
                " would pass."
            )
        seen[tag.lower()] = text
    if not re.fullmatch(_LOOKS_UP_PATIENT, seen.get(PATIENT_ID, "")):
        raise VerificationError(f"{name} does not look up PatientID by PatientID and issuer alone.")
    if method not in seen.get(METHOD, ""):
        raise VerificationError(f"{name} does not write {method!r} into (0012,0063).")


def _filter_script(name: str, data: bytes, prefixes: tuple[str, ...]) -> str:
    """Judge a filter; return the text that it asks for in De-identification Method.

    It has to be a product of conditions, so that none of them can be got around.
    """
    text = data.decode("utf-8", "replace")
    if not re.fullmatch(rf"\s*{_GROUP}(?:\s*\*\s*{_GROUP})*\s*", text):
        raise VerificationError(f"{name} is not a product of conditions.")
    groups = [re.findall(_CONDITION_PARTS, group) for group in re.findall(_GROUP, text)]
    single = [group[0] for group in groups if len(group) == 1]
    if not any(s[0] in _IDENTITY_REMOVED and s[1:] == ("equals", "YES") for s in single):
        raise VerificationError(f"{name} does not ask for PatientIdentityRemoved YES.")
    if not any(
        all(c[0] in _PATIENT_IDS and c[1] == "startsWith" and c[2] in prefixes for c in group)
        for group in groups
    ):
        raise VerificationError(f"{name} does not ask for a PatientID under a pseudonym prefix.")
    methods = [c[2] for c in single if c[0] in _METHODS and c[1] == "equals" and c[2]]
    if not methods:
        raise VerificationError(f"{name} does not ask for the method in (0012,0063).")
    return methods[0]
