"""The DICOM tools of dcmtk, which send and ask as a PACS would."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.containers import resolve_within
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError

# A node's own PATH, not that of whoever runs Ansible: an activated Python environment may hold
# another program called echoscu.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def tool(name: str) -> str:
    """Return the path of a program of the node.

    Raises:
        ClientError: it is not installed.
    """
    path = shutil.which(name, path=SYSTEM_PATH)
    if path is None:
        raise ClientError(f"{name} is not installed on this host; it is in the package dcmtk")
    return path


#: The files that `tls_of` lends, and where a container holds them.
HELD = {"tls.key": "/run/secrets/tls.key", "tls.crt": "/run/secrets/tls.crt"}
TRUSTED = "/etc/auscat/tls/ca.pem"
#: Whom a machine trusts that was given no CA.
SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"
#: Runs a program so that what it says on standard error is on standard output.
SAY_ALL = ["sh", "-c", 'exec "$0" "$@" 2>&1']


def own_address() -> str:
    """Return this host's address on its default route, or the loopback address without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a UDP socket sends nothing (the address is for documentation, RFC 5737).
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@contextlib.contextmanager
def tls_of(containers: Iterable[dict[str, Any]]) -> Iterator[list[str]]:
    """Have dcmtk's options for DICOM over TLS with the certificate that a container holds.

    The container's own files (tls.crt and tls.key among its secrets, and the CAs that it trusts)
    are lent for as long as this lasts, in a directory that root alone can read. A container without
    CAs trusts those of the machine. Yields no options where no container holds a certificate: DICOM
    goes in clear text there.
    """

    def lend(container: dict[str, Any], inside: str, name: str) -> str:
        text = run(["docker", "exec", str(container["Id"]), "cat", inside])
        lent = Path(directory, name)
        lent.write_text(text, encoding="utf-8")
        return str(lent)

    with tempfile.TemporaryDirectory() as directory:
        for container in containers:
            try:
                own = [lend(container, inside, name) for name, inside in HELD.items()]
            except CommandError:
                continue
            try:
                trusted = lend(container, TRUSTED, "ca.pem")
            except CommandError:
                trusted = SYSTEM_TRUST
            yield ["+tls", *own, "+cf", trusted]
            return
        yield []


def send_files(
    address: str,
    port: int,
    calling: str,
    called: str,
    directory: Path,
    enter: Sequence[str] = (),
    tls: Sequence[str] = (),
) -> int:
    """Send the DICOM files of a directory with dcmtk: dcmsend, or storescu, which speaks TLS.

    Args:
        address: of the receiver.
        port: of the receiver.
        calling: AE title of the sender.
        called: AE title of the receiver.
        directory: holds the files; the report of dcmsend lands beside it.
        enter: command that starts it elsewhere, such as in the network of a container.
        tls: options of `tls_of`; none for clear text.

    Returns:
        How many objects the receiver acknowledged with Success.

    Raises:
        ClientError: dcmsend is missing or did not reach the receiver.
    """
    return send_for_answers(address, port, calling, called, directory, enter, tls).count(0)


def send_for_answers(
    address: str,
    port: int,
    calling: str,
    called: str,
    directory: Path,
    enter: Sequence[str] = (),
    tls: Sequence[str] = (),
) -> list[int]:
    """Send as `send_files` does, and return the status of each answer (PS3.7 C)."""
    limits = ["--timeout", "10", "--acse-timeout", "30", "--dimse-timeout", "120"]
    names = ["-aet", calling, "-aec", called]
    if tls:
        # What storescu says of each answer: its number stands among what it says when debugged.
        options = [
            *limits,
            *names,
            *tls,
            "--debug",
            "--no-halt",
            "--scan-directories",
            "--required",
        ]
        try:
            done = [*enter, tool("storescu"), *options, address, str(port), str(directory)]
            said = run([*SAY_ALL, *done], timeout=600)
        except CommandError as error:
            raise ClientError(_last_words(str(error))) from error
        return _statuses(r"^D: DIMSE Status\s*: 0x([0-9a-fA-F]{4})\b", said)
    report = directory.with_suffix(".report")
    options = [*limits, *names, "--scan-directories", "--create-report-file", str(report)]
    try:
        send = [*enter, tool("dcmsend"), *options, address, str(port), str(directory)]
        run(send, timeout=600)
        said = report.read_text(encoding="utf-8", errors="replace")
    except CommandError as error:
        raise ClientError(_last_words(str(error))) from error
    finally:
        report.unlink(missing_ok=True)
    return _statuses(r"^DIMSE Status\s*: 0x([0-9a-fA-F]{4}) ", said)


def _statuses(pattern: str, said: str) -> list[int]:
    return [int(status, 16) for status in re.findall(pattern, said, re.MULTILINE)]


def _last_words(text: str) -> str:
    """Return what dcmtk's programs say of an error, without their progress."""
    errors = re.findall(r"^[EF]: (.*)$", text, re.MULTILINE)
    return " ".join(errors) if errors else text


def echo_from(
    container: dict[str, Any], calling: str, called: str, name: str = "", port: int = 0
) -> str:
    """Send a C-ECHO (PS3.7 9.1.5) to Orthanc from the network of CTP's container.

    Args:
        container: what the engine tells of CTP's container.
        calling: AE title of CTP.
        called: AE title of Orthanc.
        name: of Orthanc; empty: the one that CTP has in its environment (ORTHANC_HOSTNAME).
        port: of Orthanc; 0: the one that CTP has in its environment (ORTHANC_PORT).

    Returns:
        Where Orthanc answered.

    Raises:
        ClientError: the name has no address, or Orthanc does not answer or refuses.
    """
    environment = dict(entry.partition("=")[::2] for entry in container["Config"].get("Env") or [])
    name = name or environment.get("ORTHANC_HOSTNAME") or "orthanc"
    at = str(port or environment.get("ORTHANC_PORT") or 4242)
    address = resolve_within(container, name)
    enter = [tool("nsenter"), "--target", str(container["State"]["Pid"]), "--net"]
    echo = [tool("echoscu"), "-to", "10", "-ta", "20", "-td", "20", "-aet", calling, "-aec", called]
    try:
        with tls_of([container]) as tls:
            run([*enter, *echo, *tls, address, at], timeout=60)
    except CommandError as error:
        raise ClientError(f"{name}:{at} ({address}): {_last_words(str(error))}") from error
    return f"{name}:{at} ({address})"
