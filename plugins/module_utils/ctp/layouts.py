"""Where ultrasound devices are known to write a patient's name, as a proposal for a declaration.

Somebody has to look at the images all the same: software versions and settings move a banner, and
names stand in other places, too. Nothing here is blanked unless a site declares it.

Source: RSNA's library of burned-in annotations, compiled from contributions of users
(DicomPixelAnonymizer.script, CTP of 2025-05-13), as CTP blanks it: one pixel wider and higher than
it is written there. Only what it has for one size of ultrasound images.
"""

from __future__ import annotations

from typing import Any

ULTRASOUND = frozenset(f"1.2.840.10008.5.1.4.1.1.{suffix}" for suffix in ("3", "3.1", "6", "6.1"))

# Words in manufacturer and model, in any case; columns and rows; left, top, width and height of
# each region.
LAYOUTS = """
philips    iu22      640x480    0,0,640,48
philips    iu22      800x600    0,0,800,60
philips    iu22      1024x768   0,0,1024,76
philips    epiq      1024x768   0,0,1024,50
philips    cx50      800x600    0,0,800,60
philips    sparq     800x600    80,0,720,56
atl        hdi_5000  640x476    40,0,201,41  240,0,191,17
siemens    antares   1024x768   0,0,1024,61  200,60,21,21  800,65,105,15
siemens    acuson    800x600    0,0,800,44   128,56,17,17
siemens    s2000     1024x768   0,0,1024,61
acuson     sequoia   640x480    0,0,640,31
toshiba    a500      960x720    0,0,960,61
toshiba    a400      960x720    0,0,960,61
toshiba    ai600     1280x960   0,0,1280,61
toshiba    ai700     1280x960   0,0,1280,61
canon      aa000     1280x960   0,0,1280,71
supersonic aixplorer 1400x1050  0,0,1400,90
"""


def regions(
    sop_class: str, manufacturer: str, model: str, rows: int, columns: int
) -> list[dict[str, int]]:
    """Return the regions to propose for a device; empty where none are known.

    Args:
        sop_class: its UID.
        manufacturer: (0008,0070).
        model: (0008,1090).
        rows: (0028,0010).
        columns: (0028,0011).

    Returns:
        Each with x, y, width and height, as ctp_pixel_rules has them.
    """
    found: list[Any] = []
    if sop_class not in ULTRASOUND:
        return found
    for line in LAYOUTS.strip().splitlines():
        maker, name, size, *places = line.split()
        if (
            size == f"{columns}x{rows}"
            and maker in manufacturer.lower()
            and name.replace("_", " ") in model.lower()
        ):
            found += [
                dict(zip(("x", "y", "width", "height"), map(int, place.split(","))))
                for place in places
            ]
    return found
