"""Each guardrail of production: the error says it, and both machines stay as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shared.machines import Machine
from shared.refusals import Case, Refusals, problems
from sites import VAULT, Site, assert_refused

WORLD = "to the whole world"
# Whom containers may connect to is not looked at where one of these says that it has no limits.
UNLIMITED = ("firewall_restrict_published_ports", "firewall_outgoing")

CASES = [
    # --- Passwords
    Case(
        "default password of a user",
        {"orthanc_registered_users": {"admin": "admin"}},
        [r"orthanc_registered_users\['admin'\] is a default password", "at least 16 characters"],
    ),
    Case(
        "long default password",
        {"ctp_admin_password": "adminadminadminadmin"},
        ["ctp_admin_password is a default password"],
    ),
    Case(
        "short password",
        {"keydb_ctp_password": "f7Qk29xZpL04vRt"},
        ["keydb_ctp_password is shorter than 16 characters", "init_secrets"],
        ["f7Qk29xZpL04vRt"],
    ),
    Case(
        "one password for two users",
        {"orthanc_registered_users": {"a": "f7Qk29xZpL04vRtW", "b": "f7Qk29xZpL04vRtW"}},
        [r"orthanc_registered_users\['a'\], .*\['b'\] are one and the same password"],
        ["f7Qk29xZpL04vRtW"],
    ),
    Case(
        "one password on both machines",
        {"orthanc_registered_users": {"admin": "{{ vault_keydb_password }}"}},
        [r"keydb_password, orthanc_registered_users\['admin'\] are one and the same password"],
    ),
    Case(
        "digits without quotes",
        {"keydb_password": 12345678},
        ["keydb_password is shorter than 16 characters"],
    ),
    Case(
        "line break at the end, as a YAML block has it",
        {"ctp_admin_password": "f7Qk29xZpL04vRtWq\n"},
        ["ctp_admin_password has a line break", "one line", "ansible-vault edit"],
        ["f7Qk29xZpL04vRtWq"],
    ),
    Case(
        "line break",
        {"keydb_ctp_password": "f7Qk29xZpL04vRtWr\nf7Qk29xZ"},
        ["keydb_ctp_password has a line break"],
        ["f7Qk29xZpL04vRtWr"],
    ),
    Case(
        "NUL in a user's password",
        {"orthanc_registered_users": {"admin": "f7Qk29xZpL04vRtWs\0"}},
        [r"orthanc_registered_users\['admin'\] has a NUL"],
        ["f7Qk29xZpL04vRtWs"],
    ),
    Case(
        "byte order mark",
        {"keydb_password": "\ufefff7Qk29xZpL04vRtWt"},
        ["keydb_password has a byte order mark"],
        ["f7Qk29xZpL04vRtWt"],
    ),
    Case(
        "white space at an end",
        {"ctp_admin_password": "f7Qk29xZpL04vRtWu "},
        ["ctp_admin_password has white space at an end"],
        ["f7Qk29xZpL04vRtWu"],
    ),
    # --- Access
    Case(
        "no login",
        {"orthanc_authentication_enabled": False},
        ["orthanc_authentication_enabled is False", "Accepted: true"],
    ),
    Case(
        "LDAP without TLS",
        {
            "orthanc_ldap": {"servers": ["dc1"], "base": "dc=x", "tls": "none"}
            | {"groups": {"reader": ["cn=readers,dc=x"]}},
            "orthanc_directory_password": "hM3v9TqWc71ZkpRx",
        },
        [r"orthanc_ldap\.tls is 'none'", "ldaps or starttls"],
    ),
    Case(
        "OpenID Connect without TLS",
        {
            "orthanc_oidc": {"issuer": "http://login.hospital.example", "client_id": "node"}
            | {"page_url": "https://images.hospital.example", "groups": {"reader": ["readers"]}},
            "orthanc_oidc_client_secret": "given-by-the-provider",
            "orthanc_directory_password": "hM3v9TqWc71ZkpRy",
        },
        [r"orthanc_oidc\.issuer is 'http:", "https://"],
        ["given-by-the-provider"],
    ),
    Case(
        "a directory of nobody",
        {"orthanc_ldap": {"servers": ["dc1"], "base": "dc=x", "groups": {}}},
        [r"orthanc_ldap\.groups has \[\]", "orthanc_directory_password is missing"],
        alone=True,
    ),
    Case(
        "remote access without users",
        {"orthanc_remote_access_allowed": True, "orthanc_registered_users": {}},
        ["orthanc_registered_users is empty", "at least one user"],
    ),
    # --- Who is told of alerts
    Case(
        "a webhook without TLS, with its token in the URL",
        {
            "auscat_notify": {"webhook": {"url": "http://hooks.example/token-c93d1f60"}}
            | {"mail": {"host": "mail.hospital.example", "from": "node", "user": "node"}},
        },
        [r"auscat_notify\.webhook\.url begins with http:", "https://HOST/PATH", "Correct it"],
        ["token-c93d1f60"],
    ),
    Case(
        "mail to nobody, from no address, with half a login",
        {
            "auscat_notify": {"webhook": {"url": "http://hooks.example/token-c93d1f60"}}
            | {"mail": {"host": "mail.hospital.example", "from": "node", "user": "node"}},
        },
        [r"auscat_notify\.mail lacks to\. Accepted: a mapping with host, from, to"],
    ),
    Case(
        "a header that breaks a line",
        {"auscat_notify_webhook_headers": {"Authorization": "Bearer 4c1\nX-Other: 80d2"}},
        [r"auscat_notify_webhook_headers\['Authorization'\] has a line break"],
        ["80d2"],
    ),
    # --- What runs
    Case(
        "stand-in",
        {"auscat_rehearsal": False, "ctp_flavour": "standin"},
        ["ctp_flavour is 'standin'", "Accepted in production: a real CTP"],
    ),
    Case(
        "stand-in in the place of CTP",
        {"auscat_rehearsal": False},
        ["ctp_distribution is 'standin'", "Accepted in production: a real CTP"],
    ),
    Case(
        "CTP without a checksum",
        {"ctp_distribution": __file__},
        ["ctp_distribution_checksum is ''", "`sha256sum ", "does not prove that it is genuine"],
        apart=["ctp_flavour", "auscat_rehearsal"],
    ),
    Case(
        "image without a digest",
        {"orthanc_image": "auscat/orthanc:1.12.7"},
        ["orthanc_image is 'auscat/orthanc:1.12.7'", "@sha256:"],
    ),
    Case(
        "archive without a checksum",
        {"images_source": "archive", "images_archive_checksum": ""},
        ["images_archive_checksum is ''", "64 hexadecimal digits"],
        apart=["orthanc_image"],
    ),
    # --- The viewer, and Orthanc's plugins
    Case(
        "viewer without its archive",
        {"orthanc_viewer": "ohif"},
        ["orthanc_viewer_archive is empty", "npm pack @ohif/app@"],
        alone=True,
    ),
    Case(
        "another archive of the viewer",
        {"orthanc_viewer": "ohif", "orthanc_viewer_archive": "/etc/hostname"},
        ["orthanc_viewer_archive is '/etc/hostname', which has the SHA-512 ", "npm pack @ohif/"],
        alone=True,
    ),
    Case(
        "another viewer",
        {"orthanc_viewer": "weasis"},
        ["orthanc_viewer is 'weasis'", "none, ohif"],
    ),
    Case(
        "plugin that hands out files",
        {"orthanc_plugins": ["serve-folders"]},
        ["orthanc_plugins", "serve-folders", "web-viewer"],
    ),
    # --- Ports
    Case("nobody declared", {"ctp_dicom_sources": []}, ["ctp_dicom_sources is empty", "8104"]),
    Case("world", {"orthanc_web_sources": ["0.0.0.0/0"]}, ["orthanc_web_sources", "8042", WORLD]),
    Case("world, IPv6", {"keydb_sources": ["10.0.0.0/8", "::/0"]}, ["keydb_sources", WORLD]),
    Case(
        "world in two halves",
        {"ctp_web_sources": ["0.0.0.0/1", "128.0.0.0/1"]},
        ["ctp_web_sources", "9090", WORLD],
    ),
    Case(
        "ports without limits",
        {"firewall_restrict_published_ports": False},
        ["firewall_restrict_published_ports is false"],
    ),
    Case(
        "a modality that nobody can look up",
        {"orthanc_options": {"DicomModalities": {"cad": ["CAD", "cad.nowhere.invalid", 104]}}},
        ["orthanc_options.DicomModalities.cad is 'cad.nowhere.invalid'", "an IPv4 address"],
        apart=UNLIMITED,
    ),
    Case(
        "modalities that the inventory does not name",
        {"orthanc_options": {"DicomModalitiesInDatabase": True}},
        ["DicomModalitiesInDatabase is true, and orthanc_outgoing is empty"],
        apart=UNLIMITED,
    ),
    Case(
        "somebody who has no IPv4",
        {"ctp_outgoing": ["10.1.2.3:104", "2001:db8::/32"]},
        [r"ctp_outgoing\[1\] is '2001:db8::/32'", "It has IPv6 alone"],
        apart=UNLIMITED,
    ),
    Case(
        "no list for others",
        {"firewall_outgoing_of": {"monitoring": "10.1.2.3"}},
        ["firewall_outgoing_of.monitoring is '10.1.2.3'. Accepted: a list"],
        apart=UNLIMITED,
    ),
    Case(
        "limits of another kind",
        {"firewall_outgoing": "some"},
        ["firewall_outgoing is 'some'", "named, any"],
    ),
    Case(
        "a whole private range",
        {"keydb_sources": ["10.0.0.0/9", "10.128.0.0/9"]},
        ["keydb_sources is .*5433", "the private range 10.0.0.0/8", "65536"],
        # It holds the other machine as well, which is a problem of its own.
        alone=True,
    ),
    Case(
        "link-local",
        {"keydb_sources": ["169.254.1.1"]},
        ["keydb_sources has 169.254.1.1/32", "link-local"],
    ),
    Case(
        "unspecified address",
        {"ctp_dicom_sources": ["0.0.0.0"]},
        ["ctp_dicom_sources has 0.0.0.0/32", "no machine sends from"],
    ),
    Case(
        "the de-identified machine, by its group",
        {"keydb_sources": ["catvm"]},
        [r"keydb_sources has catvm \(10.213.81.20/32\), which lets cv01", "5433"],
    ),
    Case(
        "the de-identified machine, by a network",
        {"ctp_web_sources": ["10.213.81.0/24"]},
        ["ctp_web_sources has 10.213.81.0/24, which lets cv01", "9090"],
    ),
    # --- Data
    Case(
        "system disk",
        {"host_volume_allow_system_disk": False},
        ["auscat_data_root is /srv/auscat, which lies on the system disk"],
        apart=["host_volume_device"],
    ),
    Case(
        "a disk that is not there",
        {"host_volume_device": "/dev/disk/by-id/no-such-disk"},
        ["host_volume_device is /dev/disk/by-id/no-such-disk, and there is no such block device"],
    ),
    Case(
        "encryption of nothing",
        {"host_volume_encryption": True},
        ["host_volume_encryption is true and host_volume_device is empty"],
        apart=["host_volume_device"],
    ),
    Case(
        "less free space than declared",
        {"orthanc_free_gib": 9000},
        ["GiB free", "at least 9000 GiB", "orthanc"],
    ),
    # --- Names that nobody knows, in a simulation as well
    Case(
        "slip in the name of a variable",
        {"orthanc_web_prt": 70},
        ["orthanc_web_prt is set on the command line", "The nearest is orthanc_web_port"],
    ),
    Case(
        "unknown key of a mapping",
        {"firewall_ports": [{"published": 18123, "sources": [], "purpos": "x"}]},
        [r"firewall_ports\[0\] has the unknown key 'purpos'", "The nearest is purpose"],
    ),
    Case(
        "time zone that the images do not have",
        {"auscat_timezone": "Australia/NSW"},
        ["auscat_timezone is 'Australia/NSW'", "It is Australia/Sydney by an old name"],
    ),
    Case(
        "name that Swarm refuses",
        {"auscat_stack_name": "aus.cat"},
        ["auscat_stack_name is 'aus.cat'", "letters, digits, - and _"],
    ),
    Case(
        "proxy without a scheme",
        {"auscat_http_proxy": "me:hunter2@proxy.hospital.example:3128"},
        ["auscat_http_proxy is", "Accepted: http://HOST:PORT"],
        ["hunter2"],
    ),
    Case(
        "mirror without a scheme",
        {"images_debian_mirror": "debian.hospital.example/debian"},
        ["images_debian_mirror has no http:// or https:// in front"],
    ),
    Case(
        "setting of the engine that a Swarm cannot live with",
        {"docker_engine_options": {"live-restore": True}},
        ["live-restore of docker_engine_options is true", "cannot become a Swarm"],
    ),
    Case(
        "networks for Docker that are too small",
        {"auscat_docker_address_pools": ["10.199.0.0/20"]},
        ["auscat_docker_address_pools is .*too small", "at least a /19"],
        apart=["orthanc_web_sources"],
    ),
    Case(
        "sources in a network of Docker's",
        {"orthanc_web_sources": ["172.17.9.0/24"]},
        ["orthanc_web_sources has 172.17.9.0/24, which lies in 172.17.0.0/16", "(docker0)"],
        apart=["auscat_docker_address_pools"],
    ),
    Case(
        "services as a list",
        {"auscat_services": ["keydb", "ctp", "orthanc"]},
        ["auscat_services is of the type list", "a mapping"],
        alone=True,
    ),
    # --- Machines
    Case(
        "one machine under two names",
        {"ansible_host": "auscat-test-guardrails-kv01"},
        ["ansible_host of kv01 is auscat-test-guardrails-kv01, and so is that of cv01"],
        alone=True,
    ),
]


@pytest.fixture(scope="module")
def refusals(production: Site) -> Refusals:
    """The runs of site.yml with these cases, several to a run."""
    return Refusals(CASES, lambda variables: production.play(**variables), production.fingerprints)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_inventory(refusals: Refusals, case: Case) -> None:
    outcome = refusals.check(case)
    assert "Nothing was changed on" in outcome.errors
    # One guardrail, one problem: the rest of the inventory is sound. (Of a machine with another
    # name, the certificate is for another one too.)
    others = [each for each in problems(outcome) if "certificate" not in each]
    assert len(others) <= 2 * len(refusals.beside(case))


def test_simulation_is_not_refused(production: Site) -> None:
    """The guardrails are those of production: a simulation may have all of this."""
    variables: dict[str, Any] = {
        "orthanc_registered_users": {"admin": "admin"},
        "keydb_password": "postgres",
        "ctp_dicom_sources": ["0.0.0.0/0"],
        "orthanc_web_sources": [],
        "auscat_rehearsal": False,
        "host_volume_allow_system_disk": False,
    }
    outcome = production.play("--tags", "preflight", auscat_environment="simulation", **variables)
    assert outcome.returncode == 0, outcome.errors


def test_vault_in_clear(production: Site, tmp_path: Path) -> None:
    site = production.variant(tmp_path)
    site.vault("decrypt")
    before = site.fingerprints()
    outcome = site.play()
    says = [f"{VAULT} is not encrypted", "ansible-vault encrypt"]
    assert_refused(outcome, says)
    assert site.fingerprints() == before


@pytest.fixture
def deployed_data(machines: dict[str, Machine]) -> Iterator[str]:
    """What an earlier deployment leaves: the rendered stack file, and studies at its path."""
    source = "/srv/auscat/orthanc"
    volume = {"type": "bind", "source": source, "target": "/var/lib/orthanc/db"}
    document = {"version": "3.8", "services": {"orthanc": {"volumes": [volume]}}}
    machines["cv01"].run(
        *("bash", "-euc", f"mkdir -p /etc/auscat {source}; echo study > {source}/index"),
    )
    machines["cv01"].run(*("tee", "/etc/auscat/stack-auscat.json"), stdin=json.dumps(document))
    yield source
    machines["cv01"].run("rm", "-r", "/etc/auscat", "/srv/auscat")


def test_changed_data_path(
    production: Site, machines: dict[str, Machine], deployed_data: str
) -> None:
    before = production.fingerprints()
    outcome = production.play(auscat_data_root="/data/auscat")
    says = [
        "puts the data of orthanc at /data/auscat/orthanc",
        f"keeps it at {deployed_data}, which is not empty",
    ]
    assert_refused(outcome, says)
    assert production.fingerprints() == before
    # The old path, and an old path that has been emptied, are accepted.
    same = production.play("--tags", "preflight")
    assert same.returncode == 0, same.errors
    machines["cv01"].run("rm", f"{deployed_data}/index")
    moved = production.play("--tags", "preflight", auscat_data_root="/data/auscat")
    assert moved.returncode == 0, moved.errors
