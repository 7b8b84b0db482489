#!/usr/bin/python
"""Ansible module: load a CSV of patients into KeyDB."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keydb_load
short_description: Load a CSV of patients into KeyDB
version_added: 0.1.0
description:
  - Adds the patients that KeyDB does not know yet, giving each without a pseudonym an unguessable
    one. Pairs that exist are kept for ever.
  - A file with a problem is refused as a whole. All problems are named by line and column, never by
    value.
options:
  stack:
    description: Name of the Swarm stack.
    type: str
    required: true
  service:
    description: Name of the service in the stack.
    type: str
    default: keydb
  database:
    description: Name of the database.
    type: str
    default: key_db
  user:
    description: Superuser of the database.
    type: str
    required: true
  content:
    description:
      - Content of the CSV file. Its first line names the columns C(patient_id), and where wanted
        C(issuer) and C(pseudonym), separated by commas, semicolons, tabs or C(|).
    type: str
    required: true
  table:
    description:
      - Table or updatable view with the columns C(patient_id), C(issuer) and C(pseudonym), with its
        schema where that is not the first of the search path.
    type: str
    default: patient
  prefix:
    description: What every pseudonym made here begins with.
    type: str
    default: ANON-
  prefixes:
    description:
      - What a pseudonym must begin with, one of them, for CTP to let it out. A file with any other
        is refused. An empty list accepts every pseudonym.
    type: list
    elements: str
    default: []
  formats:
    description:
      - How values of the file look, as a list of regular expressions for a column, one of which has
        to fit each whole value. What fits is not asked whether a spreadsheet made it.
    type: dict
    default: {}
  wait:
    description: How long to wait for the database's answer, in seconds.
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description: Judges the file against the database and counts what would be added.
  diff_mode:
    support: none
    description: A difference would show identifiers.
author:
  - The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Load the patients
  auscat.imaging.keydb_load:
    stack: auscat
    user: key_admin
    content: "{{ lookup('ansible.builtin.file', 'patients.csv') }}"
    formats:
      patient_id: ['[0-9]{7}', '[0-9]{2}E[0-9]+']
"""

RETURN = r"""
added:
  description: Patients that were (in check mode would be) added.
  type: int
  returned: success
present:
  description: Patients of the file that KeyDB knew already.
  type: int
  returned: success
total:
  description: Patients in KeyDB now.
  type: int
  returned: success
problems:
  description: What is wrong with the file, by line and column.
  type: list
  elements: str
  returned: when the file is refused
"""

from collections.abc import Iterable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.services.key_list import (
    Key,
    Problem,
    foreign_prefix_problem,
    formats_problem,
    new_pseudonym,
    prefix_problem,
    read,
    remarks,
    report,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services.keydb import (
    Keydb,
    KeydbAbsentError,
    KeydbError,
    KeydbSilentError,
    copy_field,
    qualified,
    table_problem,
)

# A load sees the table as it will be when its rows are in: nobody else writes meanwhile, and CTP
# goes on reading.
_BEGIN = """
SET client_min_messages = error;
BEGIN;
SET LOCAL lock_timeout = '30s';
LOCK TABLE @table@ IN SHARE ROW EXCLUSIVE MODE;
CREATE TEMPORARY TABLE wanted (
    line integer, patient_id text, issuer text, pseudonym text, proposed text
) ON COMMIT DROP;
COPY wanted FROM STDIN;
"""

_JUDGE = """
ANALYZE wanted;
CREATE TEMPORARY TABLE fresh ON COMMIT DROP AS
    SELECT wanted.* FROM wanted
    WHERE NOT EXISTS (SELECT FROM @table@ p
                      WHERE (p.patient_id, p.issuer) = (wanted.patient_id, wanted.issuer));
ANALYZE fresh;
CREATE TEMPORARY TABLE conflict ON COMMIT DROP AS
    SELECT w.line, 'kept' AS kind FROM wanted w JOIN @table@ p USING (patient_id, issuer)
        WHERE w.pseudonym <> '' AND w.pseudonym <> p.pseudonym
    UNION ALL
    SELECT w.line, 'taken' FROM wanted w JOIN @table@ p USING (pseudonym)
        WHERE (w.patient_id, w.issuer) <> (p.patient_id, p.issuer)
    UNION ALL
    SELECT f.line, 'identifies' FROM fresh f
        WHERE EXISTS (SELECT FROM @table@ p WHERE p.patient_id = f.pseudonym)
    UNION ALL
    SELECT f.line, 'pseudonym' FROM fresh f
        WHERE EXISTS (SELECT FROM @table@ p WHERE p.pseudonym = f.patient_id);
SELECT count(*) AS added FROM fresh \\gset
SELECT count(*) AS conflicts FROM conflict \\gset
SELECT :conflicts = 0 AS accepted \\gset
\\if :accepted
"""

_INSERT = """
INSERT INTO @table@ (patient_id, issuer, pseudonym)
    SELECT patient_id, issuer, coalesce(nullif(pseudonym, ''), proposed) FROM fresh ORDER BY line;
"""

_END = """
\\endif
SELECT json_build_object(
    'added', :added,
    'total', (SELECT count(*) FROM @table@),
    'conflicts', (SELECT coalesce(json_agg(json_build_array(line, kind)), '[]') FROM conflict));
COMMIT;
"""

CONFLICTS = {
    "kept": ("pseudonym", "differs from the one that KeyDB keeps for this patient"),
    "taken": ("pseudonym", "is that of another patient in KeyDB"),
    "identifies": ("pseudonym", "is the patient_id of a patient in KeyDB: it would identify one"),
    "pseudonym": ("patient_id", "is a pseudonym in KeyDB, not the identifier of a patient"),
}


#: Most problems that the message itself names; the result lists them all.
SHOWN = 20


def statements(keys: Iterable[Key], prefix: str, check_only: bool, table: str = "patient") -> str:
    """Return what psql is to read: one transaction that judges the keys and adds the new ones."""
    rows = [
        "\t".join(
            (
                str(key.line),
                copy_field(key.patient_id),
                copy_field(key.issuer),
                copy_field(key.pseudonym),
                "" if key.pseudonym else new_pseudonym(prefix),
            )
        )
        for key in keys
    ]
    insert = "" if check_only else _INSERT
    begin, judge, insert, end = (
        part.replace("@table@", qualified(table)) for part in (_BEGIN, _JUDGE, insert, _END)
    )
    return begin.lstrip() + "\n".join([*rows, "\\."]) + judge + insert + end


def refusal(problems: Iterable[Problem]) -> dict[str, object]:
    """Return the arguments of ``fail_json`` for a file with problems."""
    texts = report(problems)
    more = len(texts) - SHOWN
    shown = texts[:SHOWN] + (
        [f"and {more} more, in the result's list of problems"] if more > 0 else []
    )
    return {
        "msg": "The file was refused; nothing was loaded. "
        + "; ".join(shown)
        + ". Correct the file and load it again (docs/keydb.md).",
        "problems": texts,
    }


def explanation(error: KeydbError, database: str, table: str = "patient") -> str:
    """Return what an operator can do about `error`."""
    message = str(error)
    if isinstance(error, (KeydbAbsentError, KeydbSilentError)):
        return f"{message} Nothing was loaded. Bring the service up (site.yml), then load the file."
    if f'relation "{table}" does not exist' in message:
        return (
            f"The database {database} has no table {table}: it was not created by this project's "
            "image. Name the table or view that has the columns patient_id, issuer and pseudonym "
            "(keydb_table), or apply images/keydb/schema.sql (docs/keydb.md). Nothing was loaded."
        )
    if "_dicom_lo" in message:
        return (
            f"The table {table} refuses a value that begins or ends with a no-break space: its "
            "schema is older than 3. Run site.yml, which brings it to that of KeyDB's image "
            "(docs/keydb.md). Nothing was loaded."
        )
    if "lock timeout" in message:
        return (
            f"Another session has held {table} for 30 seconds. Nothing was loaded. Load "
            "the file again when it has ended."
        )
    return message


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "service": {"type": "str", "default": "keydb"},
            "database": {"type": "str", "default": "key_db"},
            "user": {"type": "str", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},
            "prefix": {"type": "str", "default": "ANON-"},
            "prefixes": {"type": "list", "elements": "str", "default": []},
            "formats": {"type": "dict", "default": {}},
            "table": {"type": "str", "default": "patient"},
            "wait": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    prefix, prefixes = module.params["prefix"], module.params["prefixes"]
    wrong = (
        prefix_problem(prefix)
        or foreign_prefix_problem(prefix, prefixes)
        or formats_problem(module.params["formats"])
        or table_problem(module.params["table"])
    )
    if wrong:
        module.fail_json(msg=f"{wrong} Nothing was loaded.")
    keys, problems = read(module.params["content"], prefixes, module.params["formats"])
    if problems and not keys:
        module.fail_json(**refusal(problems))

    # A file that is refused already is still compared with the database, so that all that is wrong
    # with it is told at once.
    try:
        database = Keydb(
            module.params["stack"],
            module.params["service"],
            module.params["user"],
            module.params["wait"],
        )
        result = database.query(
            statements(
                keys,
                prefix,
                check_only=module.check_mode or bool(problems),
                table=module.params["table"],
            ),
            database=module.params["database"],
        )
    except KeydbError as error:
        if problems:
            module.fail_json(**refusal(problems))
        module.fail_json(msg=explanation(error, module.params["database"], module.params["table"]))

    problems += [Problem(line, *CONFLICTS[kind]) for line, kind in result["conflicts"]]
    if problems:
        module.fail_json(**refusal(problems))
    for remark in remarks(keys):
        module.warn(f"{remark} (docs/keydb.md).")
    module.exit_json(
        changed=result["added"] > 0,
        added=result["added"],
        present=len(keys) - result["added"],
        total=result["total"],
    )


if __name__ == "__main__":
    main()
