"""A service that is a role and lines of an inventory is deployed, and all that looks sees it."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

from conftest import Site, sql
from shared.documented import command
from shared.fourth import differing
from shared.machines import Machine, Node, Outcome

OTHERS = ("auscat_ctp", "auscat_ctp_export", "auscat_front", "auscat_keydb", "auscat_orthanc")
BACKED_UP = 3


def containers(node: Node) -> dict[str, str]:
    return {name: node.tasks(name)[0]["Id"] for name in OTHERS}


def said(outcome: Outcome) -> str:
    """What the tasks of a run have shown, without the tasks themselves."""
    return "\n".join(str(result["msg"]) for _, result in outcome.results if "msg" in result)


def test_it_is_deployed_beside_the_others(
    site: Site, node: Node, pacs: Machine, stranger: Machine
) -> None:
    assert {name.split("/")[1] for name in differing(site.tree)} == {"notes"}
    assert set(node.services()) == set(OTHERS)
    before = containers(node)

    outcome = site.play(*command("docs/two-machines.md", "playbooks/init_secrets.yml"))
    assert outcome.returncode == 0, outcome.errors
    assert set(site.secrets()) == {"vault_notes_password", "vault_notes_reader_password"}
    outcome = site.play("site.yml")
    assert outcome.returncode == 0, outcome.errors
    assert re.search(r"notes +.*healthy", said(outcome))
    for value in site.secrets().values():
        assert value not in outcome.text

    node.wait_until_healthy(len(OTHERS) + 1)
    assert containers(node) == before
    (task,) = node.tasks("auscat_notes")
    secret = ("stat", "--format=%a %u", "/run/secrets/notes_pass")
    assert node.output("docker", "exec", task["Id"], *secret) == "400 64432"
    assert node.output("stat", "-c", "%a %u", "/srv/auscat/notes") == "700 64432"
    assert pacs.connects(node.address, 5434)
    assert not stranger.connects(node.address, 5434)

    # The inventory's auscat_config_root.
    assert node.run("test", "-e", "/etc/auscat", check=False).returncode == 1
    assert node.output("ls", "/etc/imaging-node/stack-auscat.json")

    again = site.play("site.yml")
    assert (again.returncode, again.changed) == (0, 0), again.changed_tasks


def test_one_that_waits_for_nobody_is_refused(site: Site, node: Node) -> None:
    declared = site.tree / "roles/notes/vars/main.yml"
    sound = declared.read_text()
    declared.write_text(sound.replace("\nnotes_service:", "\nnotes_service:\n  after: [orthank]"))
    before = {name: tasks[0]["Id"] for name in node.services() if (tasks := node.tasks(name))}
    try:
        refused = site.play("site.yml")
    finally:
        declared.write_text(sound)
    assert refused.returncode != 0
    assert re.search(
        "notes_service: after names 'orthank'. Accepted: another service .*ctp, .*orthanc",
        refused.errors,
    ), refused.errors
    assert refused.changed_tasks == []
    assert {name: node.tasks(name)[0]["Id"] for name in before} == before


def test_it_is_seen(site: Site, node: Node, tmp_path: Path) -> None:
    status = site.play("playbooks/status.yml")
    assert status.returncode == 0, status.errors
    assert re.search(r"node +notes +ok +healthy", said(status))
    found = site.play(
        "playbooks/troubleshoot.yml",
        troubleshoot_phantom=False,
        troubleshoot_bundle_directory=str(tmp_path),
    )
    assert found.returncode == 0, found.errors
    diagnosis = said(found)
    running = re.search(r"ok +node +The services run +([a-z_, ]+)", diagnosis)
    assert running, diagnosis
    assert {f"auscat_{name}" for name in running[1].strip().split(", ")} == {
        *OTHERS,
        "auscat_notes",
    }
    assert re.search(r"ok +node .*5434 \(Notes, for who writes them\)", diagnosis), diagnosis
    (bundle,) = tmp_path.glob("troubleshoot-*.tar.gz")
    with tarfile.open(bundle) as archive:
        assert any(name.endswith("/node-notes.log") for name in archive.getnames())
    ports = site.play("playbooks/port_table.yml")
    assert re.search(r"10\.213\.97\.11 .* 5434 +tcp +Notes,", said(ports))


def test_it_is_backed_up_and_restored(site: Site, node: Node) -> None:
    sql(node, "CREATE TABLE note (text text)")
    sql(node, "INSERT INTO note VALUES ('one'), ('two'), ('three')")
    done = site.play("playbooks/backup.yml")
    assert done.returncode == 0, done.errors
    # With the one row that the image itself makes (schema_version).
    assert re.search(rf"{BACKED_UP + 1} rows of notes", done.text), done.text[-3000:]
    tried = site.play("playbooks/backup_verify.yml")
    assert tried.returncode == 0, tried.errors
    assert f"{BACKED_UP + 1} rows of Notes" in tried.text

    sql(node, "DROP TABLE note")
    restored = site.play("playbooks/restore.yml", restore_replace="node")
    assert restored.returncode == 0, restored.errors
    node.wait_until_healthy(len(OTHERS) + 1)
    assert sql(node, "SELECT count(*) FROM note") == str(BACKED_UP)


def test_its_passwords_are_rotated(site: Site, node: Node) -> None:
    before = site.secrets()
    outcome = site.play("playbooks/rotate_secrets.yml", "--skip-tags", "verify")
    assert outcome.returncode == 0, outcome.errors
    after = site.secrets()
    assert set(before) == set(after)
    assert not set(before.values()) & set(after.values())
    for row in (
        r"notes_password, user notes_admin +notes +refused +accepted +auscat_notes_pass_v\d",
        r"notes_reader_password, user ctp_key_db_select +notes +refused +accepted +auscat_notes_r",
    ):
        assert re.search(row, outcome.text), outcome.text[-3000:]
    for value in {*before.values(), *after.values()}:
        assert value not in outcome.text
    assert sql(node, "SELECT count(*) FROM note") == str(BACKED_UP)


def test_it_is_torn_down_with_the_others(site: Site, node: Node) -> None:
    assert node.output("cat", "/usr/local/share/auscat-notes") == "Port 5434"
    kept = site.play("playbooks/teardown.yml")
    assert kept.returncode == 0, kept.errors
    assert "/usr/local/share/auscat-notes" in kept.text
    assert node.services() == {}
    left = node.output("docker", "secret", "ls", "--quiet")
    assert left == ""
    assert node.run("test", "-e", "/usr/local/share/auscat-notes", check=False).returncode == 1
    assert node.output("ls", "/srv/auscat/notes")
    gone = site.play("playbooks/teardown.yml", teardown_data="node")
    assert gone.returncode == 0, gone.errors
    assert node.run("test", "-e", "/etc/imaging-node", check=False).returncode == 1
    assert node.run("test", "-e", "/srv/auscat/notes", check=False).returncode == 1
