"""What an upgrade would change is shown version by version, and what cannot work is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

from conftest import containers, script
from shared.ctp_node import Patient
from shared.documented import command
from shared.machines import Node, Scenario
from shared.streams import Rest, Stream, balance, ct_slices

VERSION = "LABEL org.opencontainers.image.version="


def test_version_by_version(
    scenario: Scenario,
    node: Node,
    orthanc: Rest,
    load: Callable[..., None],
    quarantined: Callable[[], set[str]],
    version_of: Callable[..., str],
    patient: Patient,
) -> None:
    # A node without a study has no file to link, and the preview does not speak of any.
    load(patient)
    with Stream(node, ct_slices(patient.patient_id, 4, 64)) as stream:
        stream.wait(4)
    assert balance(orthanc, patient.pseudonym, stream, quarantined).arrived == 4
    wanted = version_of(
        "orthanc", "next", f'{VERSION}"2027.1"', "USER root", "RUN echo 13.99 >/etc/debian_version",
        "USER 64042:64042",
    )  # fmt: skip
    before = node.fingerprint()
    extra = {
        "orthanc_image": wanted,
        "orthanc_memory_mib": 1400,
        "orthanc_options": {"StableAge": 31},
        "ctp_stop_seconds": 50,
    }
    documented = command("docs/upgrade.md", "-e upgrade_preview=true")
    outcome = scenario.play(*documented, extra=extra)
    assert outcome.returncode == 0, outcome.errors
    (shown,) = (
        str(result["msg"]) for name, result in outcome.results if "Show what the upgrade" in name
    )
    print(shown)
    table = [re.sub(r"  +", " | ", line.strip()) for line in shown.splitlines()]
    version = node.output(
        "docker", "exec", containers(node)["auscat_orthanc"], "Orthanc", "--version"
    )
    (program,) = (line.split()[1] for line in version.splitlines() if line.startswith("Orthanc"))
    debian = node.output(
        *("docker", "exec", containers(node)["auscat_orthanc"], "cat", "/etc/debian_version")
    )
    assert f"version | Orthanc {program}" in table
    assert f"version | debian {debian} -> 13.99" in table
    assert "version | label none -> 2027.1" in table
    assert "changes | resources.limits.memory 1280M -> 1400M" in table
    assert "changes | secret orthanc.json" in table
    assert re.search(
        r"data \| \d+ MiB copied, [1-9]\d* files linked to /srv/auscat/.upgrade/orthanc",
        "\n".join(table),
    )
    assert "changes | stop_grace_period 90s -> 80s" in table
    assert "In this order, each until it is healthy: orthanc, ctp" in shown
    assert re.search(r"^keydb +stays +healthy", shown, re.MULTILINE)
    assert node.variables["ctp_admin_password"] not in outcome.text
    assert outcome.changed_tasks == []
    assert node.fingerprint() == before


def test_another_postgresql_is_refused(
    scenario: Scenario, node: Node, version_of: Callable[..., str]
) -> None:
    # Another major version cannot be had here: a program of its name that says so stands for it.
    says = script("/usr/local/bin/postgres", "#!/bin/sh", "echo 'postgres (PostgreSQL) 18.1'")
    wanted = version_of(
        "keydb", "18", "USER root", says, "RUN chmod 755 /usr/local/bin/postgres",
        "ENV PATH=/usr/local/bin:$PATH", "USER 64432:64432",
    )  # fmt: skip
    before = node.fingerprint()
    outcome = scenario.play("playbooks/upgrade.yml", extra={"keydb_image": wanted})
    assert outcome.returncode != 0
    assert re.search(
        r"keydb: its data were made by PostgreSQL 17, and the wanted image has PostgreSQL 18, "
        r"which does not read them. Set keydb_image to .* Nothing was changed on node",
        outcome.errors,
    ), outcome.errors
    assert node.fingerprint() == before


def test_an_unhealthy_node_is_refused(scenario: Scenario, node: Node) -> None:
    node.run("docker", "service", "update", "--detach", "--quiet", "--replicas", "0", "auscat_ctp")
    try:
        before = node.services()
        outcome = scenario.play("playbooks/upgrade.yml", extra={"orthanc_memory_mib": 1400})
        assert outcome.returncode != 0
        assert re.search(
            r"The service ctp \(.*\) is not healthy now. Find out why first .* override with -e "
            r"upgrade_unhealthy=true. Nothing was changed on node",
            outcome.errors,
        ), outcome.errors
        assert node.services() == before
    finally:
        node.run("docker", "service", "rollback", "--detach", "--quiet", "auscat_ctp")
        node.wait_until_healthy(6)
