"""Each command that the pages show is run by a test, which takes it from the page."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "molecule"))

from shared import documented  # noqa: E402

HAVE_A_TEST = sorted(
    [
        *(REPOSITORY / "molecule").glob("*/tests*/*.py"),
        *(REPOSITORY / "molecule/shared").glob("*.py"),
    ]
    + [*(REPOSITORY / "tests").rglob("*.py")]
)
TAKERS = ("command", "script")
"""Functions of `documented`, called with a page and a text."""


EXCEPTIONS = {
    "Nobody knows the address yet.": ["git clone ADDRESS-OF-THIS-REPOSITORY auscat-imaging"],
    "It changes the reader's shell and nothing else; tests have a directory and variables.": [
        "cd auscat-imaging",
        "source .venv/bin/activate",
        "sudo -i",
        "export ANSIBLE_VAULT_PASSWORD_FILE=FILE",
        "export ANSIBLE_VAULT_PASSWORD_FILE=~/.auscat-vault",
        # The fixture `told` of molecule/clients sets these.
        "export ORTHANC_HOST=cat.example ORTHANC_USER=researcher",
        "read -rs ORTHANC_PASSWORD && export ORTHANC_PASSWORD",
        "export PATIENT=ANON-2F6C91",
        "export CURL_CA_BUNDLE=$PWD/auscat-ca.pem SSL_CERT_FILE=$PWD/auscat-ca.pem"
        " REQUESTS_CA_BUNDLE=$PWD/auscat-ca.pem",
    ],
    "The tests run by it, or in it: it cannot run within them.": [
        "make test",
        "make lint",
        "make environment",
        "make machine",
        "pytest -q tests/quality",
        "pytest -q tests/unit/services",
        "tools/test.sh --changed",
        "molecule test -s resilience",
        "CTP_DISTRIBUTION=~/CTP-installer.jar molecule test -s resilience",
        "LOSSLESS_ROUNDS=5 molecule test -s resilience",
    ],
    "It deploys to the machine that runs the tests; what it plans is looked at.": [
        "make simulation",
    ],
    "It makes a release, of which there is one for each version.": [
        'PATH="$(tools/galaxy_environment.sh)/bin:$PATH" antsibull-changelog release',
    ],
    "It asks a hospital's own machine, by SSH, which the test hosts have not.": [
        "ssh -t auscat@10.20.1.10 sudo id",
        "ssh -t auscat@10.20.1.20 sudo id",
        "ssh kv01 sudo cat '/srv/auscat/quarantine-export/<time>/000001.0.png' > 000001.0.png",
    ],
    "The fixture `pydicer` of molecule/clients calls the environment's Python by its path.": [
        'source "$(tools/pydicer_environment.sh)/bin/activate"',
        "python pydicer_input.py",
    ],
}
"""By the reason why no test takes them from the page."""
NOT_RUN = [
    # An operator's own environment.
    "make operator",
    "sudo apt-get install --yes git make openssh-client python3-venv",
    "npm pack @ohif/app@3.13.2",
    # What a person does on a machine.
    "restic -r /mnt/backup/keys --password-file /etc/auscat/backup/identifiable.password snapshots",
    "storescu +tls pacs.key pacs.pem +cf auscat-ca.pem -aet PACS -aec CTP +sd study/ kv01 8104",
    # Another major version of PostgreSQL, of which there is no image to go to.
    "docker exec -i $(docker ps -qf name=auscat_keydb) pg_dumpall -U key_admin > /root/keydb.sql",
    "docker service scale auscat_keydb=0",
    "mv /srv/auscat/keydb /srv/auscat/keydb.old",
    "docker exec -i $(docker ps -qf name=auscat_keydb) psql -U key_admin -d postgres"
    " -c 'DROP DATABASE key_db'",
    "docker exec -i $(docker ps -qf name=auscat_keydb) psql -U key_admin -d postgres"
    " < /root/keydb.sql",
    "shred -u /root/keydb.sql",
    # A volume's key, and a move to another disk.
    "cryptsetup luksAddKey --key-file /etc/auscat/volume.key /dev/disk/by-id/DISK /root/new.key",
    "install -m 0400 /root/new.key /etc/auscat/volume.key",
    "cryptsetup luksKillSlot --key-file /etc/auscat/volume.key /dev/disk/by-id/DISK 0",
    "docker stack rm auscat",
    "systemctl stop docker.socket docker.service",
    "mv /srv/auscat /srv/auscat.old",
    # Where it is refused, molecule/auscat_ctp runs it.
    "ansible-playbook playbooks/roi_names.yml",
]
"""Not run by a test yet: nothing is added here."""
MOST_NOT_RUN = 18


class Take(NamedTuple):
    """A place in a test that takes a command, or a named block of them, from a page."""

    where: str
    page: str
    text: str
    is_block: bool = False

    def commands(self) -> list[str]:
        if self.is_block:
            # Another language's block has no command.
            return documented.lines(dict(documented.blocks(self.page)).get(self.text, ""))
        return [documented.found(self.page, self.text)]


def literals(node: ast.Call) -> list[str]:
    """The texts among the arguments that stand in the call itself."""
    return [
        each.value
        for each in node.args
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]


def takes_of(file: Path) -> Iterator[Take]:
    """Find ``command("page", "text")``, ``examples("page")["name"]`` and ``example("name")``."""
    name = str(file.relative_to(REPOSITORY))
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            texts = literals(node)
            if node.func.id in TAKERS and len(texts) == 2 and texts[0] in documented.PAGES:
                yield Take(where, texts[0], texts[1])
            # A fixture of the scenario, for its page.
            if node.func.id == "example" and texts and name.startswith("molecule/clients/"):
                yield Take(where, "docs/clients.md", texts[0], is_block=True)
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id == "examples"
            and isinstance(node.slice, ast.Constant)
        ):
            yield Take(
                where, f"docs/{literals(node.value)[0]}", str(node.slice.value), is_block=True
            )


@cache
def takes() -> tuple[Take, ...]:
    return tuple(
        take
        for file in HAVE_A_TEST
        if file != Path(__file__) and not file.parent.is_symlink()
        for take in takes_of(file)
    )


def taken() -> set[str]:
    """What is run by a test, each command without its inventory."""
    return {documented.shortened(each) for take in takes() for each in take.commands()}


def shown() -> list[tuple[str, str]]:
    return [(page, line) for page in documented.PAGES for line in documented.commands(page)]


def test_each_command_is_run_by_a_test_or_its_exception_says_why() -> None:
    done = taken() | {line for lines in (*EXCEPTIONS.values(), NOT_RUN) for line in lines}
    missing = [
        f"{page}: {line}" for page, line in shown() if documented.shortened(line) not in done
    ]
    assert not missing, (
        "No test takes these from their page (molecule/shared/documented.py): let the test that "
        "runs such a command take it, or name it in EXCEPTIONS with its reason:\n"
        + "\n".join(missing)
    )


def test_no_exception_is_left_over() -> None:
    """One of a command that a test runs by now, or that no page shows, hides the next one."""
    there = {documented.shortened(line) for _, line in shown()}
    excepted = [line for lines in (*EXCEPTIONS.values(), NOT_RUN) for line in lines]
    assert len(excepted) == len(set(excepted))
    assert [line for line in excepted if line not in there] == []
    assert sorted(set(excepted) & taken()) == []


def test_what_is_not_run_yet_does_not_grow() -> None:
    assert len(NOT_RUN) <= MOST_NOT_RUN
    assert not [line for line in NOT_RUN if line.startswith("ansible-playbook ") and "-e" in line]


@pytest.mark.parametrize("take", takes(), ids=lambda take: f"{take.page}: {take.text}")
def test_what_a_test_takes_is_one_command(take: Take) -> None:
    try:
        assert take.commands() or take.is_block, take.where
    except documented.NotDocumentedError as error:
        pytest.fail(f"{take.where}: {error}")


def test_the_takes_are_found() -> None:
    """The tests above would pass over a name that they do not know."""
    assert len(takes()) > 60
    assert {"docs/backup.md", "docs/clients.md", "docs/collection.md"} <= {t.page for t in takes()}


# --- What is taken from a page ----------------------------------------------------------------

PAGE = """# Page

```sh
cd there   # a comment
ansible-playbook -i inventories/production playbooks/one.yml --check   # nothing
ansible-playbook -i inventories/production playbooks/one.yml
ansible-playbook -i inventories/production playbooks/one.yml \\
    -e file='a file.csv'
```

```yaml
ansible-playbook: no command
```

<!-- example: own -->
```sh
sort --key=1 '# no comment' <name> > out
```
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"{tmp_path.name}.md"
    (tmp_path / name).write_text(PAGE)
    monkeypatch.setattr(documented, "REPOSITORY", tmp_path)
    return name


def test_the_commands_of_a_page(page: str) -> None:
    play = "ansible-playbook -i inventories/production playbooks/one.yml"
    assert documented.commands(page) == (
        "cd there",
        f"{play} --check",
        play,
        f"{play} -e file='a file.csv'",
        "sort --key=1 '# no comment' <name> > out",
    )
    assert [name for name, _ in documented.blocks(page)] == ["", "own"]


@pytest.mark.parametrize(
    ("text", "replaced", "expected"),
    [
        ("playbooks/one.yml", {}, ["playbooks/one.yml"]),
        ("--check", {}, ["playbooks/one.yml", "--check"]),
        (
            "-e file=",
            {"'a file.csv'": "/my own.csv"},
            ["playbooks/one.yml", "-e", "file=/my own.csv"],
        ),
        ("cd there", {"there": "/tmp"}, ["cd", "/tmp"]),
    ],
)
def test_a_command_is_given_as_arguments(
    page: str, text: str, replaced: dict[str, str], expected: list[str]
) -> None:
    assert documented.command(page, text, replaced) == expected


@pytest.mark.parametrize(
    ("text", "replaced", "says"),
    [
        ("playbooks/two.yml", {}, "has no command with 'playbooks/two.yml'"),
        ("one.yml", {}, "has 3 commands"),
        ("--check", {"missing.csv": "x"}, "has no 'missing.csv', which a test replaces"),
    ],
)
def test_what_a_page_has_not_is_an_error(
    page: str, text: str, replaced: dict[str, str], says: str
) -> None:
    with pytest.raises(documented.NotDocumentedError, match=says):
        documented.command(page, text, replaced)


def test_a_playbook_is_the_same_with_another_inventory_and_from_the_collection() -> None:
    wanted = "ansible-playbook playbooks/status.yml -e x=1"
    for line in (
        "ansible-playbook -i INVENTORY auscat.imaging.status -e x=1",
        "ansible-playbook -i inventories/simulation playbooks/status.yml -e x=1",
    ):
        assert documented.shortened(line) == wanted
    assert (
        documented.shortened("ansible-playbook -i A auscat.imaging.site")
        == "ansible-playbook site.yml"
    )
