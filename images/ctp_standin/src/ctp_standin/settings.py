"""Settings: environment variables and secret files, nothing else.

``ORTHANC_HOSTNAME``, ``ORTHANC_PORT`` and the secrets are the contract of the AusCAT image; a stack
that runs that image needs no more.

=========================  ==================  ====================================================
Variable                   Default             Meaning
=========================  ==================  ====================================================
``ORTHANC_HOSTNAME``       ``orthanc``         host of the Orthanc that receives the result
``ORTHANC_PORT``           ``4242``            its DICOM port, 1-65535
``ORTHANC_AET``            ``ORTHANC``         called AE title towards it, 1-16 characters
``KEYDB_HOSTNAME``         ``keydb``           host of KeyDB
``KEYDB_PORT``             ``5432``            its PostgreSQL port, 1-65535
``KEYDB_DATABASE``         ``key_db``          its database
``KEYDB_QUERY``            (empty)             SELECT of ``patient_id`` and ``pseudonym`` where the
                                               schema is another one; empty: view ``ctp_patient``
``KEYDB_TLS_NAME``         (empty)             name in KeyDB's certificate; empty: not asked
``TLS_TRUSTED``            (empty)             file of the CAs that are trusted; empty: the system's
``CTP_ISSUERS``            ``[""]``            issuers by which a patient is known who is in KeyDB
                                               without one, as JSON; ``""``: none in the object
``CTP_AET``                ``CTP``             calling AE title towards Orthanc, 1-16 characters
``CTP_DICOM_PORT``         ``8104``            port of the C-STORE SCP, 1-65535
``CTP_WEB_PORT``           ``9090``            port of the web page, 1-65535
``CTP_SPOOL_DIRECTORY``    ``/ctp_temp``       queue, quarantine, UID key and counters
``CTP_SECRETS_DIRECTORY``  ``/run/secrets``    where the secret files are
``CTP_RULES_DIRECTORY``    ``/etc/ctp_rules``  ``anonymizer.script`` and ``filter.script``, as they
                                               are rendered for stock CTP
``CTP_MIN_FREE_MIB``       ``64``              below this free space objects are refused, MiB,
                                               0-1048576
``CTP_RETRY_SECONDS``      ``30``              longest pause between two attempts, 1-3600
=========================  ==================  ====================================================

========================  ================================================================
Secret file               Content
========================  ================================================================
``keydb_user``            role used for KeyDB; it needs SELECT on the view ``ctp_patient``
``keydb_pass``            its password; both are read again at every new connection
``ctp_admin_pass``        password of the web user ``admin``
========================  ================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from program_settings import SettingsError, read_secret


@dataclass(frozen=True)
class Settings:
    """Everything the operator can set; see the tables of this module for units and ranges."""

    orthanc_host: str = "orthanc"
    orthanc_port: int = 4242
    orthanc_aet: str = "ORTHANC"
    keydb_host: str = "keydb"
    keydb_port: int = 5432
    keydb_database: str = "key_db"
    keydb_query: str = ""
    keydb_tls_name: str = ""
    tls_trusted: str = ""
    issuers: tuple[str, ...] = ("",)
    aet: str = "CTP"
    dicom_port: int = 8104
    web_port: int = 9090
    bind_address: str = "0.0.0.0"  # in a container, publishing decides who may reach it
    spool_directory: Path = Path("/ctp_temp")
    secrets_directory: Path = Path("/run/secrets")
    rules_directory: Path = Path("/etc/ctp_rules")
    min_free_mib: int = 64
    retry_seconds: float = 30.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables of the table.

        Raises ``SettingsError`` naming variable, value and accepted values.
        """
        return cls(
            orthanc_host=_text(environment, "ORTHANC_HOSTNAME", "orthanc"),
            orthanc_port=_number(environment, "ORTHANC_PORT", 4242, 1, 65535),
            orthanc_aet=_ae_title(environment, "ORTHANC_AET", "ORTHANC"),
            keydb_host=_text(environment, "KEYDB_HOSTNAME", "keydb"),
            keydb_port=_number(environment, "KEYDB_PORT", 5432, 1, 65535),
            keydb_database=_text(environment, "KEYDB_DATABASE", "key_db"),
            keydb_query=_optional(environment, "KEYDB_QUERY").rstrip(";"),
            keydb_tls_name=_optional(environment, "KEYDB_TLS_NAME"),
            tls_trusted=_optional(environment, "TLS_TRUSTED"),
            issuers=_texts(environment, "CTP_ISSUERS", '[""]'),
            aet=_ae_title(environment, "CTP_AET", "CTP"),
            dicom_port=_number(environment, "CTP_DICOM_PORT", 8104, 1, 65535),
            web_port=_number(environment, "CTP_WEB_PORT", 9090, 1, 65535),
            spool_directory=Path(_text(environment, "CTP_SPOOL_DIRECTORY", "/ctp_temp")),
            secrets_directory=Path(_text(environment, "CTP_SECRETS_DIRECTORY", "/run/secrets")),
            rules_directory=Path(_text(environment, "CTP_RULES_DIRECTORY", "/etc/ctp_rules")),
            min_free_mib=_number(environment, "CTP_MIN_FREE_MIB", 64, 0, 1048576),
            retry_seconds=float(_number(environment, "CTP_RETRY_SECONDS", 30, 1, 3600)),
        )

    def secret(self, name: str) -> str:
        """Content of a secret file without its line end.

        Raises ``SettingsError`` naming the file when it is missing, unreadable or empty.
        """
        return read_secret(self.secrets_directory, name)


def _text(environment: Mapping[str, str], name: str, default: str) -> str:
    value = environment.get(name, default).strip()
    if not value:
        raise SettingsError(f'{name} is "": give it a value, or unset it for "{default}".')
    return value


def _optional(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, "").strip()


def _texts(environment: Mapping[str, str], name: str, default: str) -> tuple[str, ...]:
    value = environment.get(name, default).strip() or default
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if isinstance(found, list) and found and all(isinstance(each, str) for each in found):
        return tuple(found)
    raise SettingsError(
        f"{name} is {value!r}: give a list of texts as JSON, or unset it for {default}."
    )


def _number(
    environment: Mapping[str, str], name: str, default: int, lowest: int, highest: int
) -> int:
    value = environment.get(name, str(default)).strip()
    if value.isascii() and value.isdigit() and lowest <= int(value) <= highest:
        return int(value)
    raise SettingsError(
        f'{name} is "{value}": give a whole number from {lowest} to {highest},'
        f" or unset it for {default}."
    )


def _ae_title(environment: Mapping[str, str], name: str, default: str) -> str:
    value = _text(environment, name, default)
    if len(value) > 16 or "\\" in value or not (value.isascii() and value.isprintable()):
        raise SettingsError(
            f'{name} is "{value}": an AE title has 1 to 16 printable ASCII characters, no backslash'
            f' (PS3.5 6.2). Unset it for "{default}".'
        )
    return value
