"""The proof's patients in KeyDB, entered and removed through its container."""

from __future__ import annotations

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.containers import container_of
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    PATIENT_PREFIX,
    PSEUDONYM_PREFIX,
    is_proof_patient,
    is_proof_pseudonym,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services import psql
from ansible_collections.auscat.imaging.plugins.module_utils.services.keydb import qualified

# A pair of a proof is told by both its sides: the pseudonym ends with the hash of the very token
# that stands in the identifier (`names.pseudonym_of`), whatever prefix it was given.
_HASH_OF_TOKEN = (
    f"encode(sha256(convert_to(substr(patient_id, {len(PATIENT_PREFIX) + 1}, 10), 'UTF8')), 'hex')"
)
REMOVE_PROOFS = (
    "DELETE FROM {table}"
    f" WHERE patient_id ~ '^{PATIENT_PREFIX}1[0-9]{{{{9}}}}-KNOWN$'"
    f" AND right(pseudonym, {len(PSEUDONYM_PREFIX) + 12})"
    f" = '{PSEUDONYM_PREFIX}' || upper(left({_HASH_OF_TOKEN}, 12)) RETURNING pseudonym;"
)


class KeyDb:
    """KeyDB through its container, as its superuser over the socket that only the container has."""

    def __init__(self, service: str, table: str = "patient") -> None:
        self._container = str(container_of(service)["Id"])
        self._table = qualified(table)

    def _run(self, sql: str) -> list[str]:
        try:
            return run(psql.command(self._container, "--no-password"), stdin=sql).split()
        except CommandError as error:
            raise ClientError(f"KeyDB: {error}") from error

    def add(self, patient_id: str, pseudonym: str) -> None:
        """Enter a proof's patient.

        Raises:
            ClientError: KeyDB refused.
        """
        for value, is_proofs in ((patient_id, is_proof_patient), (pseudonym, is_proof_pseudonym)):
            if not is_proofs(value):
                raise ClientError(f"{value!r} is no identifier of a proof")
        self._run(
            f"INSERT INTO {self._table} (patient_id, pseudonym) VALUES ('{patient_id}', "
            f"'{pseudonym}');"
        )

    def remove_all(self) -> list[str]:
        """Remove all patients of proofs, also of earlier ones, and return their pseudonyms.

        Raises:
            ClientError: KeyDB refused.
        """
        return self._run(REMOVE_PROOFS.format(table=self._table))
