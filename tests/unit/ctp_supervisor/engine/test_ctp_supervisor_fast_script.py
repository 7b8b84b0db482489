"""The anonymizer script in the form of Java properties.

That CTP itself reads from it what it reads from the XML is shown by the scenario rsna_ctp.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script as ctp_script
from ctp_supervisor.engine import fast_script, workdir
from ctp_supervisor.engine.verify import LOOKUP, VerificationError, verify
from ctp_supervisor_java import archive, java_class
from ctp_supervisor_site import Site

NAMES = {0x00100020: "PatientID", 0x00100010: "PatientName", 0xFFFEE000: "Item"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('<e en="T" t="00100020" n="a b">@empty()</e>', "set.[PatientID]=@empty()"),
        ('<e en="T" t="00100021" n="">@empty()</e>', "set.[0010,0021]=@empty()"),
        ('<e en="T" t="fffeE000" n="">@a{b}</e>', "set.[Item]=@a{b}"),
        ('<e en="T" t="00080005">  a b </e>', "set.[0008,0005]=a b"),
        ('<e en="T" t="00080005">a\\b=c:d#é&#x1F600;</e>', None),
        ('<e en="T" t="00080005">one\ntwo\t&#x2028;three</e>', None),
        ('<e en="F" t="00100020">@keep()</e>', ""),
        ('<e t="00100020">@keep()</e>', ""),
        ('<p t="FORM"> (?:\\d|&lt;\\\\)$ </p>', "param.FORM=\\ (?:\\\\d|<\\\\\\\\)$ "),
        ('<p t="A:B=C D">x\\</p>', "param.A\\:B\\=C\\ D=x\\\\"),
        ('<r en="T" t="curves"/>', "remove.curves="),
        ('<r en="F" t="curves"/>', ""),
        ('<k en="F" t="0018"/>', ""),
    ],
)
def test_each_line(line: str, expected: str | None) -> None:
    text = fast_script.as_properties(f"<script>{line}</script>".encode(), NAMES).decode("ascii")
    assert text.count("\n") == (1 if expected != "" else 0)
    if expected is not None:
        assert text.removesuffix("\n") == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('<e en="T" t="00100020" n="a">x</e><e en="T" t="00100020" n="b">y</e>', "twice"),
        ('<e en="T" t="0010,0020">x</e>', "no tag"),
        ('<e en="T" t="PatientID">x</e>', "no tag"),
        ('<k en="T" t="0018"/>', "keeps the group"),
    ],
)
def test_what_has_no_other_form(lines: str, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        fast_script.as_properties(f"<script>{lines}</script>".encode(), NAMES)


@pytest.mark.parametrize(
    "names",
    [
        {0x00100020: "0010,0010"},  # would be the script of another element
        {0x00100020: "a]b"},
        {0x00100020: "a b"},
        {0x00100020: ""},
    ],
)
def test_a_name_that_would_change_the_meaning_is_refused(names: dict[int, str]) -> None:
    script = '<script><e en="T" t="00100020">@empty()</e></script>'
    with pytest.raises(VerificationError, match=r"does not say what its XML says|without a key"):
        fast_script.as_properties(script.encode(), names)


@pytest.mark.parametrize("longitudinal", ctp_script.LONGITUDINAL)
def test_the_script_of_this_project(longitudinal: str) -> None:
    options = ctp_script.ScriptOptions(longitudinal, True, True, True)
    entries = ctp_script.script_entries(options)
    names = {int(tag, 16): keyword for tag, (keyword, _) in entries.items() if int(tag, 16) & 2}
    assert len(set(names.values())) > 300
    names = {tag: name for name, tag in {name: tag for tag, name in names.items()}.items()}
    text = fast_script.as_properties(ctp_script.anonymizer_script(options).encode(), names)
    lines = text.decode("ascii").splitlines()
    assert sum(line.startswith("set.[") for line in lines) == len(entries)
    assert sum(line[5:-1].partition("]")[0] in names.values() for line in lines) == len(names)
    assert f"set.[0010,0020]={ctp_script.LOOKUP_ID}" in lines
    assert "remove.unspecifiedelements=" in lines


def test_ctp_gets_it_and_the_stand_in_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path)
    settings = site.settings()
    assert "takes longer" not in caplog.text
    working = workdir.make(settings, verify(settings), b"\xab" * 32, "x")
    script = working.path / "orthanc.anonymizer.script"
    assert f"set.[0010,0020]=@always(){LOOKUP}\n" in script.read_text()
    assert f"set.[0012,fff0]={'ab' * 32}@remove()\n" in script.read_text()
    assert "takes longer" in caplog.text
    archive(site.distribution / "libraries" / "CTP.jar", None)
    archive(site.distribution / "libraries" / "util.jar", java_class({"PatientID": 0x100020}))
    working = workdir.make(settings, verify(settings), b"\xab" * 32, "x")
    assert f"set.[PatientID]=@always(){LOOKUP}\n" in script.read_text()
    site.supervisor["engine"] = "standin"
    settings = site.settings()
    working = workdir.make(settings, verify(settings), b"\xab" * 32, "x")
    assert script.read_text().startswith("<script>") and working.intact()
