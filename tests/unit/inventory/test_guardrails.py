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
        (["a password"], []),
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
