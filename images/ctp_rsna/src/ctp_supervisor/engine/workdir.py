"""CTP's working directory: made anew in memory, with nothing in it that can be kept or edited.

CTP writes its log, a cache and temporary images beside its configuration; all of it is gone with
the container. What it reads is a copy of what was verified, and ``Working.intact`` tells whether it
still is.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import whole_files
from program_settings import SettingsError

from ..settings import Settings
from . import fast_script, tags_class
from .verify import Verified, with_key

LOG = logging.getLogger(__name__)

USER = "admin"
KEY_BYTES = 32
DICTIONARY = "dictionary"
"""Where Java finds the class ``Tags`` before it finds that of the distribution."""
_OWN = {
    "config.xml",
    "users.xml",
    "log4j.properties",
    "logs",
    "CACHE",
    "ROOT",
    "roots",
    "quarantines",
    # CTP copies an example into the place of a missing script: there is none to copy.
    "examples",
    "windows",
    "linux",
}
_Signature = tuple[int, int, int, int]


@dataclass(frozen=True)
class Working:
    """The directory and what its files looked like when they were made."""

    path: Path
    signatures: Mapping[Path, _Signature]

    def changed(self) -> list[Path]:
        """The files that are not as they were made; ctime cannot be set back."""
        return [path for path, made in self.signatures.items() if _signature(path) != made]

    def intact(self) -> bool:
        """Whether all files are as they were made."""
        return not self.changed()


def _signature(path: Path) -> _Signature | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def make(settings: Settings, verified: Verified, key: bytes, password: str) -> Working:
    """Make the directory. One left by an earlier run is removed.

    Raises ``VerificationError``: a script cannot be put into CTP's faster form; ``SettingsError``:
    there is no room for it, or it cannot be made there.
    """
    path = settings.memory / f"ctp-{settings.dicom_port}"
    remove(path)
    try:
        return _made(path, settings, verified, key, password)
    except OSError as error:
        remove(path)  # it may hold the key
        raise SettingsError(
            f"CTP's working directory {path} cannot be made ({error.strerror}). It lies in memory:"
            f" {settings.memory} has to have some MiB of free space, and let the user"
            f" {os.getuid()} write."
        ) from error


def _made(path: Path, settings: Settings, verified: Verified, key: bytes, password: str) -> Working:
    path.mkdir(mode=0o700)
    if settings.engine == "ctp":
        for found in sorted(settings.distribution.iterdir()):
            if found.name not in _OWN and not found.name.endswith((".script", ".properties")):
                (path / found.name).symlink_to(found)
    for name in ("logs", "ROOT", "tmp"):
        (path / name).mkdir(mode=0o700)
    # CTP's installer makes the start page of this example.
    page = settings.distribution / "ROOT" / "example-index.html"
    if page.is_file():
        shutil.copyfile(page, path / "ROOT" / "index.html")
    contents = dict(verified.files)
    for script in {pipeline.script for pipeline in settings.pipelines}:
        contents[script] = with_key(contents[script], key)
    if settings.engine == "ctp":
        dictionary = tags_class.dictionary(settings.distribution / "libraries")
        names = tags_class.names(dictionary)
        for script in {pipeline.script for pipeline in settings.pipelines}:
            contents[script] = fast_script.as_properties(contents[script], names)
        remembering = tags_class.remembering(dictionary)
        if remembering:
            contents[f"{DICTIONARY}/{tags_class.TAGS_CLASS}"] = remembering
        if not names or not remembering:
            LOG.warning("the dictionary of this CTP cannot be read: its script takes longer")
    contents["users.xml"] = users_xml(password)
    signatures = {}
    for name, data in contents.items():
        file = path / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "wb") as target:
            target.write(data)
        signature = _signature(file)
        assert signature is not None
        signatures[file] = signature
    return Working(path, signatures)


def remove(path: Path) -> None:
    """Remove the directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)


def users_xml(password: str) -> bytes:
    """CTP's users: ``admin`` alone, who may see the status and handle quarantines, no more.

    The role ``admin`` would let him edit scripts and users in the running CTP.
    """
    # CTP's own form: the decimal number of the MD5 of the text.
    digest = int.from_bytes(
        hashlib.md5(password.encode("utf-8"), usedforsecurity=False).digest(), "big"
    )
    return (
        f'<users mode="digest"><user username={quoteattr(USER)} password="{digest}">'
        "<role>qadmin</role></user></users>\n"
    ).encode()


def check_password(password: str) -> None:
    """Refuse what CTP cannot log in with. Raises ``SettingsError``."""
    if ":" in password:
        raise SettingsError(
            "The secret ctp_admin_pass contains a colon, with which CTP cannot log in."
            " Choose a password without one."
        )


def uid_key(settings: Settings, was_used: bool) -> bytes:
    """The key that makes UIDs unguessable, made once.

    With another key the same study gets other UIDs and its references break. So none is made where
    objects were received before, and one that was exchanged is refused. Raises ``SettingsError``.
    """
    path = settings.data / "uid.key"
    seal = settings.data / "uid.key.sha256"
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        if was_used or seal.exists():
            raise SettingsError(
                f"{path} is missing although objects were received before. Restore it from the"
                " backup: with a new key, further objects of a study would not belong to it."
            ) from None
        key = secrets.token_bytes(KEY_BYTES)
        whole_files.replace(path, key)
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{path} has {len(key)} bytes and not {KEY_BYTES}: restore it.")
    print_of_key = hashlib.sha256(b"uid.key\n" + key).hexdigest().encode() + b"\n"
    try:
        if seal.read_bytes() != print_of_key:
            raise SettingsError(
                f"{path} is not the key that was used here before ({seal} differs). Restore it."
            )
    except FileNotFoundError:
        whole_files.replace(seal, print_of_key)
    return key
