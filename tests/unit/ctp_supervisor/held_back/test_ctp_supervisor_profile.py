"""What the script itself refuses: said of the file in quarantine, and never released."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script as ctp_script
from ctp_rules import script
from ctp_rules.refusals import Refused
from ctp_supervisor.dicom.marks import MARK
from ctp_supervisor.engine.process import Client
from ctp_supervisor.export.refusals import Refusals
from ctp_supervisor.held_back.profile import Profile
from ctp_supervisor.held_back.quarantine import Quarantines
from ctp_supervisor.lookup.keydb import Patients
from ctp_supervisor_pages import PASSWORD, CtpPagesDouble
from ctp_supervisor_site import Site, dicom
from pydicom import dcmread

TEXT = ctp_script.anonymizer_script(ctp_script.ScriptOptions())
PRIVATE = "1.3.12.2.1107.5.9.1"
CASES: dict[str, tuple[dict[str, str], tuple[str, str]]] = {
    "sound": ({}, ("known-patient", "")),
    "burned": (
        {"BurnedInAnnotation": "YES"},
        ("burned-in-annotation", "(0028,0301)"),
    ),
    "private": ({"SOPClassUID": PRIVATE}, ("sop-class-not-accepted", "(0008,0016)")),
    "document": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"},
        ("sop-class-not-accepted", "(0008,0016)"),
    ),
    "waveform": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.9.1.1"},
        ("sop-class-not-accepted", "(0008,0016)"),
    ),
    "number": ({"SliceThickness": "Doe"}, ("incomplete", "wrong-value (0018,0050) DS")),
    "stranger": ({"PatientID": "2", "BurnedInAnnotation": "YES"}, ("unknown-patient", "")),
}


def profile(text: str = TEXT) -> Profile:
    return Profile(script.parse(text.replace(ctp_script.UID_KEY_PLACEHOLDER, "ab" * 32)))


class Here:
    """A quarantine with an object of each kind."""

    def __init__(self, directory: Path) -> None:
        self.settings = Site(directory).settings()
        self.double = CtpPagesDouble(self.settings)
        self.stage = self.settings.pipelines[0].stage("anonymizer").quarantine
        for name, (values, _) in CASES.items():
            dicom(self.stage / f"{name}.dcm")
            dataset = dcmread(self.stage / f"{name}.dcm")
            dataset.StudyInstanceUID = "1.2.3"
            for keyword, value in values.items():
                if keyword == "SliceThickness":
                    dataset.add_new(keyword, "DS", None)
                    dataset["SliceThickness"]._value = value
                else:
                    setattr(dataset, keyword, value)
            dataset.save_as(self.stage / f"{name}.dcm")

    def quarantines(self, text: str = TEXT) -> Quarantines:
        return Quarantines(
            self.settings.pipelines,
            self.settings.data,
            lambda: Patients({"1|": "ANON-1"}),
            Client(self.double.port, PASSWORD),
            Refusals(self.settings.data),
            profiles=[profile(text)],
        )


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def told(found: Quarantines) -> dict[str, tuple[str, str]]:
    return {Path(each["file"]).stem: (each["reason"], each["why"]) for each in found.detailed()}


def test_each_has_its_reason_with_the_tag_and_only_the_sound_one_is_released(here: Here) -> None:
    found = here.quarantines()
    assert told(found) == {name: reason for name, (_, reason) in CASES.items()}
    details = found.detailed()
    assert [Path(each["file"]).stem for each in details if each["releasable"]] == ["sound"]
    assert {each["reason"] for each in found.listed()} == {r for _, (r, _) in CASES.values()}
    shown = json.dumps([details, found.listed()])
    assert "Doe" not in shown and PRIVATE not in shown
    assert found.release() == {
        "released": 1,
        "left": {
            "burned-in-annotation": 1,
            "sop-class-not-accepted": 3,
            "incomplete": 1,
            "unknown-patient": 1,
        },
    }
    assert {path.stem for path in here.stage.glob("*.dcm")} == set(CASES) - {"sound"}


def test_when_the_rules_changed_a_release_brings_it_through(here: Here) -> None:
    assert told(here.quarantines())["burned"][0] == "burned-in-annotation"
    rule = TEXT[TEXT.index('<e en="T" t="00280301"') :].partition("\n")[0]
    changed = here.quarantines(TEXT.replace(rule, '<e en="T" t="00280301">@empty()</e>'))
    assert told(changed)["burned"] == ("known-patient", "")
    assert changed.release()["released"] == 2
    assert not (here.stage / "burned.dcm").exists()


def test_the_mark_of_the_gate_is_what_is_shown(here: Here) -> None:
    path = here.stage / "number.dcm"
    dataset = dcmread(path)
    dataset.add_new(MARK, "LO", "wrong-value (0028,0030) DS")
    dataset.save_as(path)
    assert told(here.quarantines())["number"] == ("incomplete", "wrong-value (0028,0030) DS")


def test_a_file_is_asked_once_and_again_when_it_is_another(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    refuses = Profile.refuses

    def counted(self: Profile, path: Path) -> Refused | None:
        asked.append(path.stem)
        return refuses(self, path)

    monkeypatch.setattr(Profile, "refuses", counted)
    found = here.quarantines()
    told(found)
    told(found)
    # One of an unknown patient has its reason without it.
    assert sorted(asked) == sorted(set(CASES) - {"stranger"})
    dicom(here.stage / "burned.dcm", pixels=4000)
    assert told(found)["burned"] == ("known-patient", "")
    assert asked.count("burned") == 2
    assert len(found._asked) == len(CASES) - 1, "what is gone is forgotten"


def _no_more_files(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_one_that_cannot_be_read_now_is_asked_again(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = here.quarantines()
    found.scan()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", _no_more_files)
        assert told(found)["burned"] == ("known-patient", "")
    assert told(found)["burned"][0] == "burned-in-annotation"


def test_a_large_object_is_not_read(here: Here) -> None:
    """4 GiB of pixels, nearly all of them a hole in the file."""
    path = here.stage / "burned.dcm"
    with path.open("r+b") as file:
        file.seek(0, 2)
        start = file.tell() - 2000 - 12
        file.seek(start)
        file.write(b"\xe0\x7f\x10\x00OW\0\0\xfc\xff\xff\xff")
        file.truncate(start + 12 + 0xFFFFFFFC)
    refused = profile().refuses(path)
    assert refused is not None and refused.reason == "burned-in-annotation"


def test_what_is_no_file_of_dicom_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"", b"no DICOM", bytes(128) + b"DICM"):
        path.write_bytes(content)
        assert profile().refuses(path) is None
    with pytest.raises(FileNotFoundError):
        profile().refuses(tmp_path / "gone")
