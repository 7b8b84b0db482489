"""How patients and objects of proofs are told from all others.

Apart from `phantom`, which makes them: what only needs their names needs no pydicom, whose import
costs more than all that is done with it here.
"""

from __future__ import annotations

import hashlib
import re

# What patient identifiers and pseudonyms of proofs begin with; before a pseudonym stands what CTP
# asks of every pseudonym, if anything.
PATIENT_PREFIX = "PROOF-"
PSEUDONYM_PREFIX = "PROOF-ANON-"

# Root of all UIDs of proofs, below the root for UIDs made from UUIDs (PS3.5 Annex B.2): no
# registered organisation can own one of them.
UID_ROOT = "2.25.50907731"

_TOKEN = re.compile(r"1[0-9]{9}")
_SITE_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,32}")
_PATIENT = re.compile(rf"{PATIENT_PREFIX}{_TOKEN.pattern}-(?:UN)?KNOWN")
_PSEUDONYM = re.compile(rf"{_SITE_PREFIX.pattern}{PSEUDONYM_PREFIX}[0-9A-F]{{12}}")


def check_token(token: str) -> str:
    """Return the token.

    Raises:
        ValueError: it is not ten digits of which the first is 1 (so that it fits an IS, which ends
            at 2147483647, PS3.5 6.2).
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"token is {token!r}; it must be ten digits of which the first is 1.")
    return token


def patient_identifier(token: str, known: bool) -> str:
    """Return the PatientID of the patient that KeyDB knows, or of the one that it does not know."""
    return f"{PATIENT_PREFIX}{check_token(token)}-{'KNOWN' if known else 'UNKNOWN'}"


def pseudonym_of(token: str, prefix: str = "") -> str:
    """Return the known patient's pseudonym, from which the token cannot be read.

    Args:
        token: as for `make_study`.
        prefix: what a pseudonym must begin with for CTP to let it out, up to 32 characters.

    Raises:
        ValueError: the token or the prefix is out of range.
    """
    if not _SITE_PREFIX.fullmatch(prefix):
        raise ValueError(
            f"pseudonym_prefix is {prefix!r}; it may be up to 32 letters, digits, '.', '_' and '-'."
        )
    digest = hashlib.sha256(check_token(token).encode()).hexdigest()
    return f"{prefix}{PSEUDONYM_PREFIX}{digest[:12].upper()}"


def is_proof_patient(patient_id: str) -> bool:
    """Say whether this is what `patient_identifier` returns for a token."""
    return _PATIENT.fullmatch(patient_id) is not None


def is_proof_pseudonym(pseudonym: str) -> bool:
    """Say whether this is what `pseudonym_of` returns for a token and a prefix.

    No pseudonym that KeyDB makes is one, whatever its prefix: it ends with 16 characters.
    """
    return _PSEUDONYM.fullmatch(pseudonym) is not None
