"""What CTP's page says of studies, for people: its answers go in, text comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted, table

NOTHING = (
    "nothing of it is in the account: nothing came since {since}, or it was complete and went out "
    "of the account after {days} days. Orthanc may still have it."
)


def study_report(answers: Sequence[Mapping[str, Any]], listing: bool = False) -> str:
    """Return what was asked for, study by study.

    Args:
        answers: of `POST /api/study`, in the order of the questions.
        listing: whether all studies that are not complete were asked for.
    """
    lines: list[str] = []
    for number, answer in enumerate(answers, start=1):
        of = f"Question {number}: " if len(answers) > 1 else ""
        if answer.get("problem"):
            lines += [f"{of}CAUTION: {answer['problem']}.", ""]
        studies = answer["studies"]
        if "since" not in answer:
            continue
        if not studies:
            nothing = NOTHING.format(since=answer["since"], days=answer["kept_days"])
            if listing:
                nothing = "every study in the account is complete or still arriving."
            lines += [f"{of}{nothing}", ""]
        for study in studies:
            lines += [f"{of}{_verdict(study)}", *_study(study), ""]
        if answer["more"]:
            lines += [f"{counted(answer['more'], 'more study', 'more studies')}, not shown.", ""]
    return "\n".join(lines).rstrip()


def names_report(answers: Sequence[Mapping[str, Any]]) -> str:
    """Return which names of structures were replaced, study by study.

    Args:
        answers: of `POST /api/names`, in the order of the questions.
    """
    lines: list[str] = []
    for number, answer in enumerate(answers, start=1):
        of = f"Question {number}: " if len(answers) > 1 else ""
        if answer.get("problem"):
            lines += [f"{of}CAUTION: {answer['problem']}.", ""]
        if "since" not in answer:
            continue
        if not answer["studies"]:
            nothing = NOTHING.format(since=answer["since"], days=answer["kept_days"])
            lines += [f"{of}{nothing}", ""]
        for study in answer["studies"]:
            whose = ", ".join(study["pseudonyms"]) or "a patient whom KeyDB does not know"
            lines.append(f"{of}study {study['study']} of {whose}")
            if not study["objects"]:
                lines.append("no name of a structure was replaced in what has left.")
            for each in study["objects"]:
                lines += ["", f"series {each['series']}, object {each['object']}"]
                rows = [(name["is"], name["number"], _shown(name["was"])) for name in each["names"]]
                lines += table(["in Orthanc", "number", "as it came"], rows)
            lines.append("")
        if answer["more"]:
            lines += [f"{counted(answer['more'], 'more study', 'more studies')}, not shown.", ""]
    return "\n".join(lines).rstrip()


def _shown(name: str) -> str:
    """A name as a terminal may get it: whoever sent it may have put anything into it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in name)


def _verdict(study: Mapping[str, Any]) -> str:
    whose = ", ".join(study["pseudonyms"]) or "a patient whom KeyDB does not know"
    verdict = "COMPLETE" if study["complete"] else f"NOT COMPLETE ({study['state']})"
    return (
        f"{verdict}: study {study['study']} of {whose}; of it {study['received']} received, "
        f"{study['left']} in Orthanc, since {study['first']}"
    )


def _study(study: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            each["uid"] or "(not to be read)",
            each["state"],
            *(str(each[name]) for name in ("received", "left")),
            ", ".join(f"{why} {n}" for why, n in each["held"].items()) or "0",
            *(str(each[name]) for name in ("broken", "waiting", "gone", "deleted")),
        )
        for each in study["series"]
    ]
    heads = ["series", "state", "received", "left", "held back", "broken off"]
    lines = table([*heads, "waiting", "not found", "deleted"], rows)
    told = [("", each) for each in study["missing"]]
    told += [(f"series {e['uid']}: ", m) for e in study["series"] for m in e["missing"]]
    for where, each in told:
        lines += [f"MISSING  {where}{each['what']}: {each['why']}.", f"         -> {each['todo']}"]
    return lines
