"""teardown.yml takes the node away and nothing else; site.yml brings it back. Last of all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Site, load
from shared.ctp_node import Patient, new_patient
from shared.documented import command
from shared.machines import Machine, Node, wait_for
from shared.studies import Orthanc, Study, make_study, send

PLAYBOOK = "playbooks/teardown.yml"

# What other people have on the machine, and what is left of it.
FOREIGN = r"""
image=$(docker images --format '{{.Repository}}:{{.Tag}}' auscat-imaging/keydb | head -n 1)
docker network create foreign_network
# The image's own check would find no KeyDB, and Swarm would replace the container for ever.
docker run --detach --no-healthcheck --name foreign_container --network foreign_network \
  --publish 18080:80 --entrypoint sleep $image infinity
printf foreign | docker secret create foreign_secret -
printf foreign | docker config create foreign_config -
docker service create --quiet --detach --no-healthcheck --name foreign_service \
  --secret foreign_secret --config foreign_config --entrypoint sleep $image infinity
nft -f - <<'NFT'
table inet foreign {
    chain input {
        type filter hook input priority 5; policy accept;
        tcp dport 18081 counter drop
    }
}
NFT
printf '[Service]\nExecStart=/bin/sleep infinity\n' > /etc/systemd/system/foreign.service
systemctl daemon-reload
systemctl start foreign.service
echo somebody > /srv/auscat/of_somebody
"""
LOOK = r"""
docker inspect --format '{{.Id}} {{.State.StartedAt}}' foreign_container
docker service ps --quiet --filter desired-state=running foreign_service
docker secret ls --filter name=foreign --format '{{.ID}}'
docker config ls --filter name=foreign --format '{{.ID}}'
docker network ls --filter name=foreign --format '{{.ID}}'
nft --stateless list table inet foreign
nft --stateless list ruleset | grep -c 'dport 18080'
systemctl show --property=MainPID foreign.service
cat /srv/auscat/of_somebody
dpkg-query --show | sha256sum
sha256sum /etc/docker/daemon.json
"""
# As later versions of the node have them: known by their names alone.
OURS = r"""
units=/etc/systemd/system
printf '[Service]\nExecStart=/bin/true\n' > $units/auscat-example.service
printf '[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n' \
  > $units/auscat-example.timer
mkdir -p /var/lib/auscat /usr/local/lib/auscat
echo '{}' > /var/lib/auscat/example.json
echo true > /usr/local/lib/auscat/example
systemctl daemon-reload
systemctl enable --now auscat-example.timer
"""


def left(node: Node) -> list[str]:
    """What is left of the node, data and the engine's settings excepted."""
    return node.shell(
        r"""
        docker ps --all --format 'container {{.Names}}' | grep auscat_ || true
        docker service ls --format 'service {{.Name}}' | grep auscat_ || true
        docker secret ls --format 'secret {{.Name}}' | grep auscat_ || true
        docker config ls --format 'config {{.Name}}' | grep auscat || true
        docker network ls --format 'network {{.Name}}' | grep auscat_ || true
        nft list tables | grep auscat || true
        systemctl list-units --all --plain --no-legend 'auscat*' | cut -d ' ' -f 1
        find / -xdev \( -path /proc -o -path /sys -o -path /srv -o -path /var/lib/docker \
          -o -path /etc/systemd/system/docker.service.d/60-auscat.conf \
          -o -path /var/lib/containerd -o -path /var/cache -o -path /root -o -path /tmp \
          -o -path /run \) -prune -o -iname '*auscat*' -print
        """
    ).splitlines()


@pytest.fixture(scope="module")
def foreign(node: Node) -> str:
    """Things of other people, as they are before anything is removed."""
    node.shell(FOREIGN)
    node.shell(OURS)
    wait_for(
        "the foreign service runs",
        lambda: node.output("docker", "ps", "--quiet", "--filter", "name=foreign_service"),
    )
    return node.shell(LOOK)


@pytest.fixture(scope="module")
def researcher(site: Site, node: Node, pacs: Machine) -> Orthanc:
    """Orthanc's API with the password of the vault."""
    return Orthanc(pacs, node, "admin", site.values()["vault_orthanc_admin_password"])


@pytest.fixture(scope="module")
def patient() -> Patient:
    return new_patient()


@pytest.fixture(scope="module")
def stored(
    site: Site,
    node: Node,
    pacs: Machine,
    researcher: Orthanc,
    patient: Patient,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """A patient's study: SOP Instance UID to the hash of Orthanc's file."""
    directory: Path = tmp_path_factory.mktemp("studies")
    load(site, node, patient)
    study = make_study(directory / "known", patient.patient_id, patient.pseudonym)
    code, said = send(study, pacs, node)
    assert code == 0, said
    return researcher.wait_for(patient.pseudonym, study.instances, 120)


def test_a_check_shows_it_and_removes_nothing(
    site: Site, node: Node, stored: dict[str, str], foreign: str
) -> None:
    before = node.fingerprint()
    outcome = site.play(*command("docs/teardown.md", "playbooks/teardown.yml --check"))
    assert outcome.returncode == 0, outcome.errors
    for text in (
        "To be removed from node",
        "service auscat_ctp",
        "network auscat_ctp_to_keydb",
        "auscat_orthanc.json_v",
        "Delete the table inet auscat",
        "unit auscat-example.timer",
        "/etc/auscat",
        "Data: all of /srv/auscat",
    ):
        assert text in outcome.text, text
    (shown,) = [result["msg"] for name, result in outcome.results if "to be removed" in name]
    assert "foreign" not in shown
    assert node.fingerprint() == before


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"teardown_data": "nodes"}, "and nodes is not a machine of this run"),
        ({"teardown_data": "node,kv01"}, "and kv01 is not a machine of this run"),
        ({"teardown_data": "all"}, "and all is not a machine of this run"),
        ({"teardown_exports": "kv01"}, "teardown_exports is kv01, and kv01 is not a machine"),
        ({"teardown_swarm": True}, "the Swarm of node has .*service foreign_service"),
    ],
    ids=["wrong", "one wrong of two", "all", "exports", "a shared Swarm"],
)
def test_a_wrong_word_removes_nothing(
    site: Site, node: Node, stored: dict[str, str], foreign: str, extra: dict[str, Any], says: str
) -> None:
    before = node.fingerprint()
    outcome = site.play(PLAYBOOK, **extra)
    assert outcome.returncode != 0
    assert re.search(says, outcome.errors), outcome.errors
    assert "Nothing was removed" in outcome.errors
    assert node.fingerprint() == before


def test_the_node_is_gone_and_its_data_is_not(
    site: Site, node: Node, stored: dict[str, str], foreign: str
) -> None:
    outcome = site.play(*command("docs/teardown.md", "playbooks/teardown.yml"))
    assert outcome.returncode == 0, outcome.errors
    assert "Removed from node" in outcome.text
    assert left(node) == []
    assert node.shell(LOOK) == foreign
    for directory in ("keydb", "orthanc", "ctp/temp"):
        assert node.output("ls", f"/srv/auscat/{directory}"), directory


def test_again_changes_nothing(site: Site, node: Node, foreign: str) -> None:
    outcome = site.play(PLAYBOOK)
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0, outcome.changed_tasks
    assert "To be removed from node: nothing" in outcome.text
    assert node.shell(LOOK) == foreign


def test_site_brings_it_back(
    site: Site,
    node: Node,
    pacs: Machine,
    researcher: Orthanc,
    patient: Patient,
    stored: dict[str, str],
    foreign: str,
    tmp_path: Path,
) -> None:
    """Every study, and the pair of keys: the patient's next study gets the same pseudonym."""
    outcome = site.play(*command("docs/teardown.md", "site.yml"))
    assert outcome.returncode == 0, outcome.errors
    assert node.shell(LOOK) == foreign
    assert researcher.hashes(patient.pseudonym) == stored
    later: Study = make_study(tmp_path / "later", patient.patient_id, patient.pseudonym, 2)
    code, said = send(later, pacs, node)
    assert code == 0, said
    researcher.wait_for(patient.pseudonym, len(stored) + 2, 120)


def test_data_goes_with_the_word_and_exports_do_not(
    site: Site, node: Node, stored: dict[str, str], foreign: str
) -> None:
    node.shell(
        "mkdir -p /srv/auscat/quarantine-export/20260101T000000Z"
        " && cd /srv/auscat/quarantine-export/20260101T000000Z"
        " && echo file,reason,why > manifest.csv && touch 000001.dcm 000002.dcm"
    )
    documented = command("docs/teardown.md", "-e teardown_data=cat01", {"cat01": "node"})
    outcome = site.play(*documented)
    assert outcome.returncode == 0, outcome.errors
    assert "/srv/auscat/quarantine-export/20260101T000000Z (2 objects, 0.0 MiB)" in outcome.text
    assert "-e teardown_exports=node" in outcome.text
    there = node.output("ls", "-A", "/srv/auscat").split()
    assert sorted(there) == ["of_somebody", "quarantine-export"]
    exported = site.play(*command("docs/teardown.md", "teardown_exports=kv01", {"kv01": "node"}))
    assert exported.returncode == 0, exported.errors
    for directory in ("keydb", "orthanc", "ctp"):
        assert re.search(
            rf"data +/srv/auscat/{directory}$", outcome.text.replace("\\n", "\n"), re.M
        )
    assert node.output("ls", "-A", "/srv/auscat") == "of_somebody"
    assert left(node) == []
    assert node.shell(LOOK) == foreign


def test_the_swarm_goes_when_asked(site: Site, node: Node, foreign: str) -> None:
    node.run("docker", "service", "rm", "foreign_service")
    node.run("docker", "secret", "rm", "foreign_secret")
    node.run("docker", "config", "rm", "foreign_config")
    outcome = site.play(PLAYBOOK, teardown_swarm=True)
    assert outcome.returncode == 0, outcome.errors
    assert node.output("docker", "info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"
    assert node.output("docker", "inspect", "--format", "{{.State.Running}}", "foreign_container")
    again = site.play(PLAYBOOK, teardown_swarm=True, teardown_data="node")
    assert again.returncode == 0, again.errors
    assert again.changed == 0, again.changed_tasks
