"""The account of each study (``study_account``), as this program can keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from study_account import uids
from study_account.account import Account, Quarantined

from .engine.verify import Verified, with_key
from .held_back import quarantine
from .lookup import keydb
from .settings import Settings

FILE = "account.sqlite"
_BLANKS = "".join(map(chr, range(33)))


def make(
    settings: Settings,
    verified: Verified,
    key: bytes,
    patients: Callable[[], keydb.Patients],
    idle: Callable[[], bool],
) -> Account:
    """The account of this node. Where the scripts do not hash UIDs as they have to, it says so and
    keeps none."""
    leaving, problem = None, ""
    try:
        found = {
            uids.read(with_key(verified.files[each.script], key)) for each in settings.pipelines
        }
        if len(found) > 1:
            raise uids.RuleError("the scripts of the pipelines hash UIDs in different ways")
        leaving = found.pop()
    except uids.RuleError as error:
        problem = f"there is no account of studies: {error}"

    def pseudonym(patient_id: str, issuer: str) -> str:
        return patients().pseudonyms.get(keydb.key(patient_id.strip(_BLANKS), issuer), "")

    def pseudonyms(patient_id: str) -> Iterable[str]:
        start = keydb.key(patient_id, "")
        return {name for known, name in patients().pseudonyms.items() if known.startswith(start)}

    return Account(
        settings.data / FILE,
        leaving,
        key,
        pseudonym,
        pseudonyms,
        idle,
        settings.account_quiet_minutes * 60.0,
        settings.account_days * 86400.0,
        problem,
    )


def is_leaving(found: quarantine.Quarantined, engine: str) -> bool:
    """Whether the UIDs of a file in quarantine are those that leave: CTP has made new ones of what
    lies behind its anonymizer; the stand-in keeps an object as it came, which may say of itself
    that it is de-identified."""
    return engine != "standin" and found.kind in ("filter", "export") and found.done


def in_quarantine(
    found: Iterable[tuple[quarantine.Quarantined, str]], patients: keydb.Patients, engine: str
) -> list[Quarantined]:
    """What lies in quarantine and why, for the account."""
    return [of_one(each, reason, patients, engine) for each, reason in found]


def of_one(
    each: quarantine.Quarantined, reason: str, patients: keydb.Patients, engine: str
) -> Quarantined:
    """One of them."""
    return Quarantined(
        each.sop_instance_uid,
        each.study,
        each.series,
        reason,
        each.arrived,
        is_leaving(each, engine),
        patients.pseudonyms.get(keydb.key(each.patient_id or "", each.issuer), ""),
    )


class Notes:
    """What is done with files in quarantine, noted in the account."""

    def __init__(self, to: Account, patients: Callable[[], keydb.Patients], engine: str) -> None:
        self._account = to
        self._patients = patients
        self._engine = engine

    def _of(self, each: quarantine.Quarantined, reason: str) -> Quarantined:
        return of_one(each, reason, self._patients(), self._engine)

    def removing(self, each: quarantine.Quarantined, reason: str) -> None:
        """See ``quarantine.Notes``."""
        self._account.removing(self._of(each, reason))

    def removed(self, each: quarantine.Quarantined) -> None:
        """See ``quarantine.Notes``."""
        self._account.removed(self._of(each, ""))

    def released(self, each: quarantine.Quarantined) -> None:
        """See ``quarantine.Notes``."""
        self._account.released(self._of(each, ""))
