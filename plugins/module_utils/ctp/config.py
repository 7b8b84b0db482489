"""All that stock CTP (RSNA) reads, rendered from the variables of the role ctp.

Everything here is pure. The names of elements and attributes are those of CTP's ``config.xml``.
What is rendered is fail-closed by construction: every stage has a quarantine, every anonymizer a
script, and behind it stands a filter that lets through nothing but what says of itself that it is
de-identified and carries a pseudonym of the site. The program in the container
(images/ctp_rsna, ctp_supervisor) checks the same again before it starts CTP.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import pixels, script
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import roi_names as ctp_roi_names
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import words as ctp_words

#: Ports inside the container. 8104 and 9090 are published; the others are reached over loopback.
DICOM_PORT = 8104
WEB_PORT = 9090
CTP_WEB_PORT = 9080
FIRST_IMPORT_PORT = 8201
FIRST_EXPORT_PORT = 8301

#: Orthanc on the same machine, as CTP knows it: a forwarder (roles/ctp/vars/main.yml).
FORWARDED = ("orthanc", 4242)
GREETING_PORT = 4243

#: Where the stand-in finds the rules when it takes the place of the AusCAT image.
RULES = "/etc/ctp_rules"
DATA = "/ctp_temp"
LOOKUP_TABLE = f"{DATA}/lookup.properties"
STAGES = ("import", "anonymizer", "filter", "export")

#: Bytes of a config of Docker Swarm.
MOST_BYTES = 500 * 1024
MOST_PARALLEL = 8
MOST_HOLD_SECONDS = 3600
#: What Java and the supervisor take besides the heap, with room to spare (measured: 250 at most).
BESIDE_HEAP_MIB = 400
PIPELINE_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}\Z")
PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")
# As KeyDB has one (images/keydb/schema.sql); "|" is what CTP puts between PatientID and issuer.
ISSUER = re.compile(r"(?!\s)[^|\\\x00-\x1f\x7f-\x9f]{0,64}(?<!\s)")
PIPELINE_KEYS = {"name", "called_aets", "calling_aets", "parallel", "deidentification", "export"}
EXPORT_KEYS = {"host", "port", "called_aet", "calling_aet"}
OPTIONS = {field.name for field in dataclasses.fields(script.ScriptOptions)}
OPTIONS -= {"descriptor_words"}
SWITCHES = OPTIONS - {"longitudinal", "preset", "roi_names", "site_roi_names", "uid_root"}
LONGITUDINAL = ("none", "full", "shifted")

# CTP logs identifiers in its anonymizer (values that it could not write, keys that it did not find)
# and in what it says of objects at the level INFO, and logins in what it says of refused requests;
# dcm4che logs values that are not as they should be (a UID, a name), and what is in a command.
# None of it is let through. The last three write a stack trace for each aborted association.
# DicomStorageSCP stays at WARN: the supervisor learns from it that a write has failed.
LOG4J = """\
log4j.rootLogger = WARN, Console
log4j.appender.Console = org.apache.log4j.ConsoleAppender
log4j.appender.Console.layout = org.apache.log4j.PatternLayout
log4j.appender.Console.layout.ConversionPattern = ctp: %-5p [%c{1}] %m%n
log4j.logger.org.rsna.ctp.stdstages.anonymizer = OFF
log4j.logger.org.rsna.ctp.stdstages.DicomAnonymizer = ERROR
log4j.logger.org.rsna.ctp.objects = ERROR
log4j.logger.org.rsna.ctp.servlets.ShutdownServlet = ERROR
log4j.logger.org.rsna.server.HttpHandler = OFF
log4j.logger.org.dcm4cheri.data = ERROR
log4j.logger.org.dcm4cheri.util = ERROR
log4j.logger.org.dcm4cheri.net.ActiveAssociationImpl = OFF
log4j.logger.org.dcm4cheri.net.FsmImpl = ERROR
log4j.logger.org.dcm4cheri.server.ServerImpl = OFF
"""


class CtpConfigurationError(ValueError):
    """The variables of the role cannot be rendered; the text holds all problems, one a line."""


def rule_problems(settings: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with what the scripts are made of, as `problems`: ctp_deidentification,
    ctp_pixel_rules and ctp_pseudonym_prefixes."""
    found = _option_problems(settings["ctp_deidentification"], "ctp_deidentification")
    found += pixels.problems(settings["ctp_pixel_rules"])
    found += _word_problems(settings.get("ctp_descriptor_words", []))
    prefixes = settings["ctp_pseudonym_prefixes"]
    if not _is_list(prefixes) or not prefixes:
        return [
            *found,
            f"ctp_pseudonym_prefixes is {prefixes!r}. Accepted: a list of at least one prefix, "
            "such as [ANON-]; what carries none of them never leaves CTP.",
        ]
    return found + [
        f"ctp_pseudonym_prefixes contains {prefix!r}. Accepted: 1 to 32 letters, digits, '.', "
        "'_' and '-', the first a letter or digit."
        for prefix in prefixes
        if not PREFIX.match(str(prefix))
    ]


def problems(settings: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the variables, each with name, value, accepted and remedy.

    Args:
        settings: ctp_pipelines, ctp_deidentification, ctp_pixel_rules, ctp_pseudonym_prefixes,
            ctp_issuers, ctp_heap_mib, ctp_memory_mib, ctp_minimum_free_mib, ctp_account_days,
            ctp_account_quiet_minutes, ctp_admin_password_has_colon and
            those that `files` needs besides.
    """
    found = rule_problems(settings)
    if settings["ctp_admin_password_has_colon"]:
        found.append(
            "ctp_admin_password contains a colon, with which nobody can log in to CTP. Accepted: a "
            "password without ':'. Set another one in the vault."
        )
    issuers = settings["ctp_issuers"]
    if not _is_list(issuers) or not issuers:
        found.append(
            f"ctp_issuers is {issuers!r}. Accepted: a list of at least one Issuer of Patient ID, "
            "'' for none, such as ['', HOSP-A]; without one, patients who are in KeyDB without an "
            "issuer would never be known."
        )
    else:
        found += [
            f"ctp_issuers contains {issuer!r}. Accepted: up to 64 characters without '|', "
            "backslash, control characters and blanks at the ends, as senders write it into "
            "(0010,0021)."
            for issuer in issuers
            if not isinstance(issuer, str) or not ISSUER.fullmatch(issuer)
        ]
    if int(settings["ctp_heap_mib"]) + BESIDE_HEAP_MIB > int(settings["ctp_memory_mib"]):
        found.append(
            f"ctp_heap_mib is {settings['ctp_heap_mib']} and ctp_memory_mib "
            f"{settings['ctp_memory_mib']}. Accepted: a memory limit of at least "
            f"{BESIDE_HEAP_MIB} MiB more than the heap, since the engine kills what outgrows it. "
            "Raise ctp_memory_mib."
        )
    found += [
        f"{name} is {settings[name]!r}. Accepted: a whole number from 1 to {most}."
        for name, most in (("ctp_account_days", 3660), ("ctp_account_quiet_minutes", 1440))
        if not _is_number(settings[name], 1, most)
    ]
    pipelines = settings["ctp_pipelines"]
    if not _is_list(pipelines) or not pipelines:
        return [
            *found,
            f"ctp_pipelines is {pipelines!r}. Accepted: a list of at least one pipeline, such as "
            "[{name: orthanc}].",
        ]
    names = [str(each.get("name")) if isinstance(each, Mapping) else "" for each in pipelines]
    for index, pipeline in enumerate(pipelines):
        found += _pipeline_problems(pipeline, f"ctp_pipelines[{index}]")
    found += [
        f"ctp_pipelines has {names.count(name)} pipelines called {name!r}. Accepted: names of "
        "their own."
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    found += _unused_problems(settings, pipelines)
    return found + _routing_problems(pipelines)


def files(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what CTP and its supervisor read: file name to content.

    Args:
        settings: the variables of the role (see roles/ctp/vars/main.yml), as for `problems`, and
            ctp_distribution, ctp_orthanc_hostname, ctp_orthanc_port, ctp_orthanc_aet, ctp_aet,
            ctp_keydb_query, ctp_sync_before_acknowledge and ctp_stop_seconds. For TLS:
            ctp_keydb_tls_name, the name of KeyDB's certificate, ctp_orthanc_tls_names, those of
            which Orthanc's has one, and ctp_tls_trusted, the file of the CAs in the container.

    Raises:
        CtpConfigurationError: there are problems; the text holds all of them.
    """
    found = problems(settings)
    if found:
        raise CtpConfigurationError("\n".join(found))
    rendered = {
        "config.xml": config_xml(settings),
        "log4j.properties": LOG4J,
        "supervisor.json": json.dumps(supervisor(settings), indent=2, sort_keys=True) + "\n",
    }
    for pipeline in settings["ctp_pipelines"]:
        for name, text in _scripts(settings, pipeline).items():
            rendered[f"{pipeline['name']}.{name}"] = text
    return rendered


def rules(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the scripts of the first pipeline, for the stand-in in the AusCAT image's place.

    Args:
        settings: ctp_pipelines, ctp_deidentification, ctp_pixel_rules and ctp_pseudonym_prefixes.

    Returns:
        ``anonymizer.script`` and ``filter.script``, the very texts that `files` has for CTP.

    Raises:
        CtpConfigurationError: there are problems; the text holds all of them.
    """
    found = rule_problems(settings)
    pipelines = settings["ctp_pipelines"]
    first = pipelines[0] if _is_list(pipelines) and pipelines else {}
    own = first.get("deidentification") if isinstance(first, Mapping) else None
    if own is not None:
        found += _option_problems(own, "ctp_pipelines[0].deidentification")
    found += _unused_problems(settings, [first])
    if found:
        raise CtpConfigurationError("\n".join(found))
    # Nothing behind the stand-in alone blanks anything.
    return _scripts(settings, {"deidentification": own}, can_blank=False)


def _scripts(
    settings: Mapping[str, Any], pipeline: Mapping[str, Any], can_blank: bool = True
) -> dict[str, str]:
    options = _options(settings, pipeline)
    rendered = {
        "anonymizer.script": script.anonymizer_script(
            options, pixels.rules(settings["ctp_pixel_rules"]), can_blank
        ),
        "filter.script": script.filter_script(
            settings["ctp_pseudonym_prefixes"], script.method(options)
        ),
    }
    # A mistake of this program must not reach CTP either.
    found = [
        *map(
            "anonymizer.script: {}".format,
            script.script_problems(rendered["anonymizer.script"]),
        ),
        *map("filter.script: {}".format, script.filter_problems(rendered["filter.script"])),
    ]
    size = len(rendered["anonymizer.script"].encode())
    if size > MOST_BYTES:
        counts = (
            ("ctp_pixel_rules", settings["ctp_pixel_rules"]),
            ("site_roi_names", options.site_roi_names),
            ("ctp_descriptor_words", options.descriptor_words),
        )
        entries_of = ", ".join(f"{name} has {len(entries)} entries" for name, entries in counts)
        found.append(
            f"{entries_of}: the anonymizer script would have {size} bytes. Accepted: {MOST_BYTES}, "
            "which is what a config of Docker Swarm holds. Shorten the longest of them."
        )
    if found:
        raise CtpConfigurationError("\n".join(found))
    return rendered


def expanded(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return CTP's pipelines: one with ``parallel: 2`` becomes two with the same AE titles.

    Keys: name, index, pipeline (its name in ctp_pipelines), import_port, called_aets, calling_aets,
    script, filter, export (listen_port, host, port, called_aet, calling_aet, tls_names), stages
    (each with index, kind, root and quarantine).
    """
    result: list[dict[str, Any]] = []
    for pipeline in settings["ctp_pipelines"]:
        name = pipeline["name"]
        given = pipeline.get("export") or {}
        for number in range(1, int(pipeline.get("parallel", 1)) + 1):
            index, own = len(result), f"{name}-{number}"
            result.append(
                {
                    "name": own,
                    "index": index,
                    "pipeline": name,
                    "import_port": FIRST_IMPORT_PORT + index,
                    "called_aets": [str(aet) for aet in pipeline.get("called_aets") or []],
                    "calling_aets": [str(aet) for aet in pipeline.get("calling_aets") or []],
                    "script": f"{name}.anonymizer.script",
                    "filter": f"{name}.filter.script",
                    "export": {
                        "listen_port": FIRST_EXPORT_PORT + index,
                        "host": str(given.get("host") or settings["ctp_orthanc_hostname"]),
                        "port": int(given.get("port") or settings["ctp_orthanc_port"]),
                        "called_aet": str(given.get("called_aet") or settings["ctp_orthanc_aet"]),
                        "calling_aet": str(given.get("calling_aet") or settings["ctp_aet"]),
                        # What a pipeline names itself is no Orthanc of this node.
                        "tls_names": []
                        if given.get("host") or given.get("port")
                        else [str(name) for name in settings.get("ctp_orthanc_tls_names") or []],
                    },
                    "stages": [
                        {
                            "index": stage,
                            "kind": kind,
                            "root": f"{DATA}/roots/{own}/{kind}",
                            "quarantine": f"{DATA}/quarantines/{own}/{kind}",
                        }
                        for stage, kind in enumerate(STAGES)
                    ],
                }
            )
    return result


def dicom_tls(mode: Any, required_for: Any, flavour: Any, tls: Any) -> str:
    """Return ``ctp_dicom_tls``; raises `CtpConfigurationError` where it cannot be had."""
    if mode == "none":
        if required_for:
            raise CtpConfigurationError(
                f"ctp_dicom_tls_required_for is {required_for!r}, and ctp_dicom_tls is none. "
                "Accepted: AE titles with ctp_dicom_tls accepted. Set it, or remove the AE titles."
            )
        return "none"
    for variable, value, accepted in (
        ("ctp_flavour", flavour, "rsna or auscat, which have a gate"),
        ("auscat_tls", tls, "own_ca or files"),
    ):
        if value in ("standin", "none"):
            raise CtpConfigurationError(
                f"ctp_dicom_tls is {mode}, and {variable} is {value}. Accepted with DICOM over "
                f"TLS: {accepted}. Set ctp_dicom_tls to none, or the other variable."
            )
    return str(mode)


def hold_seconds(value: Any) -> int:
    """Return ``ctp_hold_seconds`` as a number; raises `CtpConfigurationError`."""
    if not _is_number(value, 0, MOST_HOLD_SECONDS):
        raise CtpConfigurationError(
            f"ctp_hold_seconds is {value!r}. Accepted: 0 to {MOST_HOLD_SECONDS}, the seconds that "
            "senders wait while CTP is restarted."
        )
    return int(value)


def gate_pipelines(pipelines: Any, flavour: str) -> list[dict[str, Any]]:
    """Return what the gate in front of CTP is told of ``ctp_pipelines``.

    In front of the AusCAT image, whose pipelines are its own, only the AE titles of the first one
    count. What is wrong with the pipelines is for `problems` to say, so that it is left out here.

    Args:
        pipelines: ctp_pipelines.
        flavour: ctp_flavour.
    """
    own = flavour == "auscat"
    return [
        {
            "called_aets": [str(aet) for aet in each.get("called_aets") or []],
            "calling_aets": [str(aet) for aet in each.get("calling_aets") or []],
            "parallel": 1 if own else int(each.get("parallel", 1)),
        }
        for each in (pipelines if _is_list(pipelines) else [])[: 1 if own else None]
        if isinstance(each, Mapping) and _is_number(each.get("parallel", 1), 1, MOST_PARALLEL)
    ]


def supervisor(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the supervisor reads (images/ctp_rsna/src/ctp_supervisor/settings.py)."""
    pipelines = expanded(settings)
    return {
        "engine": "standin" if settings["ctp_distribution"] == "standin" else "ctp",
        "dicom_port": DICOM_PORT,
        "web_port": WEB_PORT,
        "ctp_web_port": CTP_WEB_PORT,
        "heap_mib": int(settings["ctp_heap_mib"]),
        "minimum_free_mib": int(settings["ctp_minimum_free_mib"]),
        "largest_object_mib": int(settings["auscat_largest_object_mib"]),
        "account_days": int(settings["ctp_account_days"]),
        "account_quiet_minutes": int(settings["ctp_account_quiet_minutes"]),
        "sync_before_acknowledge": bool(settings["ctp_sync_before_acknowledge"]),
        "stop_seconds": int(settings["ctp_stop_seconds"]),
        "pseudonym_prefixes": [str(prefix) for prefix in settings["ctp_pseudonym_prefixes"]],
        "issuers": [str(issuer) for issuer in settings["ctp_issuers"]],
        "lookup_table": LOOKUP_TABLE,
        "deidentification": [
            f"{each['pipeline']}: {each['preset']}" + (each["changes"] and f", {each['changes']}")
            for each in said(settings)
        ],
        "date_shift": any(_shifts_dates(settings, each) for each in settings["ctp_pipelines"]),
        "pixel_regions": pixels.regions(settings["ctp_pixel_rules"]),
        "keydb": {
            "host": "keydb",
            "port": 5432,
            "database": "key_db",
            "query": str(settings["ctp_keydb_query"]),
            "tls_name": str(settings.get("ctp_keydb_tls_name") or ""),
        },
        "trusted": str(settings.get("ctp_tls_trusted") or ""),
        "pipelines": [
            {
                **pipeline,
                "export": {
                    **{
                        key: pipeline["export"][key]
                        for key in ("listen_port", "host", "port", "tls_names")
                    },
                    "greeting_port": GREETING_PORT
                    if settings["ctp_forwarded"]
                    and (pipeline["export"]["host"], pipeline["export"]["port"]) == FORWARDED
                    else 0,
                },
            }
            for pipeline in pipelines
        ],
    }


def config_xml(settings: Mapping[str, Any]) -> str:
    """Return CTP's ``config.xml``. It holds no secret: CTP shows all of it at ``/server``."""
    root = ElementTree.Element("Configuration")
    ElementTree.SubElement(
        root, "Server", {"port": str(CTP_WEB_PORT), "requireAuthentication": "yes"}
    )
    for pipeline in expanded(settings):
        element = ElementTree.SubElement(root, "Pipeline", {"name": pipeline["name"]})
        stages = {stage["kind"]: stage for stage in pipeline["stages"]}

        def stage(
            kind: str,
            java_class: str,
            attributes: Mapping[str, str],
            element: ElementTree.Element = element,
            stages: Mapping[str, Mapping[str, Any]] = stages,
        ) -> None:
            own = {key: stages[kind][key] for key in ("root", "quarantine")}
            name = {"name": java_class, "class": f"org.rsna.ctp.stdstages.{java_class}"}
            ElementTree.SubElement(element, java_class, {**name, **own, **attributes})

        stage(
            "import",
            "DicomImportService",
            # Reached through the supervisor's gate only, which is what refuses AE titles: CTP
            # answers Success to a sender that it refuses.
            {"ip": "127.0.0.1", "port": str(pipeline["import_port"]), "logConnections": "no"},
        )
        stage(
            "anonymizer",
            "DicomAnonymizer",
            {"script": pipeline["script"], "lookupTable": LOOKUP_TABLE},
        )
        stage("filter", "DicomFilter", {"script": pipeline["filter"]})
        export = pipeline["export"]
        stage(
            "export",
            "DicomExportService",
            {
                "url": f"dicom://{export['called_aet']}:{export['calling_aet']}"
                f"@127.0.0.1:{export['listen_port']}",
                # Milliseconds between two looks at the queue; CTP takes no less.
                "interval": "1000",
                # Seconds: Orthanc stops at once, instead of waiting for an idle association.
                "associationTimeout": "5",
            },
        )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _shifts_dates(settings: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
    return _options(settings, pipeline).longitudinal == "shifted"


def _options(settings: Mapping[str, Any], pipeline: Mapping[str, Any]) -> script.ScriptOptions:
    return script.ScriptOptions(
        **script.resolved(settings["ctp_deidentification"], pipeline.get("deidentification")),
        descriptor_words=tuple(settings.get("ctp_descriptor_words", [])),
    )


def said(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what the tables say of the de-identification: pipeline, preset and options beside it.

    Args:
        settings: ctp_pipelines, ctp_deidentification and ctp_descriptor_words.

    Returns:
        Keys pipeline, preset, changes; none where the variables are wrong, which `problems` says.
    """
    pipelines, site = settings["ctp_pipelines"], settings["ctp_deidentification"]
    if _option_problems(site, "") or _word_problems(settings.get("ctp_descriptor_words", [])):
        return []
    if not _is_list(pipelines):
        return []
    rows = []
    for each in pipelines:
        own = each.get("deidentification") if isinstance(each, Mapping) else None
        if not isinstance(each, Mapping) or (own is not None and _option_problems(own, "")):
            return []
        options = _options(settings, each)
        beside = [f"{name}: {json.dumps(value)}" for name, value in options.changes.items()]
        if options.descriptor_words:
            beside.append(f"{len(options.descriptor_words)} words of the site")
        rows.append(
            {
                "pipeline": str(each.get("name")),
                "preset": options.preset,
                "changes": ", ".join(beside).replace('"', ""),
            }
        )
    return rows


def _option_problems(options: Any, where: str) -> list[str]:
    if not isinstance(options, Mapping):
        return [f"{where} is {options!r}. Accepted: a mapping of {', '.join(sorted(OPTIONS))}."]
    found = [
        f"{where} has the unknown option {name!r}. Accepted: {', '.join(sorted(OPTIONS))}."
        for name in options
        if name not in OPTIONS
    ]
    for name, value in options.items():
        if name == "longitudinal" and value not in LONGITUDINAL:
            found.append(f"{where}.{name} is {value!r}. Accepted: {', '.join(LONGITUDINAL)}.")
        elif name == "roi_names" and value not in script.ROI_NAMES:
            accepted = ", ".join(script.ROI_NAMES)
            found.append(f"{where}.{name} is {value!r}. Accepted: {accepted}.")
        elif name == "site_roi_names":
            found += _site_name_problems(value, f"{where}.{name}")
        elif name == "preset" and (not isinstance(value, str) or value not in script.PRESETS):
            found.append(f"{where}.{name} is {value!r}. Accepted: {', '.join(script.PRESETS)}.")
        elif name == "uid_root" and not script.is_uid_root(value):
            found.append(
                f"{where}.uid_root is {value!r}. Accepted: a UID of at most "
                f"{script.MAX_UID_ROOT} characters, in quotes, such as '2.25'. Leave it out "
                "for 2.25."
            )
        elif name in SWITCHES and not isinstance(value, bool):
            found.append(f"{where}.{name} is {value!r}. Accepted: true or false.")
    return found


def _site_name_problems(names: Any, where: str) -> list[str]:
    most = ctp_roi_names.MOST_NAMES
    if not _is_list(names) or len(names) > most:
        shown = f"has {len(names)} names" if _is_list(names) else f"is {names!r}"
        return [f"{where} {shown}. Accepted: a list of at most {most} names of structures."]
    return [
        f"{where} contains {name!r}. Accepted: {problem}. Remove it or write it so."
        for name in names
        if (problem := ctp_roi_names.name_problem(name))
    ]


def _unused_problems(settings: Mapping[str, Any], pipelines: Sequence[Any]) -> list[str]:
    """What is listed without effect."""
    site, words = settings["ctp_deidentification"], settings.get("ctp_descriptor_words", [])
    return _unused_name_problems(site, pipelines) + (
        [] if _word_problems(words) else _unused_word_problems(words, site, pipelines)
    )


def _unused_name_problems(site: Any, pipelines: Sequence[Any]) -> list[str]:
    """Names that are listed, where `roi_names` lets none of them stay."""
    own: list[Any]
    own = [each.get("deidentification") if isinstance(each, Mapping) else [] for each in pipelines]
    if any(_option_problems({} if each is None else each, "") for each in (site, *own)):
        return []  # said already
    used = [script.resolved(site, each).get("roi_names", "standard") for each in own]
    given = {
        f"ctp_pipelines[{index}].deidentification": [roi_names]
        for index, (each, roi_names) in enumerate(zip(own, used))
        if each and each.get("site_roi_names")
    }
    if site.get("site_roi_names"):
        given["ctp_deidentification"] = used
    return [
        f"{where}.site_roi_names has names, and roi_names is standard, with which none of them "
        "stays. Accepted: roi_names: listed beside them. Set it, or remove site_roi_names."
        for where, roi_names in given.items()
        if set(roi_names) == {"standard"}
    ]


def _unused_word_problems(words: Any, site: Any, pipelines: Sequence[Any]) -> list[str]:
    """Words that are listed, where no pipeline cleans descriptions."""
    own: list[Any]
    own = [each.get("deidentification") if isinstance(each, Mapping) else [] for each in pipelines]
    if not words or any(_option_problems(each or {}, "") for each in (site, *own)):
        return []
    if any(script.resolved(site, each).get("clean_descriptors", False) for each in own):
        return []
    return [
        f"ctp_descriptor_words is {words!r:.80}, and clean_descriptors is false in every pipeline, "
        "so that no description stays in which they could stand. Accepted: words beside "
        "clean_descriptors: true, or none. Set it in ctp_deidentification (preset: radiotherapy "
        "has it), or remove ctp_descriptor_words."
    ]


def _word_problems(words: Any) -> list[str]:
    if not _is_list(words) or len(words) > ctp_words.MOST_WORDS:
        return [
            f"ctp_descriptor_words is {words!r:.80}. Accepted: a list of at most "
            f"{ctp_words.MOST_WORDS} words that may stand in descriptions, such as [MPRAGE]."
        ]
    return [
        f"ctp_descriptor_words contains {word!r}. Accepted: {problem}. Remove it or write it so."
        for word in words
        if (problem := ctp_words.word_problem(word))
    ]


def _pipeline_problems(pipeline: Any, where: str) -> list[str]:
    if not isinstance(pipeline, Mapping):
        return [f"{where} is {pipeline!r}. Accepted: a mapping, such as {{name: orthanc}}."]
    found = [
        f"{where} has the unknown key {key!r}. Accepted: {', '.join(sorted(PIPELINE_KEYS))}."
        for key in pipeline
        if key not in PIPELINE_KEYS
    ]
    if not PIPELINE_NAME.match(str(pipeline.get("name", ""))):
        found.append(
            f"{where}.name is {pipeline.get('name')!r}. Accepted: a lower-case letter, then up to "
            "30 lower-case letters, digits and '_': it names files and directories."
        )
    parallel = pipeline.get("parallel", 1)
    if not _is_number(parallel, 1, MOST_PARALLEL):
        found.append(
            f"{where}.parallel is {parallel!r}. Accepted: 1 to {MOST_PARALLEL}, the threads of CTP "
            "that share what comes in."
        )
    for key in ("called_aets", "calling_aets"):
        titles = pipeline.get(key) or []
        if not _is_list(titles):
            found.append(f"{where}.{key} is {titles!r}. Accepted: a list of AE titles.")
            continue
        found += [
            f"{where}.{key} contains {title!r}. Accepted: an AE title of 1 to 16 characters."
            for title in titles
            if not is_ae_title(title)
        ]
    own = pipeline.get("deidentification")
    if own is not None:
        found += _option_problems(own, f"{where}.deidentification")
    export = pipeline.get("export") or {}
    if not isinstance(export, Mapping) or set(export) - EXPORT_KEYS:
        found.append(
            f"{where}.export is {export!r}. Accepted: a mapping with any of "
            f"{', '.join(sorted(EXPORT_KEYS))}."
        )
        return found
    found += [
        f"{where}.export.{key} is {export[key]!r}. Accepted: an AE title of 1 to 16 characters "
        "without ':', '@' and '/'."
        for key in ("called_aet", "calling_aet")
        if key in export and (not is_ae_title(export[key]) or set(":@/") & set(export[key]))
    ]
    if "port" in export and not _is_number(export["port"], 1, 65535):
        found.append(f"{where}.export.port is {export['port']!r}. Accepted: 1 to 65535.")
    return found


def _routing_problems(pipelines: Sequence[Any]) -> list[str]:
    """Several pipelines behind one port are told apart by the called AE title alone."""
    taken: dict[str, str] = {}
    found = []
    for pipeline in pipelines:
        if not isinstance(pipeline, Mapping) or len(pipelines) < 2:
            continue
        titles: Any = pipeline.get("called_aets") or []
        if not titles:
            found.append(
                f"The pipeline {pipeline.get('name')!r} of ctp_pipelines has no called_aets. "
                "Accepted, where there are several: AE titles by which a sender chooses it."
            )
        for title in titles if _is_list(titles) else []:
            if title in taken:
                found.append(
                    f"The called AE title {title!r} of the pipeline {pipeline.get('name')!r} "
                    f"belongs to {taken[title]!r} already. Accepted: one pipeline for each title."
                )
            taken.setdefault(title, str(pipeline.get("name")))
    return found


def is_ae_title(value: Any) -> bool:
    """Tell whether a value is an AE title (PS3.5 6.2, VR AE), without spaces at its ends."""
    return (
        isinstance(value, str)
        and 1 <= len(value) <= 16
        and value == value.strip()
        and "\\" not in value
        and all(" " <= character <= "~" for character in value)
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_number(value: Any, least: int, most: int) -> bool:
    try:
        return not isinstance(value, bool) and least <= int(value) <= most
    except (TypeError, ValueError):
        return False
