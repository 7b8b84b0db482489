"""The rendered script in stock CTP, behind the gate: what arrives is whole, or is held back.

Run where ``CTP_DISTRIBUTION`` names a directory that holds ``CTP/``, and Java is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script as ctp_script
from ctp_supervisor.data_set.rules import rules
from ctp_supervisor.engine import tags_class
from ctp_supervisor.entrance.broken_off import BrokenOff
from ctp_supervisor.entrance.door import Door
from ctp_supervisor.export.egress import Checker
from ctp_supervisor.gate.gate import Pipeline
from ports import free_port
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_data_element
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from pynetdicom import AE, _config, build_context, evt

DISTRIBUTION = Path(os.environ.get("CTP_DISTRIBUTION") or "/nonexistent") / "CTP"
KEY = "5e" * 32
STAGES = ("import", "anonymizer", "filter", "export")
CLASSES = (CTImageStorage, RTStructureSetStorage)
pytestmark = [
    pytest.mark.stock_ctp,
    pytest.mark.skipif(
        not DISTRIBUTION.is_dir() or not shutil.which("java"),
        reason="no CTP distribution that is a directory, or no Java",
    ),
]


class Ctp:
    """Stock CTP with one pipeline, the gate before it, and a port that stores what leaves."""

    def __init__(self, directory: Path) -> None:
        self.arrived: dict[str, Dataset] = {}
        self.broken_off = BrokenOff()
        self.quarantines = directory / "quarantines"
        self.home = directory / "CTP"
        shutil.copytree(DISTRIBUTION, self.home)
        options = ctp_script.ScriptOptions(longitudinal="shifted")
        script = ctp_script.anonymizer_script(options)
        script = script.replace(ctp_script.UID_KEY_PLACEHOLDER, KEY)
        (self.home / "a.script").write_text(script)
        (self.home / "f.script").write_text(ctp_script.filter_script(["ANON-"]))
        table = "PatientID/PAT-1|=ANON-1\nDateShift/PAT-1=-100\n"
        (self.home / "lookup.properties").write_text(table)
        port, store = free_port(), free_port()

        def stage(kind: str, name: str, more: str) -> str:
            return (
                f'<{name} name="{kind}" class="org.rsna.ctp.stdstages.{name}"'
                f' root="{directory}/roots/{kind}" quarantine="{self.quarantines}/{kind}" {more}/>'
            )

        (self.home / "config.xml").write_text(
            f'<Configuration><Server port="{free_port()}"/><Pipeline name="p">'
            + stage("import", "DicomImportService", f'port="{port}" logConnections="no"')
            + stage(
                "anonymizer",
                "DicomAnonymizer",
                'script="a.script" lookupTable="lookup.properties"',
            )
            + stage("filter", "DicomFilter", 'script="f.script"')
            + stage(
                "export",
                "DicomExportService",
                f'url="dicom://O:CTP@127.0.0.1:{store}" interval="1000"',
            )
            + "</Pipeline></Configuration>"
        )
        server = AE("O").start_server(
            ("127.0.0.1", store),
            block=False,
            contexts=[
                build_context(each, [ExplicitVRLittleEndian, "1.2.840.10008.1.2"])
                for each in CLASSES
            ],
            evt_handlers=[(evt.EVT_C_STORE, self._store)],
        )
        assert server is not None
        self.server = server
        self.temp = directory / "roots/import/temp"
        self.process = subprocess.Popen(
            ["java", "-Djava.awt.headless=true", "-Xmx512m", "-jar", "libraries/CTP.jar"],
            cwd=self.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait(lambda: _listens(port), "CTP listens")
        self.gate = Door(
            ("127.0.0.1", 0),
            [Pipeline(port, frozenset(), frozenset())],
            lambda: "",
            lambda: "",
            lambda number: None,
            rules=rules(script.encode()),
            broken_off=self.broken_off,
        )
        self.gate.start()
        self.port = int(self.gate._listener.getsockname()[1])

    def _store(self, event: evt.Event) -> int:
        request: Any = event.request
        data, syntax = request.DataSet.getvalue(), str(event.context.transfer_syntax)
        checker = Checker(syntax, ["ANON-"], request.AffectedSOPInstanceUID)
        checker.feed(data)
        checker.finish()
        found = read_dataset(io.BytesIO(data), syntax == "1.2.840.10008.1.2", True)
        self.arrived[str(found.SOPInstanceUID)] = found
        return 0

    @staticmethod
    def _wait(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(0.1)
        return found

    def through(self, dataset: Dataset, more: bytes = b"") -> Dataset | str:
        """What arrives of it, or the stage that held it back. ``more``: behind its last element."""
        before = set(self.quarantines.rglob("*.dcm"))
        data = _encoded(dataset) + more
        ae = AE("PACS")
        ae.add_requested_context(dataset.SOPClassUID, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", self.port, ae_title="CTP")
        assert association.is_established
        path = self.home.parent / "sent.dcm"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path.write_bytes(_file(meta, data))
        _config.STORE_SEND_CHUNKED_DATASET = True
        assert association.send_c_store(path).Status == 0
        association.release()
        digest = hashlib.md5(f"{dataset.SOPInstanceUID}{KEY}@remove()".encode())
        number = str(int(digest.hexdigest(), 16))
        uid = f"2.25.{'9' if number.startswith('0') else ''}{number}"

        def end() -> Dataset | str | None:
            held = set(self.quarantines.rglob("*.dcm")) - before
            return self.arrived.get(uid) or (held and next(iter(held)).parent.name) or None

        found: Dataset | str = self._wait(end, "it arrives or is held back")
        return found


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _encoded(dataset: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    for element in dataset:
        write_data_element(stream, element)
    return stream.getvalue()


def _file(meta: FileMetaDataset, data: bytes) -> bytes:
    body = _encoded(meta)
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body))
    return bytes(128) + b"DICM" + length + body + data


@pytest.fixture(scope="module")
def ctp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ctp]:
    running = Ctp(tmp_path_factory.mktemp("ctp"))
    yield running
    running.process.kill()
    running.process.wait()
    running.gate.stop()
    running.server.shutdown()


def header(sop_class: str = CTImageStorage, **values: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.PatientID, dataset.PatientName = "PAT-1", "Doe^Jane"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.StudyDate = "20240301"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def unknown(tag: int, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"UN", 0, len(value)) + value


def bare(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def item(body: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body


def test_a_contour_of_5000_points_arrives_though_it_came_as_bytes(ctp: Ctp) -> None:
    numbers = b"\\".join(b"%.3f" % (number / 8) for number in range(15000))
    numbers += b" " * (len(numbers) % 2)
    contour = bare(0x30060042, b"CLOSED_PLANAR ") + bare(0x30060050, numbers)
    roi = bare(0x30060040, item(contour)) + bare(0x30060084, b"1 ")
    arrived = ctp.through(header(RTStructureSetStorage), unknown(0x30060039, item(roi)))
    assert isinstance(arrived, Dataset)
    points = arrived.ROIContourSequence[0].ContourSequence[0].ContourData
    assert [float(point) for point in points] == [number / 8 for number in range(15000)]


@pytest.mark.parametrize(
    ("keyword", "value", "wanted"),
    [
        ("SeriesNumber", "1000001", 1000001),
        ("ActualFrameDuration", "1200000", 1200000),
        ("SliceThickness", " +2.5E+00 ", 2.5),
        ("ScanOptions", ["FC", "MEIER", "SP"], ["FC", "", "SP"]),
        ("SeriesType", ["WHOLE BODY", "IMAGE"], ["WHOLE BODY", "IMAGE"]),
        ("AcquisitionDate", "20240229", "20231121"),
        ("AcquisitionDate", ["20240301", "20240302"], ["20231122", "20231123"]),
        ("AcquisitionDate", "20240230", ""),
        ("AcquisitionDateTime", "20240301", "20231122"),
        ("AcquisitionDateTime", "20240301101112", "20231122101112"),
        ("AcquisitionDateTime", "20240301101112.123456-0330", "20231122101112.123456-0330"),
        ("AcquisitionDateTime", "20240301101112+1000", "20231122101112+1000"),
        ("AcquisitionDateTime", "202403", ""),
        ("VerificationFlag", "VERIFIED", "VERIFIED"),
        ("ScanningSequence", "", ""),
    ],
)
def test_a_value_arrives_as_it_came_or_shifted(
    ctp: Ctp, keyword: str, value: Any, wanted: Any
) -> None:
    arrived = ctp.through(header(**{keyword: value}))
    assert isinstance(arrived, Dataset)
    assert keyword in arrived
    found = arrived[keyword].value
    assert (list(found) if isinstance(wanted, list) else found) == wanted


@pytest.mark.parametrize("sop_class", CLASSES)
def test_a_moment_with_a_fraction_is_shifted_in_its_own_form(ctp: Ctp, sop_class: str) -> None:
    """Explicit, and implicit as CTP gets radiotherapy; at the root and in an item."""
    injection = Dataset()
    injection.RadiopharmaceuticalStartDateTime = "20240301091500.25"
    injection.RadiopharmaceuticalStopDateTime = "20240301091510+1000"
    sent = header(
        sop_class,
        AcquisitionDateTime="20240301101112.123456-0330",
        StudyReadDate="20240301",
        RadiopharmaceuticalInformationSequence=[injection],
    )
    arrived = ctp.through(sent)
    assert isinstance(arrived, Dataset)
    assert arrived.AcquisitionDateTime == "20231122101112.123456-0330"
    (found,) = arrived.RadiopharmaceuticalInformationSequence
    assert found.RadiopharmaceuticalStartDateTime == "20231122091500.25"
    assert found.RadiopharmaceuticalStopDateTime == "20231122091510+1000"
    assert not any(each.tag.group == 0x0032 for each in arrived.iterall())


@pytest.mark.parametrize(
    "values",
    [
        {"PatientID": ["PAT", "-1"]},
        {"PatientID": ["PAT-1", "PAT-2"]},
        {"PatientID": "PAT\t-1"},
        {"PatientID": "pat-1"},
        {"PatientID": "PAT-*"},
        {"PatientID": "0PAT-1"},
    ],
)
def test_nobody_leaves_as_another_patient(ctp: Ctp, values: dict[str, Any]) -> None:
    assert ctp.through(header(**values)) == "anonymizer"


def coded(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code


def test_numbers_and_codes_that_name_nobody_arrive(ctp: Ctp) -> None:
    """Of contrast, and of a gated acquisition; what names somebody in their items does not."""
    route, window, rotation, agent = coded("47625008", "Doe"), Dataset(), Dataset(), Dataset()
    window.EnergyWindowName = "Doe^Jane"
    rotation.ScanArc, rotation.AngularStep, rotation.NumberOfFramesInRotation = "180", "6", 1
    agent = coded("385420005", "Doe^Jane")
    agent.PatientComments = "Doe^Jane"
    agent.ContrastBolusAdministrationRouteSequence = [route]
    sent = header(
        AcquisitionDuration=12.5,
        ContrastBolusVolume="90.5",
        NominalInterval="850",
        PhaseVector=[1, 2],
        NumberOfFrames=2,
        AdministrationRouteCodeSequence=[route],
        ContrastBolusAgentSequence=[agent],
        EnergyWindowInformationSequence=[window],
        RotationInformationSequence=[rotation],
    )
    arrived = ctp.through(sent)
    assert isinstance(arrived, Dataset)
    for keyword in ("AcquisitionDuration", "ContrastBolusVolume", "NominalInterval", "PhaseVector"):
        assert arrived[keyword].value == sent[keyword].value
    (found,) = arrived.RotationInformationSequence
    assert (found.ScanArc, found.AngularStep, found.NumberOfFramesInRotation) == (180, 6, 1)
    assert arrived.AdministrationRouteCodeSequence[0].CodeValue == "47625008"
    (found,) = arrived.ContrastBolusAgentSequence
    assert found.ContrastBolusAdministrationRouteSequence[0].CodeValue == "47625008"
    assert len(arrived.EnergyWindowInformationSequence) == 1
    assert "Doe" not in str(arrived)


def test_what_would_be_lost_is_held_back(ctp: Ctp) -> None:
    """Pixel spacing is Type 1 of a CT image."""
    assert ctp.through(header(), unknown(0x00280030, b"Doe^Jane")) == "anonymizer"


def test_a_palette_arrives_as_long_as_it_says(ctp: Ctp) -> None:
    coloured = header(PhotometricInterpretation="PALETTE COLOR")
    coloured.add_new("RedPaletteColorLookupTableDescriptor", "US", [4, 0, 16])
    table = unknown(0x00281201, b"\1\0\2\0\3\0\4\0")
    arrived = ctp.through(coloured, table)
    assert isinstance(arrived, Dataset)
    assert arrived.RedPaletteColorLookupTableData == b"\1\0\2\0\3\0\4\0"
    coloured.SOPInstanceUID = generate_uid()
    longer = unknown(0x00281201, b"\1\0\2\0\3\0\4\0" + b"DOE^JANE " * 40)
    assert ctp.through(coloured, longer) == "anonymizer"


@pytest.mark.parametrize(
    "behind",
    [
        b"junkjunkjunk",
        struct.pack("<HH2sHI", 0x7FE2, 0x0010, b"OB", 0, 0x70000000) + b"ab",
    ],
)
def test_ctp_is_not_kept_busy_by_what_stands_behind_the_pixel_data(ctp: Ctp, behind: bytes) -> None:
    """By itself it reads on for an hour, a byte at a time, from a file that has ended."""
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 64) + bytes(64)
    assert isinstance(ctp.through(header(BitsAllocated=8), pixels + behind), Dataset)


def test_what_broke_off_leaves_nothing_on_the_disk(
    ctp: Ctp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctp_supervisor.entrance.broken_off.QUIET_SECONDS", 1.0)
    dataset = header(BitsAllocated=8, PixelData=bytes(4 * 1024 * 1024))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ae = AE("PACS")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", ctp.port, ae_title="CTP")
    assert association.is_established

    def breaks(event: evt.Event) -> None:
        """Once CTP has begun to write."""
        if list(ctp.temp.glob("TMP-*")):
            transport: Any = association.dul.socket
            transport.socket.shutdown(socket.SHUT_RDWR)

    association.bind(evt.EVT_PDU_SENT, breaks)
    with contextlib.suppress(RuntimeError):
        association.send_c_store(dataset)
    ctp._wait(lambda: ctp.broken_off._parts, "the gate has noticed")
    assert list(ctp.temp.glob("TMP-*")), "CTP keeps it"
    ctp._wait(lambda: ctp.broken_off.remove([ctp.temp], set()), "it is removed")
    assert not list(ctp.temp.glob("TMP-*"))
    assert isinstance(ctp.through(dataset), Dataset)


ASK_TWICE = """
import java.lang.reflect.*;
import java.util.Map;
import java.util.stream.IntStream;
class AskTwice {
    static boolean isKnown(Method forName, String name) {
        try { return forName.invoke(null, name) != null; }
        catch (InvocationTargetException error) {
            if (error.getCause().getMessage().contains(name)) return false;
            throw new AssertionError(name);
        }
        catch (IllegalAccessException error) { throw new AssertionError(name); }
    }

    public static void main(String[] names) throws Exception {
        Class<?> tags = Class.forName("org.dcm4che.dict.Tags");
        Method forName = tags.getMethod("forName", String.class);
        for (int times = 0; times < 2; times++) {
            for (Field field : tags.getFields()) {
                if (field.getType() != int.class) continue;
                String name = field.getName();
                System.out.println(name + "=" + forName.invoke(null, name));
            }
            for (String name : new String[] {"NoSuchName", "forName", ""}) {
                try { System.out.println(forName.invoke(null, name)); }
                catch (InvocationTargetException error) { System.out.println(error.getCause()); }
            }
            try { System.out.println(forName.invoke(null, (String) null)); }
            catch (InvocationTargetException error) {
                System.out.println(error.getCause().getClass());
            }
        }
        // By all threads at once more than are remembered, and in between one that there is.
        System.out.println(IntStream.range(0, 12000).parallel().filter(
            n -> isKnown(forName, "none" + n) || !isKnown(forName, "PatientID")).count());
        int size = 0;
        for (Field field : tags.getDeclaredFields()) {
            if (!Map.class.isAssignableFrom(field.getType())) continue;
            field.setAccessible(true);
            size = ((Map<?, ?>) field.get(null)).size();
        }
        System.out.println(size <= 10000 + Runtime.getRuntime().availableProcessors());
    }
}
"""


def test_the_dictionary_that_remembers_answers_as_the_other(tmp_path: Path) -> None:
    """For every name and for none, the first time and the second, as Java's verifier accepts it;
    from several threads, and when it remembers as much as it may."""
    libraries = DISTRIBUTION / "libraries"
    path = tmp_path / "dictionary" / tags_class.TAGS_CLASS
    path.parent.mkdir(parents=True)
    path.write_bytes(tags_class.remembering(tags_class.dictionary(libraries)))
    source = tmp_path / "AskTwice.java"
    source.write_text(ASK_TWICE)
    jars = ":".join(map(str, sorted(libraries.rglob("*.jar"))))

    def answers(*options: str) -> list[str]:
        command = ["java", *options, "-cp", jars, str(source)]
        shown = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
        return shown.stdout.splitlines()

    remembered = answers("-Xverify:all", f"-Xbootclasspath/a:{path.parents[3]}")
    assert remembered == answers()
    assert len(remembered) > 5000 and remembered[-2:] == ["0", "true"]
