"""An independent judge of DICOM objects: ``dciodvfy`` of David Clunie's dicom3tools.

It knows the information objects of the standard (PS3.3) and nothing of this project. What counts
are the errors that are *introduced*: those of an object that left which it had not when it came.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache

_SECONDS = 60


class AbortError(Exception):
    """``dciodvfy`` did not come to the end of an object."""


@dataclass(frozen=True, order=True)
class Fault:
    """An error that ``dciodvfy`` found.

    Attributes:
        where: the path of the element, such as ``BeamSequence(300a,00b0)[1]/BeamName(300a,00c2)``;
            empty where there is none.
        what: the message and the module that asks for the element, without any value.
    """

    where: str
    what: str

    @property
    def tag(self) -> str:
        """Of the element, such as ``300A00C2``; empty where there is none."""
        tags: list[tuple[str, str]] = re.findall(r"\(([0-9a-f]{4}),([0-9a-f]{4})\)", self.where)
        return "".join(tags[-1]).upper() if tags else ""


@dataclass(frozen=True)
class Demand:
    """Errors that the profile demands.

    Attributes:
        tags: of the elements, such as ``300A00C2``.
        what: how the message begins.
        options: names of the sets of options with which they are introduced.
        instead: how the message of another error of the same element began, before; empty: none.
        reason: why nobody can do without them.
    """

    tags: tuple[str, ...]
    what: str
    options: tuple[str, ...]
    instead: str
    reason: str

    def covers(self, fault: Fault, before: frozenset[Fault], options: str) -> bool:
        """Say whether this is why an object that had the errors ``before`` now has this one."""
        return (
            fault.tag in self.tags
            and fault.what.startswith(self.what)
            and options in self.options
            and (
                not self.instead
                or any(
                    each.where == fault.where and each.what.startswith(self.instead)
                    for each in before
                )
            )
        )


#: All that may be introduced, in one place.
DEMANDED = (
    Demand(
        ("00700082", "00700083"),
        "Missing attribute for Type 1 Required - Module=<PresentationStateIdentification>",
        ("strict",),
        "",
        "PresentationCreationDate and PresentationCreationTime are Type 1 of a presentation state;"
        " Table E.1-1 has X for them, and neither Z nor D; only the options for dates keep them",
    ),
    Demand(
        ("300A0216",),
        "Missing attribute for Type 2 Required - Module=<RTBrachySessionRecord>",
        ("strict", "radiotherapy"),
        "",
        "SourceManufacturer is Type 2 of a brachytherapy record; Table E.1-1 has X for it, and only"
        " the option for the device's identity keeps it. An empty one stays",
    ),
    Demand(
        ("00081150", "00081155"),
        "Missing attribute for Type 1 Required - Module=<SOPInstanceReferenceMacro>",
        ("strict", "radiotherapy", "full"),
        "Value invalid for this VR [UI]",
        "a reference that is no UID (0) cannot be mapped to another, and may be anything: it goes,"
        " and is missing where it was invalid",
    ),
)


def introduced(before: frozenset[Fault], after: frozenset[Fault], options: str) -> list[Fault]:
    """Return the errors that an object has now and had not, save those that are demanded."""
    return sorted(
        fault
        for fault in after - before
        if not any(demand.covers(fault, before, options) for demand in DEMANDED)
    )


_LINE = re.compile(r"Error - (?:</?(?P<where>[^>]*?)\s*> - )?(?P<what>.*)")
_VALUE = re.compile(r"\s*(?<!Module)=.*")
_NUMBER_OF_VALUE = re.compile(r"\[[0-9]+\]\Z")


@cache
def faults(content: bytes) -> frozenset[Fault]:
    """Return the errors of a DICOM file; the same error of another value is the same.

    Raises:
        AbortError: the program was ended by a signal, or by itself before its end.
    """
    program = shutil.which("dciodvfy")
    assert program, (
        "dciodvfy is not installed on this machine. Install what the tests call on it with "
        "'make machine', or it alone with 'apt-get install dicom3tools'."
    )
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(content)
        file.flush()
        done = subprocess.run(
            [program, "-new", file.name], capture_output=True, timeout=_SECONDS, check=False
        )
    if done.returncode not in (0, 1):
        raise AbortError(f"dciodvfy ended with {done.returncode}")
    return frozenset(
        Fault(_NUMBER_OF_VALUE.sub("", line["where"] or ""), _VALUE.sub("", line["what"]))
        for line in map(_LINE.match, (done.stdout + done.stderr).decode("latin-1").splitlines())
        if line
    )
