"""Read NIfTI-1 files without the libraries that wrote them.

Header fields are those of the NIfTI-1 data format (nifti1.h). Its coordinates point to the right's
opposite and forward (RAS); they are given here as DICOM has them (LPS), in mm.
"""

from __future__ import annotations

import gzip
import math
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TYPES = {2: "B", 4: "h", 8: "i", 16: "f", 64: "d", 256: "b", 512: "H", 768: "I"}


@dataclass(frozen=True)
class Volume:
    """A three-dimensional image.

    Attributes:
        size: number of voxels along the first (fastest), second and third index.
        affine: rows for x, y and z; each the factors of the three indexes and an offset.
        values: all voxels, the first index running fastest.
    """

    size: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    values: Any

    def position(self, *index: float) -> tuple[float, float, float]:
        """Give the position of a voxel's centre."""
        x, y, z = (sum(f * i for f, i in zip(row, (*index, 1))) for row in self.affine)
        return x, y, z

    def at(self, number: int) -> tuple[int, int, int]:
        """Give the three indexes of a voxel that is the n-th of `values`."""
        columns, rows, _ = self.size
        return number % columns, number // columns % rows, number // (columns * rows)

    def nearest(self, x: float, y: float, z: float) -> float:
        """Give the value of the voxel nearest to a position, for an image along the axes."""
        index = []
        for axis, (wanted, row) in enumerate(zip((x, y, z), self.affine)):
            index.append(round((wanted - row[3]) / row[axis]))
            assert 0 <= index[-1] < self.size[axis], f"{(x, y, z)} is outside the image"
        columns, rows, _ = self.size
        return float(self.values[index[0] + columns * (index[1] + rows * index[2])])

    def centroid(self) -> tuple[float, float, float]:
        """Give the centre of gravity of a mask of zeros and ones."""
        mask = self.values.tobytes()
        columns, rows, slices = self.size
        total = mask.count(1)
        area = columns * rows
        first = sum(i * mask[i::columns].count(1) for i in range(columns))
        third = sum(k * mask[k * area : (k + 1) * area].count(1) for k in range(slices))
        second = sum(
            (line % rows) * mask[line * columns : (line + 1) * columns].count(1)
            for line in range(rows * slices)
        )
        return self.position(first / total, second / total, third / total)

    def cubic_mm(self) -> float:
        """Give the volume of a mask of zeros and ones, for an image along the axes."""
        voxel = abs(math.prod(self.affine[axis][axis] for axis in range(3)))
        return float(self.values.tobytes().count(1) * voxel)


def read(path: Path) -> Volume:
    """Read a compressed NIfTI-1 file; raises AssertionError when it is something else."""
    data = gzip.decompress(path.read_bytes())
    assert struct.unpack_from("<i", data)[0] == 348, f"{path} is no little-endian NIfTI-1 file"
    dimensions = struct.unpack_from("<8h", data, 40)
    kind = struct.unpack_from("<h", data, 70)[0]
    offset, slope, intercept = struct.unpack_from("<3f", data, 108)
    assert slope in (0, 1) and intercept == 0, "values are scaled"
    assert struct.unpack_from("<h", data, 254)[0] > 0, "there is no sform"
    right, forward, up = (struct.unpack_from("<4f", data, start) for start in (280, 296, 312))
    affine = (tuple(-f for f in right), tuple(-f for f in forward), up)
    columns, rows, slices = dimensions[1:4]
    values = array(_TYPES[kind], data[int(offset) :])
    assert len(values) == columns * rows * slices, f"{path} has {len(values)} values"
    return Volume((columns, rows, slices), affine, values)
