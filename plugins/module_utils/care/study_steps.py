"""Steps of the diagnosis along a study's way, in the order of the AusCAT guide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.care.diagnosis import (
    ALONE,
    DISK,
    FAILED,
    FIREWALL,
    OK,
    QUARANTINE,
    QUEUE,
    SECRET,
    SERVICE,
    SERVICES,
    TITLE,
    UNKNOWN,
    WAY,
    Diagnosis,
    duration,
    figure,
    has,
    page_of,
    runs,
    times,
    unanswered,
    why_not,
)
from ansible_collections.auscat.imaging.plugins.module_utils.care.targets import (
    NAMELESS,
    canonical,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status.rules import (
    held_back_remedy,
)

STUCK_SECONDS = 300


def _reception(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not has(seen, "ctp"):
        return
    host = str(seen["host"])
    if (seen.get("ctp") or {}).get("login") is False and not why_not(seen, "ctp"):
        result.find(
            SECRET,
            host,
            f"CTP's page on {host} refuses the inventory's password for admin.",
            "If the inventory is right, deploy it: run site.yml.",
        )
        result.step(host, "CTP's page lets the inventory's admin in", FAILED)
    page = page_of(result, seen, "CTP accepts studies")
    if page is None:
        return
    what = "object accepted so far" if page["received"] == 1 else "objects accepted so far"
    received = figure(page["received"], what)
    if page["reception_open"] is None:
        result.step(host, "CTP accepts studies", UNKNOWN, "because this CTP does not tell")
        return
    if page["reception_open"]:
        result.step(host, "CTP accepts studies", OK, received)
        return
    result.step(host, "CTP accepts studies", FAILED, "reception is closed")
    if page["short_of_space"]:
        free = page["free_mib"]
        left = "too little is left" if free is None else f"only {free} MiB are left"
        result.find(
            DISK,
            host,
            f"CTP on {host} has closed its reception: {left} on the disk of its data.",
            "Make room or grow the disk (docs/volumes.md). Senders are refused and keep what"
            " they have.",
        )
    else:
        result.find(
            SERVICE,
            host,
            f"CTP on {host} has closed its reception; its page and log say why.",
            "Where it has just been started, wait a minute.",
        )


def _refusals(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not has(seen, "ctp"):
        return
    host, what = str(seen["host"]), "CTP refuses no sender"
    rows = seen.get("refusals")
    if rows is None:
        result.step(host, what, UNKNOWN, why_not(seen, "ctp") or unanswered(seen, "log"))
        return
    accepted = seen.get("titles") or {}
    told = []
    for row in rows:
        title = {"called AE title not recognized": "called", "calling AE title not recognized":
                 "calling"}.get(row["why"])  # fmt: skip
        if title is None:
            continue  # it was closed, full or busy: other steps tell
        told.append(f"{row['count']} from {row['peer']}: {row['why']}")
        names = ", ".join(accepted.get(title) or []) or "any"
        who = (
            "calls CTP by an AE title that CTP does not have"
            if title == "called"
            else "calls itself by an AE title that CTP does not accept"
        )
        variable = f"{title}_aets of ctp_pipelines"
        result.find(
            TITLE,
            host,
            f"CTP on {host} has refused the sender {row['peer']} {times(row['count'])}, last at"
            f" {str(row['last'])[11:16]} UTC: it {who}. Accepted: {names}.",
            f"Correct the AE title in the sender's configuration, or add it to {variable}.",
        )
    result.step(host, what, FAILED if told else OK, "; ".join(told))


def _queue(
    result: Diagnosis, seen: Mapping[str, Any], everybody: Sequence[Mapping[str, Any]]
) -> None:
    if not has(seen, "ctp"):
        return
    host, what = str(seen["host"]), "CTP passes studies on"
    page = page_of(result, seen, what)
    if page is None:
        return
    detail = f"{figure(page['forwarded'], 'forwarded')}, {figure(page['queued'], 'queued')}"
    oldest = page.get("oldest_seconds") or 0
    waiting = page["queued"] and (page["waits_for_orthanc"] or oldest > STUCK_SECONDS)
    if page["queued"] is None:
        result.step(host, what, UNKNOWN, "because what waits is not known")
    else:
        result.step(host, what, FAILED if waiting else OK, detail)
    if page["frozen"] and not page["short_of_space"]:
        result.find(
            DISK, host, f"CTP on {host} is frozen.", "Make room on its disk (docs/volumes.md)."
        )
    if waiting and not page["waits_for_orthanc"]:
        result.find(
            QUEUE,
            host,
            f"{counted(page['queued'], 'object waits', 'objects wait')} in CTP's queues on {host}, "
            f"the oldest for {duration(oldest)}.",
            "Look at CTP's log; where its page says that it is not healthy, restart the service.",
        )
    elif waiting and not any(
        each.get("engine") and runs(each, "orthanc") is False
        for each in everybody
        if has(each, "orthanc")
    ):
        result.find(
            QUEUE,
            host,
            f"{counted(page['queued'], 'object waits', 'objects wait')} in CTP's queues on {host} "
            "for Orthanc; none is lost.",
            "What waits goes by itself once CTP reaches Orthanc.",
        )


def _keydb(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not has(seen, "keydb"):
        return
    host, what = str(seen["host"]), "KeyDB lets CTP look patients up"
    found = seen.get("keydb")
    why = why_not(seen, "keydb")
    if not why and found is None:
        why = unanswered(seen, "keydb")
    if not why and not (found or {}).get("answers"):
        result.step(host, what, FAILED, "no answer")
        result.find(
            SERVICE,
            host,
            f"KeyDB on {host} runs, but does not answer.",
            "See docker service logs of its service there; a recovery after a crash takes a"
            " minute.",
        )
        return
    if why or found is None:
        result.step(host, what, UNKNOWN, why)
        return
    if not found["told"]:
        result.step(host, what, FAILED, "its patients cannot be read")
        result.find(
            SERVICE,
            host,
            f"KeyDB on {host} answers, but its table of patients (keydb_table) is missing or cannot"
            " be read.",
            "See keydb_table (docs/keydb.md). Where it is right, run site.yml, which makes the"
            " table.",
        )
    elif not found["role"]:
        result.step(host, what, FAILED, "CTP's role is missing")
        result.find(
            SECRET,
            host,
            f"KeyDB on {host} has no role ctp_key_db_select that may log in, so CTP cannot look"
            " patients up.",
            "Run site.yml, which makes it.",
        )
    elif not found["password"]:
        result.step(host, what, FAILED, "another password")
        result.find(
            SECRET,
            host,
            f"KeyDB on {host} has another password for CTP's role ctp_key_db_select than the "
            "inventory (keydb_ctp_password), so it refuses CTP. CTP keeps using the patients "
            "that it knew before; new ones stay unknown.",
            "Set it to the inventory's: run site.yml.",
        )
    else:
        result.step(host, what, OK, counted(found["patients"], "patient"))


_LEAVE_OUT = "Have the source leave them out, then purge them (docs/quarantine.md)."


def _quarantine(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not has(seen, "ctp"):
        return
    host, what = str(seen["host"]), "CTP holds nothing back"
    page = page_of(result, seen, what)
    if page is None:
        return
    reasons = page["quarantine"]
    detail = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    if page["quarantined"] is None:
        result.step(host, what, UNKNOWN, "because what it holds is not known")
    else:
        result.step(host, what, FAILED if reasons else OK, detail)
    words = {
        "unknown-patient": (
            "KeyDB does not know their patients",
            "Load the patients and release: load_keys.yml -e keys_file=… -e release=true"
            " (docs/quarantine.md).",
        ),
        "other-issuer": (
            "KeyDB knows their PatientID, but by another issuer",
            "Where they are of that patient, load the patient with this issuer or list it in"
            " ctp_issuers, then release (docs/keydb.md).",
        ),
        "known-patient": (
            "their patients were loaded or the rules changed after they came",
            "Release them: run playbooks/release_quarantine.yml.",
        ),
        "burned-in-annotation": (
            "they declare text, (0028,0301), or a face, (0028,0302), in their pixels, so that no"
            " release gets them further",
            _LEAVE_OUT,
        ),
        "sop-class-not-accepted": (
            "nothing can de-identify their SOP class, (0008,0016), so that no release gets them"
            " further",
            _LEAVE_OUT,
        ),
        "refused-by-profile": (
            "CTP's script refuses an element of them, so that no release gets them further",
            "playbooks/quarantine.yml says which. Correct it at the source and send them again,"
            " or leave them out; then purge (docs/quarantine.md).",
        ),
        "pixels-not-declared": (
            "they may show a name in their pixels, and their device is not declared",
            "See which devices wait (playbooks/quarantine.yml), look at one object of each, and "
            "declare in ctp_pixel_rules what shows nothing of a patient, or where "
            "(docs/quarantine.md).",
        ),
        "pixels-not-blanked": (
            "regions of them are to be blanked, and they cannot be decompressed, or are in colours"
            " in which nothing can be",
            "Have the device or the PACS send them uncompressed, and purge these "
            "(docs/quarantine.md).",
        ),
        "ended-ctp": (
            "CTP ended at each of them three times",
            "See CTP's log for why; where it is memory raise ctp_heap_mib and ctp_memory_mib, run"
            " site.yml, and then playbooks/release_quarantine.yml.",
        ),
        "refused-by-orthanc": (
            "Orthanc refused them",
            "Fix the findings about Orthanc, then run playbooks/release_quarantine.yml.",
        ),
    }
    for held in page.get("held_back") or []:
        result.find(
            QUARANTINE,
            host,
            f"CTP on {host} holds an object back: {held}.",
            held_back_remedy(held),
        )
    for reason, count in sorted(reasons.items()):
        why, remedy = words.get(reason, (f"reason {reason}", "See playbooks/quarantine.yml."))
        result.find(
            QUARANTINE,
            host,
            f"CTP on {host} holds {counted(count, 'object')} back in quarantine: {why}.",
            remedy,
        )


def _way(
    result: Diagnosis, seen: Mapping[str, Any], everybody: Sequence[Mapping[str, Any]]
) -> None:
    if not has(seen, "ctp"):
        return
    host, what = str(seen["host"]), "CTP can reach Orthanc: name, port, AE title"
    found = seen.get("echo")
    why = why_not(seen, "ctp")
    if not why and (found is None or not found["asked"]):
        why = unanswered(seen, "echo")
    away = [each for each in everybody if has(each, "orthanc") and runs(each, "orthanc") is False]
    if not why and away and not (found or {}).get("ok"):
        why = "because Orthanc does not run"
    if why or found is None:
        result.step(host, what, UNKNOWN, why)
        return
    target = seen.get("target") or {}
    place = f"{target.get('hostname', 'orthanc')}:{target.get('port', 4242)}"
    if found["ok"]:
        result.step(host, what, OK, place)
        return
    texts = {
        "name": (
            f"CTP on {host} does not find Orthanc: its name {target.get('hostname')} has no "
            "address in CTP's network.",
            "The service must be called orthanc; with two machines see ctp_orthanc_hostname.",
        ),
        "port": (
            f"CTP on {host} finds the machine of Orthanc, but nobody answers at {place}.",
            "See ctp_orthanc_port, orthanc_dicom_port and whether Orthanc's DICOM server runs"
            " (its log).",
        ),
        "silent": (
            f"CTP on {host} gets no answer from Orthanc at {place}.",
            "Between two machines, see the network and orthanc_dicom_sources.",
        ),
        "called": (
            f"Orthanc refuses CTP: CTP calls it {target.get('called')}, and that is not its AE"
            " title.",
            "Make ctp_orthanc_aet and orthanc_aet the same and run site.yml.",
        ),
        "calling": (
            f"Orthanc refuses CTP: it does not know the AE title {target.get('calling')} under "
            "which CTP comes, or not from this address.",
            "See orthanc_ctp_aet, ctp_aet and orthanc_ctp_addresses; site.yml sets Orthanc's"
            " DicomModalities.",
        ),
    }
    text, remedy = texts.get(
        found["why"],
        (f"CTP on {host} cannot reach Orthanc at {place}.", "See Orthanc's log and CTP's."),
    )
    result.step(host, what, FAILED, found["why"])
    result.find(WAY, host, text, remedy)


def _orthanc(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not has(seen, "orthanc"):
        return
    host, what = str(seen["host"]), "Orthanc answers, and knows its user"
    found = seen.get("orthanc")
    why = why_not(seen, "orthanc")
    if not why and found is None:
        why = unanswered(seen, "orthanc")
    if why or found is None:
        result.step(host, what, UNKNOWN, why)
    elif not found["answers"]:
        result.step(host, what, FAILED, "no answer on the machine itself")
        result.find(
            ALONE,
            host,
            f"Orthanc runs on {host}, but its REST API does not answer on the machine's own port.",
            "See Orthanc's log, and that of front, which publishes orthanc_web_port: docker service"
            " ls.",
        )
    elif not found["login"]:
        result.step(host, what, FAILED, "login refused")
        result.find(
            SECRET,
            host,
            f"Orthanc on {host} refuses the first user of orthanc_registered_users: it has another"
            " password, or does not know the user.",
            "If the inventory is right, deploy it: run site.yml.",
        )
    else:
        counts = counted(found["studies"], "study", "studies")
        counts += f", {counted(found['instances'], 'instance')}"
        result.step(host, what, OK, counts)


def _phantom(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not has(seen, "orthanc"):
        return
    host, what = str(seen["host"]), "Orthanc alone takes a phantom, finds it, and it is removed"
    rows = seen.get("phantom")
    if not rows:
        why = why_not(seen, "orthanc") or (
            "because Orthanc could not remove it again"
            if not (seen.get("orthanc") or {}).get("login")
            else "because it was not asked for, or the sender's machine could not be used"
        )
        result.step(host, what, UNKNOWN, why)
        return
    wrong = [row for row in rows if not row["passed"]]
    if not wrong:
        result.step(host, what, OK)
        return
    result.step(host, what, FAILED, str(wrong[0]["check"]))
    # Which of the two is at fault is what the AusCAT guide asks here.
    result.find(
        ALONE,
        host,
        f"Orthanc on {host} does not take a phantom that is sent to it without CTP, so the fault "
        "is with Orthanc and not with CTP.",
        "See Orthanc's log, DicomModalities and DicomCheckCalledAet (orthanc_ctp_aet, orthanc_aet):"
        " playbooks/test_orthanc.yml shows more.",
    )


def _reach(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    host = str(seen["host"])
    own = {canonical(str(each)) for each in seen.get("own_addresses") or []}
    for row in seen.get("reach") or []:
        what = f"Port {row['port']} ({row['purpose']}) is open from here"
        state, came_from = row["state"], canonical(str(row["from"]))
        is_own = bool(row.get("own")) or (bool(came_from) and came_from in own)
        meant = True if is_own else row["meant"]
        if state == NAMELESS:
            result.step(host, what, UNKNOWN, f"because {state}")
            result.find(
                WAY,
                host,
                f"The name of {host} has no address on this machine, so none of its ports could"
                " be tried from here.",
                f"Set auscat_address of {host} to its address, or have DNS know the name.",
            )
        elif row["service"] in SERVICES and why_not(seen, row["service"]):
            result.step(host, what, UNKNOWN, why_not(seen, row["service"]))
        elif state == "open":
            _open(result, seen, row, what, meant)
        elif meant:
            result.step(host, what, FAILED, state)
            _closed(result, seen, row, is_own)
        elif meant is None:
            why = (
                "a name among its sources has no address here"
                if came_from
                else "this machine's address on the way is not known"
            )
            result.step(host, what, UNKNOWN, f"{state}; whether it should be open: {why}")
        elif state in ("refused", "no answer"):
            # Closed on purpose is not a fault.
            result.step(host, what, OK, "closed to this machine, as declared")
        else:
            result.step(host, what, UNKNOWN, f"because there is {state} from here")


def _open(
    result: Diagnosis,
    seen: Mapping[str, Any],
    row: Mapping[str, Any],
    what: str,
    meant: bool | None,
) -> None:
    host = str(seen["host"])
    if meant is None:
        result.step(host, what, OK, "open; whether it should be cannot be told")
        return
    result.step(host, what, OK if meant else FAILED, "open")
    # Without any limits it is open to everybody, which the step on the firewall tells.
    if not meant and (seen.get("firewall") or {}).get("loaded"):
        result.find(
            FIREWALL,
            host,
            f"Port {row['port']} of {host} ({row['purpose']}) is open to this machine"
            f" ({row['from']}), which is not among its declared sources.",
            "Load the limits of the inventory: ansible-playbook site.yml --tags firewall.",
        )


def _closed(
    result: Diagnosis, seen: Mapping[str, Any], row: Mapping[str, Any], is_own: bool
) -> None:
    """Say what keeps a port closed that should be open, where no rule that was found does."""
    host, firewall = str(seen["host"]), seen.get("firewall")
    if any(
        block["port"] == row["port"]
        and canonical(str(block["address"])) == canonical(str(row["from"]))
        for block in (firewall or {}).get("blocks") or []
    ):
        return
    closed = f"Port {row['port']} of {host} ({row['purpose']}) cannot be reached"
    if is_own:
        result.find(
            SERVICE,
            host,
            f"{closed} from {host} itself: {row['state']}.",
            "See whether it is published: docker service ls. If it is, restart docker.",
        )
        return
    elsewhere = (
        f"ask the network team to let {row['from']} reach {host} on port {row['port']}/tcp"
        " (playbooks/port_table.yml prints the whole list)."
    )
    if firewall is None:
        result.find(
            FIREWALL,
            host,
            f"{closed} from here ({row['from']}): {row['state']}. The rules on {host} could not be"
            " looked at.",
            f"See nft list ruleset there. If nothing in it drops this, {elsewhere}",
        )
        return
    result.find(
        FIREWALL,
        host,
        f"{closed} from here ({row['from']}): {row['state']}. No rule on {host} is to blame.",
        f"Something between the two machines blocks it: {elsewhere}",
    )


STEPS = (
    _reception,
    _refusals,
    _queue,
    _keydb,
    _quarantine,
    _way,
    _orthanc,
    _phantom,
    _reach,
)
"""In the order of the way. Each takes the diagnosis, what was seen on one machine, and what was
seen on all that answered."""
