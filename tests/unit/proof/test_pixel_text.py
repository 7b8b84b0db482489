"""Names in pixels with real OCR: written, read, and judged in what arrived."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Callable

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.proof import (
    judgement,
    phantom,
    pixel_text,
    studies,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import Report
from pydicom.dataset import Dataset

TOKEN = "1234567890"
NAME = pixel_text.name_of(TOKEN)
BANNER = {"x": 0, "y": 0, "width": 640, "height": 48}
RULES: list[dict[str, Any]] = [
    {"manufacturer": "ACME", "model": "Grab", "action": "clean"},
    {
        "manufacturer": "ACME",
        "model": "Echo 2",
        "rows": 300,
        "columns": 640,
        "action": "blank",
        "regions": [BANNER],
    },
    {
        "sop_class": "SecondaryCaptureImageStorage",
        "manufacturer": "ACME",
        "model": "Grab",
        "rows": 201,
        "columns": 301,
        "action": "blank",
        "regions": [{"x": 280, "y": 190, "width": 21, "height": 11}],
    },
]
BLANK, READ = (
    "Regions that the site declares arrive blank, and the rest of the image as sent",
    "No name can be read in the pixels of what arrived",
)


@pytest.fixture(scope="module")
def study() -> studies.Study:
    return phantom.make_study(TOKEN, True, pixel_rules=RULES)


def copied(source: Dataset) -> Dataset:
    """A copy of which some values may be changed; to copy all of them would take a second."""
    dataset = Dataset()
    dataset.update(source)
    for element in source:
        if element.keyword in ("PixelData", "SamplesPerPixel", "BurnedInAnnotation"):
            dataset.add_new(element.tag, element.VR, element.value)
    dataset.file_meta = source.file_meta
    return dataset


def blanked(sent: studies.Lettered) -> Dataset:
    """What a right supervisor lets through, drawn row by row."""
    dataset = copied(sent.dataset)
    columns = int(dataset.Columns)
    pixels = bytearray(dataset.PixelData)
    for left, top, width, height in sent.regions:
        for y in range(top, top + height):
            for x in range(left, left + width):
                pixels[y * columns + x] = 0
    dataset.PixelData = bytes(pixels)
    code = Dataset()
    code.CodeValue = "113101"
    dataset.DeidentificationMethodCodeSequence = [code]
    return dataset


def judge(study: studies.Study, images: list[Dataset]) -> dict[str, Any]:
    """The rows about pixels; the study itself arrived as sent."""
    datasets = [*study.datasets, *images]
    arrived = [
        judgement.Arrived(f"CT {at}", b"", each) for at, each in enumerate(datasets, start=1)
    ]
    report = Report("cat01")
    judgement.judge_pixels(study, arrived, report)
    assert [row.check for row in report.checks] == [BLANK, READ]
    return {row.check: row for row in report.checks}


def test_a_name_follows_from_the_token_and_is_easily_read() -> None:
    names = {pixel_text.name_of(f"1{number:09d}") for number in range(500)}
    assert len(names) == 500
    assert {len(word) for name in names for word in name} == {6}
    assert not set("".join(word for name in names for word in name)) & set("IQVWGC")


@pytest.mark.parametrize("size", pixel_text.SIZES)
def test_tesseract_reads_what_is_written(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_text, "SIZES", (size,))
    pixels, words = pixel_text.write_name("seed", 480, 200, [(0, 0, 480, 44)], NAME)
    assert words == NAME
    text = pixel_text.read(pixel_text.Picture(480, 200, pixels))
    assert pixel_text.missing(text, NAME) == []
    assert pixel_text.traces(text, NAME) == list(NAME)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ((20, 10, 300, 40), NAME),  # in one line
        ((20, 10, 120, 60), NAME),  # one word above the other
        ((20, 10, 120, 30), NAME[:1]),
        ((20, 10, 50, 90), ()),
        ((20, 10, 300, 12), ()),
    ],
)
def test_a_name_is_written_where_there_is_room(
    region: pixel_text.Region, words: tuple[str, ...]
) -> None:
    pixels, written = pixel_text.write_name("seed", 400, 120, [region], NAME)
    assert written == words
    if words:
        text = pixel_text.read(pixel_text.Picture(400, 120, pixels))
        assert pixel_text.missing(text, words) == []
    # Nothing is what a blank region is, and nothing but the last row differs around the region.
    assert 0 not in pixels
    left, top, width, height = region
    rows = [pixels[at : at + 400] for at in range(0, len(pixels), 400)]
    around = [row[:left] + row[left + width :] for row in rows[:-1]]
    around += rows[:top] + rows[top + height : -1]
    assert set(b"".join(around)) == {64}
    assert len(set(rows[-1])) > 100


def test_regions_that_meet() -> None:
    regions = [(0, 0, 300, 40), (200, 20, 200, 60), (0, 80, 300, 40)]
    pixels, written = pixel_text.write_name("seed", 400, 140, regions, NAME)
    assert written == NAME
    text = pixel_text.read(pixel_text.Picture(400, 140, pixels))
    assert pixel_text._letters(text).count(NAME[0]) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" ".join(NAME), list(NAME)),
        (f"x {NAME[1][:5].lower()}\n", [NAME[1]]),
        (f"{NAME[0][:3]}  {NAME[0][3:]}", [NAME[0]]),
        (NAME[0][:4] + "-" + NAME[0][5:], []),
        ("", []),
    ],
)
def test_a_part_of_a_name_is_a_trace(text: str, found: list[str]) -> None:
    assert pixel_text.traces(text, NAME) == found


def test_small_images_are_enlarged_to_be_read() -> None:
    """A slice of 16 bits with letters of 12 pixels among others without."""
    lettered = pixel_text.Image.new("L", (64, 64), 40)
    font = pixel_text.ImageFont.truetype(pixel_text.FONT, 12)
    pixel_text.ImageDraw.Draw(lettered).text((3, 20), NAME[0], fill=220, font=font)
    plain = pixel_text.Picture(64, 64, bytes([90]) * 4096)
    parts = [plain, plain, pixel_text.Picture(64, 64, lettered.tobytes()), plain, plain]
    control = pixel_text.control_of(TOKEN)
    text = pixel_text.read_together(parts, control)
    assert pixel_text.traces(text, NAME) == [NAME[0]]
    assert pixel_text.traces(control, NAME) == []
    # The control is read among images without any contrast, too.
    assert pixel_text.missing(pixel_text.read_together([plain] * 4, control), [control]) == []


@pytest.mark.parametrize("token", ["1137355480", "1736728418", "1129026618"])
def test_no_letter_makes_a_trace_of_the_control(token: str) -> None:
    """OCR makes letters of the images too; with these tokens, four stood in both words."""
    name, control = pixel_text.name_of(token), pixel_text.control_of(token)
    letters = pixel_text._CONSONANTS + pixel_text._VOWELS + "I"
    for before, after in itertools.product(letters, repeat=2):
        assert pixel_text.traces(f"{before}\n{control}\n{after}", name) == []


def test_frames_of_other_depths(study: studies.Study) -> None:
    dose = pixel_text.pictures(study.of_class(phantom.RTDOSE)[0])
    assert len(dose) == 5 and {(each.columns, len(each.pixels)) for each in dose} == {(16, 256)}
    (slice_,) = pixel_text.pictures(study.datasets[0])
    assert (min(slice_.pixels), max(slice_.pixels)) == (0, 255)
    short = copied(study.datasets[0])
    short.PixelData = short.PixelData[:-2]
    with pytest.raises(ValueError, match="shorter than its image"):
        pixel_text.pictures(short)
    short.SamplesPerPixel = 3
    with pytest.raises(ValueError, match="colours"):
        pixel_text.pictures(short)


def test_what_is_sent_of_devices(study: studies.Study) -> None:
    assert [each.what for each in study.held] == ["capture", "ultrasound image"]
    echo, grab = study.blanked
    assert (echo.what, grab.what) == (
        "image for ctp_pixel_rules[1]",
        "image for ctp_pixel_rules[2]",
    )
    assert (echo.words, grab.words) == (NAME, ())
    assert echo.dataset.SOPClassUID == phantom.ULTRASOUND
    assert grab.dataset.SOPClassUID == phantom.SECONDARY_CAPTURE
    assert (grab.dataset.Manufacturer, grab.dataset.ManufacturerModelName) == ("ACME", "Grab")
    assert len(grab.dataset.PixelData) == 201 * 301 + 1
    problems, seen = judgement.legible_problems(study)
    assert problems == []
    assert seen.startswith("tesseract ") and f"{' '.join(NAME)!r} in 3 images: capture, ult" in seen
    # The stand-in blanks nothing: there they must be held back like those that nobody declared.
    standin = phantom.make_study(TOKEN, True, pixel_rules=RULES, blanks=False)
    assert standin.blanked == [] and len(standin.held) == 4


def test_every_declaration_for_a_device_counts() -> None:
    size = {"manufacturer": "ACME", "model": "Echo 2", "rows": 300, "columns": 640}
    below = {"x": 0, "y": 260, "width": 640, "height": 40}
    more = [
        *RULES,
        {**size, "sop_class": "UltrasoundImageStorage", "action": "blank", "regions": [below]},
        {**size, "sop_class": "1.2.840.10008.5.1.4.1.1.7", "action": "blank", "regions": [BANNER]},
        {**size, "rows": 65000, "columns": 65000, "action": "blank", "regions": [BANNER]},
        {**size, "rows": 48, "columns": 32768, "action": "blank", "regions": [BANNER]},
    ]
    study = phantom.make_study(TOKEN, True, pixel_rules=more)
    regions = {each.what: each.regions for each in study.declared}
    assert regions["image for ctp_pixel_rules[1]"] == ((0, 0, 640, 48), (0, 260, 640, 40))
    assert regions["image for ctp_pixel_rules[3]"] == ((0, 0, 640, 48), (0, 260, 640, 40))
    assert regions["image for ctp_pixel_rules[4]"] == ((0, 0, 640, 48), (0, 0, 640, 48))
    assert study.too_large == [f"image for ctp_pixel_rules[{index}]" for index in (5, 6)]


def test_an_image_as_long_as_is_sent_can_be_read() -> None:
    side = phantom.LONGEST_SIDE
    assert pixel_text.read(pixel_text.Picture(side, 9, bytes(side * 9))).strip() == ""
    with pytest.raises(RuntimeError, match="Image too large"):
        pixel_text.read(pixel_text.Picture(side + 1, 9, bytes(side * 9 + 9)))


def test_ocr_that_cannot_read_what_is_sent_proves_nothing(study: studies.Study) -> None:
    """The capture is as good as without a name: nothing that arrives can be judged by it."""
    dataset = copied(study.captures[0].dataset)
    dataset.PixelData = bytes([70]) * len(dataset.PixelData)
    capture = dataclasses.replace(study.captures[0], dataset=dataset)
    spoiled = dataclasses.replace(study, captures=[capture], declared=[])
    problems, _ = judgement.legible_problems(spoiled)
    assert problems == [f"capture: {' and '.join(NAME)} is not read"]


def test_a_name_is_read_in_a_corner_of_a_large_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all of this image, tesseract 5.3.0 reads ``ISU RUTARO``."""
    monkeypatch.setattr(pixel_text, "name_of", lambda token: ("LAPUSU", "RUTARO"))
    corner = {"x": 1748, "y": 1036, "width": 172, "height": 44}
    rule = {**RULES[1], "rows": 1080, "columns": 1920, "regions": [corner]}
    study = phantom.make_study(TOKEN, True, pixel_rules=[rule])
    assert study.declared[0].words == ("LAPUSU", "RUTARO")
    problems, _ = judgement.legible_problems(study)
    assert problems == []


@pytest.mark.parametrize(("width", "right", "below"), [(900, 250, 20), (150, 100, 50)])
def test_no_text_is_larger_than_what_is_cut_out_of_a_region(
    width: int, right: int, below: int
) -> None:
    """The widest letters, in one line and in two."""
    pixels, _ = pixel_text.write_name("x", 900, 200, [(0, 0, width, 190)], ("MOMOMO", "MOMOMO"))
    rows = [pixels[at : at + 900] for at in range(0, 199 * 900, 900)]
    assert right < max(row.rfind(pixel_text.INK) for row in rows) < pixel_text._WIDEST - 4
    lines = [number for number, row in enumerate(rows) if pixel_text.INK in row]
    assert below < lines[-1] < pixel_text._HIGHEST - 4


def test_a_node_that_blanks_passes(study: studies.Study) -> None:
    rows = judge(study, [blanked(each) for each in study.blanked])
    assert [row.passed for row in rows.values()] == [True, True], rows
    assert rows[BLANK].detail == (
        "2 images: black in their regions, equal byte for byte elsewhere; without a name, for which"
        " there is no room: image for ctp_pixel_rules[2]"
    )
    assert rows[READ].detail == (
        f"tesseract reads nothing of {' '.join(NAME)!r} in 10 frames of 6 CT, image for"
        " ctp_pixel_rules[1], image for ctp_pixel_rules[2]"
    )


def pass_as_clean(images: list[Dataset], study: studies.Study) -> None:
    """As a device that was declared clean and is not."""
    images[0].PixelData = study.blanked[0].dataset.PixelData


def blank_too_little(images: list[Dataset], study: studies.Study) -> None:
    """The last row of the banner, below the letters."""
    sent = bytes(study.blanked[0].dataset.PixelData)
    pixels = bytearray(images[0].PixelData)
    pixels[47 * 640 : 48 * 640] = sent[47 * 640 : 48 * 640]
    images[0].PixelData = bytes(pixels)


def blank_too_much(images: list[Dataset], study: studies.Study) -> None:
    pixels = bytearray(images[1].PixelData)
    pixels[190 * 301 + 279] = 0
    images[1].PixelData = bytes(pixels)


def leave_small_region(images: list[Dataset], study: studies.Study) -> None:
    images[1].PixelData = study.blanked[1].dataset.PixelData


def lose_one(images: list[Dataset], study: studies.Study) -> None:
    del images[1]


def say_nothing_of_it(images: list[Dataset], study: studies.Study) -> None:
    del images[0].DeidentificationMethodCodeSequence
    images[0].BurnedInAnnotation = "YES"


def let_capture_through(images: list[Dataset], study: studies.Study) -> None:
    images.append(study.captures[1].dataset)


def write_into_slice(images: list[Dataset], study: studies.Study) -> None:
    """A further slice, with letters of 12 pixels."""
    dataset = copied(study.datasets[0])
    lettered = pixel_text.Image.new("L", (64, 64), 40)
    font = pixel_text.ImageFont.truetype(pixel_text.FONT, 12)
    pixel_text.ImageDraw.Draw(lettered).text((3, 20), NAME[0], fill=220, font=font)
    dataset.PixelData = b"".join(bytes([value, 0]) for value in lettered.tobytes())
    images.append(dataset)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (pass_as_clean, "rules[1]: 30720 of 30720 pixels in its regions are not blank"),
        (blank_too_little, "rules[1]: 640 of 30720 pixels in its regions are not blank"),
        (blank_too_much, "rules[2]: 1 pixels outside of its regions are not as sent"),
        (leave_small_region, "rules[2]: 231 of 231 pixels in its regions are not blank"),
        (lose_one, "image for ctp_pixel_rules[2]: 1 sent, 0 arrived"),
        (say_nothing_of_it, "(0028,0301) is not NO; image for ctp_pixel_rules[1]: (0012,0064)"),
    ],
)
def test_a_node_that_blanks_wrongly_fails(
    study: studies.Study, spoil: Callable[[list[Dataset], studies.Study], None], words: str
) -> None:
    images = [blanked(each) for each in study.blanked]
    spoil(images, study)
    arrived = [judgement.Arrived(f"other object {at}", b"", each) for at, each in enumerate(images)]
    own, declared = judgement.set_apart(study, arrived)
    assert own == []
    assert words in "; ".join(judgement.blanking_problems(study, declared))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (pass_as_clean, "can be read in image for ctp_pixel_rules[1]"),
        (let_capture_through, "can be read in CT 11"),
        (write_into_slice, "can be read in 7 CT"),
    ],
)
def test_a_node_that_lets_a_name_through_fails(
    study: studies.Study, spoil: Callable[[list[Dataset], studies.Study], None], words: str
) -> None:
    images = [blanked(each) for each in study.blanked]
    spoil(images, study)
    row = judge(study, images)[READ]
    assert not row.passed
    assert row.remedy
    assert row.detail == f"the name, or a part of it, {words}"


def test_pixels_that_cannot_be_read_fail(study: studies.Study) -> None:
    images = [blanked(each) for each in study.blanked]
    images[0].SamplesPerPixel = 3
    rows = judge(study, images)
    assert not rows[READ].passed
    assert rows[READ].detail == "image for ctp_pixel_rules[1]: it has colours, which are not read"


def test_what_a_host_sets_for_others_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSDATA_PREFIX", "/nowhere")
    monkeypatch.setenv("LC_ALL", "de_DE.ISO-8859-1")
    pixels, _ = pixel_text.write_name("seed", 300, 40, [(0, 0, 300, 40)], NAME)
    assert pixel_text.missing(pixel_text.read(pixel_text.Picture(300, 40, pixels)), NAME) == []


def test_a_host_without_ocr_says_so(study: studies.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_text, "_SYSTEM_PATH", "/nowhere")
    rows = judge(study, [blanked(each) for each in study.blanked])
    assert not rows[READ].passed
    assert "Install tesseract-ocr and tesseract-ocr-eng" in rows[READ].detail
    with pytest.raises(RuntimeError, match="tesseract is not installed on this host"):
        judgement.legible_problems(study)


def test_a_host_without_pillow_or_font_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_text, "FONT", "/nowhere.ttf")
    with pytest.raises(RuntimeError, match="Install fonts-dejavu-core"):
        phantom.make_study(TOKEN, True, pixel_rules=[])
    monkeypatch.setattr(pixel_text, "PILLOW_ERROR", "No module named 'PIL'")
    with pytest.raises(RuntimeError, match="Install python3-pil"):
        phantom.make_study(TOKEN, True, pixel_rules=[])
    assert phantom.make_study(TOKEN, True).captures == []


def test_strays_are_known_by_a_row(study: studies.Study) -> None:
    other = phantom.make_study("1234567891", True, pixel_rules=RULES)
    for image in study.lettered:
        raw = b"header" + bytes(blanked(image).PixelData)
        assert judgement.is_stray(raw, [study])
        assert not judgement.is_stray(raw, [other])
