"""The lookup plugin, as the roles use it, and the directory that keeps what it makes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import (
    certificate_store,
    certificates,
)

HOSTVARS = {"kv01": {"ansible_host": "10.20.1.10"}, "cv01": {}}


def look_up(host: str = "kv01", sources: str = "/inventory", **options: Any) -> dict[str, str]:
    lookup = lookup_loader.get("auscat.imaging.machine_certificate", loader=DataLoader())
    variables = {"hostvars": HOSTVARS, "ansible_inventory_sources": [sources]}
    (found,) = lookup.run([host], variables, **options)
    return found


def test_none_has_nothing() -> None:
    assert look_up(mode="none") == {
        "mode": "none",
        "certificate": "",
        "key": "",
        "ca": "",
        "name": "",
    }


def test_a_directory_keeps_what_it_makes(tmp_path: Path) -> None:
    first = look_up(mode="own_ca", directory=f"{tmp_path}/made")
    other = look_up("cv01", mode="own_ca", directory=f"{tmp_path}/made")
    assert look_up(mode="own_ca", directory=f"{tmp_path}/made") == first
    assert first["ca"] == other["ca"] == (tmp_path / "made/ca.crt").read_text()
    assert first["key"] != other["key"]
    for tls, host in ((first, "kv01"), (other, "cv01")):
        assert certificates.problems(tls, certificates.machine_names(host, HOSTVARS)) == []
    made = list((tmp_path / "made").rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}


def test_a_simulation_keeps_its_ca_whatever_stands_beside_its_inventory(tmp_path: Path) -> None:
    """`-i site` and `-i site -i more` are one node; another directory is another one."""

    def store(directory: str, *sources: str) -> Path:
        return certificate_store.default_directory(
            directory, list(sources), {"XDG_STATE_HOME": str(tmp_path)}
        )

    first = store("/sites/a", "/sites/a")
    assert store("/sites/a", "/sites/a", "/more.yml") == first
    assert store("/sites/b", "/sites/b") != first
    assert store("", "localhost,") != first


def test_a_name_more_makes_another_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = look_up(mode="own_ca", directory=str(tmp_path))
    monkeypatch.setitem(HOSTVARS, "kv01", {"auscat_tls_names": ["keys.hospital.example"]})
    second = look_up(mode="own_ca", directory=str(tmp_path))
    assert second["ca"] == first["ca"]
    assert second["certificate"] != first["certificate"]
    names = certificates.names_in(certificates.certificates_in(second["certificate"])[0])
    assert "keys.hospital.example" in names


def test_inventories_do_not_share_a_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = look_up(sources="/a", mode="own_ca", simulation=True)
    assert look_up(sources="/a/../a", mode="own_ca", simulation=True) == one
    assert look_up(sources="/b", mode="own_ca", simulation=True)["ca"] != one["ca"]


def ask(directory: str, answers: Any) -> None:
    answers.put(certificate_store.stored(Path(directory), "kv01", ["kv01"]))


def test_playbooks_that_run_at_once_get_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    asking = [context.Process(target=ask, args=(str(tmp_path), answers)) for _ in range(8)]
    for each in asking:
        each.start()
    found = [answers.get(timeout=60) for _ in asking]
    for each in asking:
        each.join(60)
    assert all(each == found[0] for each in found)


def test_a_lost_ca_is_not_replaced_behind_ones_back(tmp_path: Path) -> None:
    look_up(mode="own_ca", directory=str(tmp_path))
    (tmp_path / "ca.json").unlink()
    with pytest.raises(AnsibleLookupError, match=r"ca\.json is gone or damaged"):
        look_up(mode="own_ca", directory=str(tmp_path))


def test_the_vault_is_asked_first() -> None:
    authority = certificates.make_authority()
    pair = certificates.issue(authority, ["kv01"])
    vault = {"authority": authority, "certificates": {"kv01": pair}, "mode": "own_ca"}
    assert look_up(simulation=True, **vault) == {
        "mode": "own_ca",
        "ca": authority["certificate"],
        "name": "kv01",
        **pair,
    }
    with pytest.raises(AnsibleLookupError, match=r"no vault_auscat_certificates\['cv01'\]"):
        look_up("cv01", **vault)
    with pytest.raises(AnsibleLookupError, match="Accepted: one of the two"):
        look_up(directory="/x", **vault)


def test_production_without_a_vault_is_told_what_to_do() -> None:
    with pytest.raises(AnsibleLookupError, match=r"no vault_auscat_ca\. Run playbooks/init"):
        look_up(mode="own_ca")


def test_files_are_texts_or_paths(tmp_path: Path) -> None:
    authority = certificates.make_authority()
    pair = certificates.issue(authority, ["kv01"])
    (tmp_path / "certificate.pem").write_text(pair["certificate"])
    found = look_up(
        mode="files",
        certificate=str(tmp_path / "certificate.pem"),
        key=pair["key"].rstrip(),
        ca=authority["certificate"],
    )
    assert found == {"mode": "files", "ca": authority["certificate"], "name": "kv01", **pair}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"certificate": "/absent.pem", "key": "x"}, r"auscat_tls_certificate is '/absent\.pem'"),
        ({}, "auscat_tls_certificate is empty"),
    ],
)
def test_files_that_are_not_there(options: dict[str, str], expected: str) -> None:
    with pytest.raises(AnsibleLookupError, match=expected):
        look_up(mode="files", **options)


def test_a_torn_key_is_not_shown() -> None:
    torn = "MIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0wawIBAQQg\n"
    pair = certificates.issue(certificates.make_authority(), ["kv01"])
    with pytest.raises(AnsibleLookupError) as caught:
        look_up(mode="files", certificate=pair["certificate"], key=torn)
    assert "auscat_tls_key is no path" in str(caught.value)
    assert "MIGH" not in str(caught.value)
