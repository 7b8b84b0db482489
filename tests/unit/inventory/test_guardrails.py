from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import guardrails
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.guardrails import Credential

STRONG = "kN14Z1KjZUACSOYZ"
DIGEST = "sha256:" + "0a1b" * 16


def agrees(problems: list[str], words: list[str]) -> None:
    """Assert that there are problems exactly where words are expected, and that they are said."""
    text = "\n".join(problems)
    assert bool(problems) == bool(words), text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("a password", ["x_password"]),
        ({"admin": "one", "user": "two"}, ["x_password['admin']", "x_password['user']"]),
        # What follows is reported as empty or of the wrong type by another check.
        ("  ", []),
        (None, []),
        ({"admin": ""}, []),
        # Digits that nobody has put between quotes.
        (1234567, ["x_password"]),
        ({"admin": 1234567}, ["x_password['admin']"]),
        (["a password"], []),
        ([{"name": "rita", "password": "one"}], ["x_password['rita']"]),
        ([{"name": "rita", "password": ""}, {"name": 1, "password": "x"}, {"role": "x"}], []),
    ],
)
def test_credentials(value: Any, labels: list[str]) -> None:
    assert [each.label for each in guardrails.credentials_of("x_password", value)] == labels


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        ("", STRONG, []),
        ("admin", STRONG, []),
        ("", "kN14Z1KjZUACSOY", ["x_password is shorter than 16 characters", "init_secrets"]),
        ("", "changeme", ["x_password is a default password"]),
        ("", "Postgres", ["default password"]),
        ("", "admin123", ["default password"]),
        ("", "orthancorthancorthanc", ["default password"]),
        ("", "passwordpassword1!", ["default password"]),
        ("researcher-at-the-site", "Researcher-at-the-site", ["default password"]),
        ("", "abababababababababab", ["fewer than 6 different characters"]),
        # A default word is no default password when it is only a part.
        ("", "admin-kN14Z1KjZUACS", []),
    ],
)
def test_passwords(user: str, password: str, words: list[str]) -> None:
    problems = guardrails.password_problems([Credential("x_password", user, password)])
    agrees(problems, words)
    assert password not in "\n".join(problems)


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (
            [Credential("a_password", "", STRONG), Credential("b_users", "admin", STRONG)],
            ["a_password, b_users['admin'] are one and the same password"],
        ),
        (
            [Credential("b_users", "one", STRONG), Credential("b_users", "two", STRONG)],
            ["b_users['one'], b_users['two'] are one"],
        ),
        # One variable that several machines know is one password.
        ([Credential("a_password", "", STRONG), Credential("a_password", "", STRONG, False)], []),
        # A machine reports what concerns it.
        (
            [Credential("a_password", "", STRONG, False), Credential("b_password", "", STRONG)],
            ["a"],
        ),
        (
            [Credential("a_password", "", STRONG, False), Credential("b", "", STRONG, False)],
            [],
        ),
        ([Credential("a_password", "", "short", False)], []),
    ],
)
def test_passwords_of_several(credentials: list[Credential], words: list[str]) -> None:
    problems = guardrails.password_problems(credentials)
    agrees(problems, words)
    assert STRONG not in "\n".join(problems)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("keydb_password", True),
        ("orthanc_registered_users", True),
        ("host_volume_encryption_key", True),
        # Others issue them, and decide how long they are.
        ("images_registry_password", False),
        ("auscat_proxy_password", False),
        ("images_registry_token", False),
    ],
)
def test_which_options_are_passwords(name: str, is_one: bool) -> None:
    assert bool(guardrails.PASSWORD_OPTION.match(name)) == is_one


@pytest.mark.parametrize(
    ("flavour", "image", "distribution", "rehearsal", "words"),
    [
        ("standin", "any", "", False, ["ctp_flavour is 'standin'", "auscat_rehearsal: true"]),
        ("standin", "any", "", True, []),
        ("auscat", "any", "", False, []),
        ("rsna", "any", "CTP-installer.jar", False, []),
        ("rsna", "any", "standin", False, ["ctp_distribution is 'standin'", "docs/ctp.md"]),
        ("rsna", "any", "standin", True, []),
        # Not by its name either.
        (
            "auscat",
            "auscat-imaging/ctp_standin:0123456789ab",
            "",
            False,
            ["auscat-imaging/ctp_standin:"],
        ),
    ],
)
def test_flavour(
    flavour: str, image: str, distribution: str, rehearsal: bool, words: list[str]
) -> None:
    agrees(guardrails.flavour_problems(flavour, image, distribution, rehearsal), words)


@pytest.mark.parametrize(
    ("flavour", "named", "checksum", "found", "is_file", "words"),
    [
        ("rsna", "CTP-installer.jar", "0a1b" * 16, "", True, []),
        ("rsna", "CTP-installer.jar", f"sha256:{'0A1B' * 16}", "", True, []),
        ("rsna", "standin", "", "", False, []),
        ("auscat", "CTP-installer.jar", "", "", True, []),
        # An empty one is reported as empty.
        ("rsna", "", "", "", False, []),
        (
            "rsna",
            "CTP-installer.jar",
            "",
            "f00d" * 16,
            True,
            [
                "ctp_distribution_checksum is ''",
                "64 hexadecimal digits",
                "`sha256sum CTP-installer.jar`",
                "f00d" * 16,
                "does not prove that it is genuine",
            ],
        ),
        ("rsna", "/opt/CTP", None, "f00d" * 16, False, ["{{ '/opt/CTP' | auscat.imaging.ctp_c"]),
        ("rsna", "CTP-installer.jar", "f00d", "", True, ["ctp_distribution_checksum is 'f00d'"]),
    ],
)
def test_distribution(
    flavour: str, named: str, checksum: str | None, found: str, is_file: bool, words: list[str]
) -> None:
    agrees(guardrails.distribution_problems(flavour, named, checksum, found, is_file), words)


@pytest.mark.parametrize(
    ("image", "source", "checksum", "words"),
    [
        ("auscat-imaging/orthanc:0123456789ab", "build", None, []),
        (f"auscat/orthanc@{DIGEST}", "registry", None, []),
        (f"registry.example:5000/auscat/orthanc:1.2@{DIGEST}", "registry", "", []),
        (
            "auscat/orthanc:1.2",
            "registry",
            "",
            ["orthanc_image is 'auscat/orthanc:1.2'", "sha256:"],
        ),
        ("auscat/orthanc", "build", "", ["without a digest"]),
        (f"auscat/orthanc@{DIGEST[:-1]}", "registry", "", ["without a digest"]),
        # A name like one of ours that is not ours.
        ("auscat-imaging/orthanc:latest", "build", "", ["without a digest"]),
        ("example/auscat-imaging/orthanc:0123456789ab", "build", "", ["without a digest"]),
        ("auscat/orthanc:1.2", "archive", DIGEST, []),
        ("auscat/orthanc:1.2", "archive", DIGEST[7:], []),
        ("auscat/orthanc:1.2", "archive", "", ["images_archive_checksum is ''", "64 hexadecimal"]),
        ("auscat/orthanc:1.2", "archive", "md5:abc", ["images_archive_checksum is 'md5:abc'"]),
        ("auscat/orthanc:1.2", "archive", None, ["images_archive_checksum is ''"]),
    ],
)
def test_images(image: str, source: str, checksum: str | None, words: list[str]) -> None:
    agrees(guardrails.image_problems({"orthanc": image}, source, checksum), words)


def port(sources: Any) -> dict[str, Any]:
    return {
        "service": "ctp",
        "published": 8104,
        "purpose": "DICOM from the PACS",
        "sources": sources,
        "sources_variable": "ctp_dicom_sources",
    }


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([], ["ctp_dicom_sources is empty", "8104", "[127.0.0.1]"]),
        (None, ["ctp_dicom_sources is empty"]),
        (["pacs"], []),
        (["127.0.0.1"], []),
    ],
)
def test_missing_sources(sources: Any, words: list[str]) -> None:
    agrees(guardrails.missing_source_problems([port(sources)]), words)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["0.0.0.0/0"], ["ctp_dicom_sources is [0.0.0.0/0]", "8104", "whole world (IPv4)"]),
        (["::/0"], ["whole world (IPv6)"]),
        (["10.0.0.0/8", "0.0.0.0/0", "::/0"], ["(IPv4 and IPv6)"]),
        (["0.0.0.0/1", "128.0.0.0/1"], ["(IPv4)"]),
        # The same by more pieces, and with a hole in it.
        ([f"{first}.0.0.0/8" for first in range(256)], ["(IPv4)"]),
        ([f"{first}.0.0.0/8" for first in range(1, 256)], ["(IPv4)"]),
        # All of IPv6 that is given to anybody.
        (["2000::/3"], ["(IPv6)"]),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"], []),
        (["192.0.2.7", "2001:db8::/32"], []),
        # One network named often is one network.
        (["10.0.0.0/8"] * 100, []),
        # Reported by the check of the declarations.
        (["anybody"], []),
        ("0.0.0.0/0", []),
    ],
)
def test_ports_open_to_the_world(sources: Any, words: list[str]) -> None:
    agrees(guardrails.open_port_problems([port(sources)]), words)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["169.254.0.0/16"], ["has 169.254.0.0/16, which lies in 169.254.0.0/16 (link-local"]),
        (["169.254.7.7"], ["has 169.254.7.7/32, which lies in", "8104"]),
        (["169.254.0.0/15"], ["has 169.254.0.0/15, which holds 169.254.0.0/16"]),
        (["fe80::/10"], ["link-local"]),
        (["fe80::1"], ["link-local"]),
        (["224.0.0.1"], ["multicast"]),
        (["ff02::1"], ["multicast"]),
        (["0.0.0.0"], ["has 0.0.0.0/32", "no machine sends from"]),
        (["::"], ["has ::/128", "no machine sends from"]),
        (["255.255.255.255"], ["reserved"]),
        (["127.0.0.1", "::1", "10.0.0.0/8", "192.0.2.7", "fd00::/8"], []),
        # Said once, as the whole world.
        (["0.0.0.0/0", "::/0"], []),
        (["pacs"], []),
    ],
)
def test_sources_that_are_no_machine(sources: Any, words: list[str]) -> None:
    agrees(guardrails.machine_source_problems([port(sources)]), words)


def patient_list(sources: Any, **more: Any) -> dict[str, Any]:
    return {
        "service": "keydb",
        "name": "postgresql",
        "published": 5433,
        "purpose": "Patient list",
        "sources": sources,
        "sources_variable": "keydb_sources",
        **more,
    }


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["10.0.0.0/8"], ["keydb_sources is [10.0.0.0/8]", "5433", "16777216 IPv4 addresses"]),
        (["172.16.0.0/12"], ["the private range 172.16.0.0/12"]),
        (["192.168.0.0/16"], ["the private range 192.168.0.0/16", "single machines"]),
        (["fc00::/7"], ["the private range fc00::/7"]),
        # The same in other words.
        (["10.0.0.0/9", "10.128.0.0/9"], ["the private range 10.0.0.0/8"]),
        ([f"10.{second}.0.0/16" for second in range(256)], ["the private range 10.0.0.0/8"]),
        ([f"10.{second}.0.0/16" for second in range(1, 256)], ["the private range 10.0.0.0/8"]),
        ([f"192.168.{third}.0/24" for third in range(2, 250)], ["range 192.168.0.0/16"]),
        (["192.168.0.0/15"], ["131072 IPv4 addresses", "192.168.0.0/16"]),
        (["fd00::/8", "fc00::/8"], ["the private range fc00::/7"]),
        # Wider than the limit, wherever.
        (["10.20.0.0/15"], ["131072 IPv4 addresses"]),
        (["10.20.0.0/16", "10.30.0.1"], ["65537 IPv4 addresses"]),
        (["100.64.0.0/10"], ["IPv4 addresses"]),
        (["2001:db8::/47"], ["IPv6 addresses"]),
        (["fd00::/8"], ["IPv6 addresses"]),
        # What one site has.
        (["10.20.0.0/16"], []),
        (["10.20.0.0/17", "10.20.128.0/17", "10.20.0.0/16", "2001:db8:7::/48"], []),
        (["192.168.0.0/17", "10.20.30.40"], []),
        (["127.0.0.1"], []),
        (["0.0.0.0/0"], []),
        (["keydb-custodian"], []),
    ],
)
def test_who_reaches_the_patient_list(sources: Any, words: list[str]) -> None:
    agrees(guardrails.patient_list_problems([patient_list(sources)]), words)


@pytest.mark.parametrize(
    ("sources", "names", "words"),
    [
        (
            ["10.9.0.20"],
            {},
            ["keydb_sources has 10.9.0.20/32, which lets cv01 (10.9.0.20)", "5433"],
        ),
        (["10.9.0.0/24"], {}, ["has 10.9.0.0/24, which lets cv01"]),
        (["10.9.0.20/31", "10.1.1.1"], {}, ["has 10.9.0.20/31"]),
        (["2001:db8::20"], {}, ["lets cv01 (2001:db8::20)"]),
        # A group, a host of the inventory or a name of DNS.
        (["10.9.0.20"], {"10.9.0.20": "research"}, ["has research (10.9.0.20/32)"]),
        (["10.9.0.21", "10.9.0.0/28", "2001:db8::21"], {}, []),
        (["cv01.hospital.example"], {}, []),
        ([], {}, []),
    ],
)
def test_the_other_side(sources: Any, names: dict[str, str], words: list[str]) -> None:
    machines = {"cv01": ["10.9.0.20", "2001:db8::20"]}
    ports = [patient_list(sources, source_names=names)]
    agrees(guardrails.other_side_problems(ports, machines), words)
    # A site with a single machine has no other side.
    assert guardrails.other_side_problems(ports, {}) == []


@pytest.mark.parametrize(("restricted", "words"), [(True, []), (False, ["firewall_restrict"])])
def test_restriction(restricted: bool, words: list[str]) -> None:
    agrees(guardrails.restriction_problems(restricted), words)


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", False),
        ("---\nvault_keydb_password: hunter2\n", True),
        ("---\nvault_users:\n  admin: hunter2\n", True),
        ("---\nvault_keys: [hunter2]\n", True),
        ("vault_text: |\n  hunter2\n", True),
        ("no: yaml: here", True),
        ("---\n# nothing yet\n", False),
        ('---\nvault_keydb_password: ""\n', False),
        ("vault_keydb_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n", False),
        ("vault_keydb_password: \"{{ lookup('env', 'KEYDB_PASSWORD') }}\"\n", False),
    ],
)
def test_vaults(text: str, is_refused: bool) -> None:
    problems = guardrails.vault_problems({"group_vars/all/vault.yml": text})
    agrees(problems, ["group_vars/all/vault.yml is not encrypted"] if is_refused else [])
    assert "hunter2" not in "\n".join(problems)


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("all/vault.yml", True),
        ("all/vault", True),
        ("keyvm/vault_keydb.yaml", True),
        ("vault/all.yml", True),
        ("all/main.yml", False),
        ("all/vault.yml.example", False),
        ("vaulted.yml", False),
    ],
)
def test_vault_files(path: str, is_one: bool) -> None:
    assert guardrails.is_vault_file(path) == is_one


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        ({"kv01": "192.0.2.1", "cv01": "192.0.2.2"}, []),
        ({"kv01": "192.0.2.1", "cv01": "192.0.2.1"}, ["ansible_host of kv01", "cv01", "single_vm"]),
        ({"kv01": "192.0.2.1"}, []),
        ({"kv01": "", "cv01": ""}, []),
        ({"kv01": "192.0.2.1", "cv01": "192.0.2.2", "cv02": "192.0.2.2"}, []),
    ],
)
def test_one_machine_under_two_names(addresses: dict[str, str], words: list[str]) -> None:
    agrees(guardrails.machine_problems("kv01", addresses), words)


@pytest.mark.parametrize(
    ("engine", "accepted", "words"),
    [
        ({}, False, []),
        ({"swarm_state": "inactive"}, False, []),
        ({"swarm_state": "active", "swarm_manager": True, "swarm_nodes": 1}, False, []),
        (
            {"swarm_state": "active", "swarm_manager": True, "swarm_nodes": 2},
            False,
            ["a Swarm of 2 nodes", "preflight_accept_shared_swarm: true"],
        ),
        ({"swarm_state": "active", "swarm_manager": True, "swarm_nodes": 2}, True, []),
        ({"swarm_state": "active", "swarm_manager": False, "swarm_nodes": 0}, False, ["a worker"]),
        # Whether it is one is not known until somebody has unlocked it.
        ({"swarm_state": "locked", "swarm_manager": False, "swarm_nodes": 0}, False, []),
        # Nor of one that does not come up (test_engine_setup.py).
        ({"swarm_state": "error", "swarm_manager": False, "swarm_nodes": 0}, False, []),
    ],
)
def test_swarm(engine: dict[str, Any], accepted: bool, words: list[str]) -> None:
    agrees(guardrails.swarm_problems(engine, accepted), words)


@pytest.mark.parametrize(
    ("on_system_disk", "accepted", "words"),
    [
        (True, False, ["auscat_data_root is /srv/auscat", "host_volume_allow_system_disk: true"]),
        (True, True, []),
        (False, False, []),
    ],
)
def test_system_disk(on_system_disk: bool, accepted: bool, words: list[str]) -> None:
    agrees(guardrails.system_disk_problems("/srv/auscat", on_system_disk, accepted), words)


HELD = [{"service": "orthanc", "source": "/srv/auscat/orthanc", "target": "/var/lib/orthanc/db"}]


@pytest.mark.parametrize(
    ("wished", "words"),
    [
        ("/srv/auscat/orthanc", []),
        ("/srv/auscat//orthanc/", []),
        ("/data/orthanc", ["/data/orthanc", "/srv/auscat/orthanc, which is not empty", "mv"]),
        # A service that is no longer here has no new path.
        (None, []),
    ],
)
def test_moved_data(wished: str | None, words: list[str]) -> None:
    paths = {("orthanc", "/var/lib/orthanc/db"): wished} if wished else {}
    agrees(guardrails.moved_data_problems(HELD, paths), words)


def test_clear_text_is_refused() -> None:
    (problem,) = guardrails.tls_problems("none")
    assert "auscat_tls is none" in problem
    assert "Accepted in production: own_ca, files" in problem
    assert guardrails.tls_problems("own_ca") == guardrails.tls_problems("files") == []


def test_dicom_in_clear_text_between_machines_is_refused() -> None:
    (problem,) = guardrails.tls_problems("own_ca", dicom_in_clear=True)
    assert "orthanc_dicom_tls is false" in problem
    assert len(guardrails.tls_problems("none", dicom_in_clear=True)) == 1
