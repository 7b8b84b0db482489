"""How much memory the largest object that a site declares needs, and whether a machine has it.

Orthanc holds an object about four times while it stores it (measured with Orthanc 1.10 and multi-
frame objects of 100, 200 and 600 MiB: 445, 945 and 2445 MiB at the highest). Beside that are 45 MiB
of its own, up to 128 MiB of its cache, and what smaller objects and researchers' requests need at
the same time. CTP's relay gives it one large object at a time. All else passes an object on in
pieces.
"""

from __future__ import annotations

TIMES = 4
"""How often Orthanc holds an object."""
BESIDE_MIB = 480
"""What Orthanc needs beside it."""
ORTHANC_MIB = 1024
"""Orthanc's least limit."""
REST_MIB = 640
"""What the system and the other services use, in MiB."""
LEAST_MIB, MOST_MIB = 16, 65536


def orthanc_mib(largest_object_mib: int) -> int:
    """Return the memory limit in MiB with which Orthanc stores objects of that size."""
    return max(ORTHANC_MIB, BESIDE_MIB + TIMES * largest_object_mib)


def largest_object(orthanc_memory_mib: int) -> int:
    """Return the largest object in MiB that Orthanc stores within that limit; 0 for none."""
    return max(0, (orthanc_memory_mib - BESIDE_MIB) // TIMES)


def inventory_problems(largest_object_mib: int, orthanc_memory_mib: int | None) -> list[str]:
    """Return what is wrong, with variable, value, accepted values and remedy.

    Args:
        largest_object_mib: the variable auscat_largest_object_mib.
        orthanc_memory_mib: the variable of the same name; None where Orthanc does not run here.
    """
    if not LEAST_MIB <= largest_object_mib <= MOST_MIB:
        return [
            f"auscat_largest_object_mib is {largest_object_mib}. Accepted: {LEAST_MIB} to "
            f"{MOST_MIB}, the size of the largest DICOM object in MiB. Correct it in the inventory."
        ]
    least = BESIDE_MIB + TIMES * largest_object_mib
    if orthanc_memory_mib is None or orthanc_memory_mib >= least:
        return []
    return [
        f"orthanc_memory_mib is {orthanc_memory_mib} and auscat_largest_object_mib "
        f"{largest_object_mib}. Accepted: a memory limit of at least {least} MiB, since Orthanc "
        f"needs {TIMES} times an object's size and {BESIDE_MIB} MiB, or objects of at most "
        f"{largest_object(orthanc_memory_mib)} MiB. Leave orthanc_memory_mib out, so that it "
        "follows, or lower auscat_largest_object_mib."
    ]


def machine_problems(
    machine_mib: int, largest_object_mib: int, orthanc_memory_mib: int | None
) -> list[str]:
    """Return why a machine cannot bear Orthanc's limit, with what it can.

    Args:
        machine_mib: memory of the machine.
        largest_object_mib: as above.
        orthanc_memory_mib: as above.
    """
    if orthanc_memory_mib is None or orthanc_memory_mib + REST_MIB <= machine_mib:
        return []
    most = largest_object(machine_mib - REST_MIB)
    return [
        f"The machine has {machine_mib} MiB of memory. With auscat_largest_object_mib "
        f"{largest_object_mib}, Orthanc may use {orthanc_memory_mib} MiB (orthanc_memory_mib), and "
        f"{REST_MIB} MiB are for the rest. Accepted: at least {orthanc_memory_mib + REST_MIB} MiB "
        f"of memory, or auscat_largest_object_mib of at most {most}. Give it more, or lower "
        + ("that." if most >= LEAST_MIB else "orthanc_memory_mib.")
    ]
