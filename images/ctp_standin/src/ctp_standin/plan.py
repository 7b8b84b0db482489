"""What one run of the gateway consists of, wherever it was read from.

Two sources make a plan: ``settings`` (environment and secrets, in the place of the AusCAT image)
and ``ctp_files`` (``config.xml`` and its neighbours, in the place of stock CTP). From here on both
are the same program.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from program_settings import SettingsError

from .lookup import PatientLookup
from .rules import Rules
from .settings import Settings
from .spool import Layout

ADMIN = "admin"
"""The web user of the AusCAT image, and the role of CTP that may do everything."""
QUARANTINE_ROLES = frozenset({ADMIN, "qadmin"})
"""Roles of CTP that may act on quarantines."""

Login = Callable[[str, str], "frozenset[str] | None"]
"""Roles of the user with this name and password; ``None`` when there is no such user."""


@dataclass(frozen=True)
class Stage:
    """One stage of a CTP pipeline: its index there, and where it quarantines."""

    index: int
    kind: str
    quarantine: Path


@dataclass(frozen=True)
class Pipeline:
    """One receiver with its spool, its patients and its Orthanc."""

    name: str
    settings: Settings
    lookup: PatientLookup
    layout: Layout
    rules: Rules
    called_aets: frozenset[str] = frozenset()  # empty: any
    calling_aets: frozenset[str] = frozenset()  # empty: any
    stages: tuple[Stage, ...] = ()  # empty: CTP's addresses of quarantines do not exist


@dataclass(frozen=True)
class Plan:
    """The pipelines and the page."""

    pipelines: tuple[Pipeline, ...]
    web_address: tuple[str, int]
    login: Login
    uid_key_file: Path | None = None  # where the scripts do not hold the key of the UID hash yet


def from_settings(settings: Settings, lookup: PatientLookup) -> Plan:
    """One pipeline, as the environment and the secrets describe it.

    Raises ``SettingsError`` when the page's password or the rules are missing.
    """
    password = settings.secret("ctp_admin_pass").encode()

    def login(user: str, given: str) -> frozenset[str] | None:
        # Both are always compared, each in constant time.
        right_user = hmac.compare_digest(user.encode(), ADMIN.encode())
        right = hmac.compare_digest(given.encode(), password) and right_user
        return frozenset({ADMIN}) if right else None

    spool = settings.spool_directory
    directory = settings.rules_directory
    rules = Rules(directory / "anonymizer.script", directory / "filter.script", key="")
    problem = rules.problem()
    if problem:
        raise SettingsError(
            f"{problem}. CTP_RULES_DIRECTORY ({directory}) must hold the anonymizer.script and the"
            " filter.script that the role ctp renders."
        )
    return Plan(
        pipelines=(Pipeline("ctp", settings, lookup, Layout.below(spool), rules),),
        web_address=(settings.bind_address, settings.web_port),
        login=login,
        uid_key_file=spool / "uid.key",
    )
