"""What is loaded into Orthanc before its libraries, tried in a process without Orthanc."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "images/orthanc/mend.c"
MIB = 1 << 20
# What a thread gets that asks for a stack of so many bytes.
ASK = """
import ctypes, sys
attributes, size = ctypes.create_string_buffer(64), ctypes.c_size_t()
threads = ctypes.CDLL(None)
assert threads.pthread_attr_init(attributes) == 0
assert threads.pthread_attr_setstacksize(attributes, ctypes.c_size_t(int(sys.argv[1]))) == 0
assert threads.pthread_attr_getstacksize(attributes, ctypes.byref(size)) == 0
print(size.value)
"""
CHANGE = "gdcm::ImageChangeTransferSyntax::Try{}Codec"
CHANGE += "(gdcm::DataElement const&, gdcm::Bitmap const&, gdcm::Bitmap&)"
CAN = "gdcm::JPEGLSCodec::{}(gdcm::TransferSyntax const&) const"


@pytest.fixture(scope="module")
def mend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built as the image builds it."""
    built = tmp_path_factory.mktemp("mend") / "mend.so"
    options = ["-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run(["gcc", *options, "-o", built, SOURCE], check=True)
    return built


def stack(size: int, preload: Path | None) -> int:
    environment = {**os.environ, **({"LD_PRELOAD": str(preload)} if preload else {})}
    command = [sys.executable, "-c", ASK, str(size)]
    return int(subprocess.check_output(command, env=environment, encoding="ascii"))


def test_without_it_a_thread_has_the_stack_of_civetweb() -> None:
    assert stack(102400, None) == 102400


@pytest.mark.parametrize(
    ("asked", "given"),
    [(102400, 8 * MIB), (8 * MIB, 8 * MIB), (64 * MIB, 64 * MIB)],
)
def test_stacks_are_large_enough(mend: Path, asked: int, given: int) -> None:
    assert stack(asked, mend) == given


def test_gdcm_is_kept_from_compressing_and_from_jpeg_ls(mend: Path) -> None:
    command = ["nm", "--dynamic", "--defined-only", "--demangle", str(mend)]
    listed = subprocess.check_output(command, encoding="ascii").splitlines()
    assert {line.split(maxsplit=2)[2] for line in listed} == {
        "pthread_attr_setstacksize",
        *(CHANGE.format(codec) for codec in ("JPEG", "JPEGLS", "JPEG2000", "RLE")),
        *(CAN.format(function) for function in ("CanCode", "CanDecode")),
    }
