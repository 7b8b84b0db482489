"""Which web server a machine runs, what its build is given, and what is refused before it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.images.inputs import describe_images

REPOSITORY = Path(__file__).resolve().parents[3]
PASSWORD = "a-very-secure-password"
ASKED = {
    "image": "{{ __front_definition.image }}",
    "purpose": "{{ __front_pages | map(attribute='port.purpose') | list }}",
    "plugins": "{{ orthanc_service.environment.ORTHANC_PLUGINS | default('') }}",
    "files": "{{ __images_file_arguments }}",
}
#: Machines, each with what its inventory says. All of them are in the group of Orthanc.
MACHINES: dict[str, dict[str, Any]] = {
    "plain": {},
    "viewer": {"orthanc_viewer": "ohif", "orthanc_viewer_archive": "~/some where/ohif.tgz"},
    "without-archive": {"orthanc_viewer": "ohif"},
    "own-image": {"orthanc_viewer": "ohif", "front_image": "somebody/front@sha256:0"},
    "published": {
        "orthanc_viewer": "ohif",
        "images_source": "registry",
        "images_published": {"front_ohif": "registry.example/front_ohif@sha256:1"},
    },
    "bundle": {"orthanc_viewer": "ohif", "images_source": "archive"},
    "plugins": {"orthanc_plugins": ["wsi", "neuro"]},
}


def run(directory: Path, play: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Run a play with the machines, on this one, and return what each of its tasks gave them.

    Returns:
        name of a task to the name of a machine to the result.
    """
    shared = {
        "ansible_connection": "local",
        "auscat_environment": "simulation",
        "auscat_tls": "none",
        "ctp_admin_password": PASSWORD,
        "keydb_password": PASSWORD,
        "keydb_ctp_password": PASSWORD,
        "orthanc_registered_users": {"admin": PASSWORD},
    }
    inventory = {
        "all": {
            "vars": shared,
            "children": {"catvm": {"hosts": MACHINES}, "keyvm": {"hosts": {"ctp-alone": {}}}},
        }
    }
    (directory / "hosts.yml").write_text(yaml.safe_dump(inventory))
    whole = {"hosts": "keyvm:catvm", "gather_facts": False, "become": False, **play}
    (directory / "play.yml").write_text(yaml.safe_dump([whole]))
    done = subprocess.run(
        ["ansible-playbook", f"--inventory={directory}/hosts.yml", str(directory / "play.yml")],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "{" in done.stdout, done.stdout + done.stderr
    tasks = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"]
    return {task["task"]["name"].rpartition(" : ")[2]: task["hosts"] for task in tasks}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What `ASKED` is on each machine, put together as site.yml does."""
    everything = {
        "__images_to_build": "{{ __images_described.values() | list }}",
    }
    play = {
        "roles": [
            {"role": "auscat.imaging.services"},
            {"role": "auscat.imaging.images", "tags": ["never"]},
        ],
        "tasks": [
            {"name": name, "ansible.builtin.debug": {"msg": asked}, "vars": everything}
            for name, asked in ASKED.items()
        ],
    }
    given = run(tmp_path_factory.mktemp("play"), play)
    return {
        host: {name: given[name][host].get("msg") for name in ASKED}
        for host in ("ctp-alone", *MACHINES)
    }


@pytest.mark.parametrize(
    ("machine", "image"),
    [
        ("ctp-alone", "front"),
        ("plain", "front"),
        ("plugins", "front"),
        ("viewer", "front_ohif"),
        ("without-archive", "front_ohif"),
        ("bundle", "front_ohif"),
    ],
)
def test_image_of_the_web_server(
    answers: dict[str, dict[str, Any]], machine: str, image: str
) -> None:
    described = describe_images(REPOSITORY / "images")
    assert answers[machine]["image"] == described[image]["ref"]


def test_image_of_the_sites_own(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["own-image"]["image"] == "somebody/front@sha256:0"
    assert answers["published"]["image"] == "registry.example/front_ohif@sha256:1"


def test_port_says_that_there_is_a_viewer(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["plain"]["purpose"] == ["Web page and REST API"]
    assert answers["viewer"]["purpose"] == ["Web page and REST API, and the viewer at /ohif/"]


def test_plugins_are_handed_to_the_container(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["plugins"]["plugins"] == "wsi neuro"
    assert answers["plain"]["plugins"] == ""


def test_build_is_given_the_archive(answers: dict[str, dict[str, Any]]) -> None:
    home = Path("~").expanduser().resolve()
    assert answers["viewer"]["files"] == [f"--file=front_ohif={home}/some where/ohif.tgz"]
    assert answers["without-archive"]["files"] == ["--file=front_ohif="]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the preflight says of each machine's inventory."""
    play = {
        "roles": [
            {"role": "auscat.imaging.services"},
            {"role": "auscat.imaging.images", "tags": ["never"]},
            {"role": "auscat.imaging.preflight"},
        ]
    }
    given = run(tmp_path_factory.mktemp("play"), play)
    found: dict[str, str] = {}
    for hosts in given.values():
        for host, result in hosts.items():
            found[host] = found.get(host, "") + str(result.get("msg", ""))
    return found


def test_preflight_asks_for_the_archive(refusals: dict[str, str]) -> None:
    said = refusals["without-archive"]
    assert "orthanc_viewer_archive is empty" in said
    assert "npm pack @ohif/app@" in said
    assert "some where/ohif.tgz', where there is no file" in refusals["viewer"]


@pytest.mark.parametrize(
    "machine", ["ctp-alone", "plain", "own-image", "published", "bundle", "plugins"]
)
def test_preflight_asks_for_no_archive(refusals: dict[str, str], machine: str) -> None:
    assert machine in refusals
    assert "orthanc_viewer_archive" not in refusals[machine]
