"""Files read so that every element comes as CTP would see it."""

from __future__ import annotations

import threading
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom import config
from pydicom.dataset import Dataset

_LOCK = threading.Lock()


def read(source: bytes | Path | BinaryIO, pixels: bool = True) -> Dataset:
    """Return the data set of a DICOM file; values are not decoded, and padding stays.

    An element of the representation UN and of undefined length stays one, as for CTP, while
    pydicom by itself makes a sequence of it (PS3.5 6.2.2). Where such an element has a sequence of
    undefined length inside, what comes behind it is read wrongly: the result then differs from
    what CTP makes of the object.

    Args:
        source: the file, its content, or where it is.
        pixels: without them, what comes before (7FE0,0010) is read, and nothing of it and behind.

    Raises:
        Exception: whatever the parser has to say of what is no DICOM file.
    """
    opened = BytesIO(source) if isinstance(source, bytes) else source
    with _LOCK:
        usual = config.settings.infer_sq_for_un_vr, config.replace_un_with_known_vr
        config.settings.infer_sq_for_un_vr = config.replace_un_with_known_vr = False
        try:
            return pydicom.dcmread(opened, stop_before_pixels=not pixels)
        finally:
            config.settings.infer_sq_for_un_vr, config.replace_un_with_known_vr = usual
