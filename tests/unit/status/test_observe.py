"""What is read of a machine, from doubles of its programs and of its services' pages.

The doubles are programs on a PATH of their own that note what they are asked, and web servers of
this test; the scenarios status and troubleshoot have the real ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care import observation
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    collect,
    command,
    keeper,
    observe,
)
from processes import ended

DAY = "2026-11-24T17:55:{:02}.123456789Z"
SECOND = 1795542900.123456


class Programs:
    """Doubles of programs, which answer by their arguments."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"

    def put(self, name: str, script: str) -> None:
        """A program: a shell script, whose arguments are noted first."""
        path = self.directory / name
        text = f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n'
        path.write_text(text)
        path.chmod(0o755)

    def says(self, name: str, answers: dict[str, Any]) -> None:
        """A program that answers to arguments that begin so, and fails otherwise."""
        cases = ""
        for number, (begin, answer) in enumerate(answers.items()):
            file = self.directory / f"{name}-{number}"
            file.write_text(answer if isinstance(answer, str) else json.dumps(answer))
            cases += f'  "{begin}"*) exec /bin/cat {file};;\n'
        self.put(name, f'case "$*" in\n{cases}esac\nexit 1')

    def asked(self) -> list[str]:
        """Each call, as a line."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """No program but those of the test, and a systemd that is said to be there."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setattr(command, "PATH", str(directory))
    monkeypatch.setenv("PATH", str(directory))
    for module in (command, observe, collect, observation):
        monkeypatch.setattr(module, "systemd", lambda: True)
    return Programs(directory)


SETTINGS: dict[str, Any] = {
    "node": "kv",
    "environment": "simulation",
    "stack": "auscat",
    "services": ["ctp", "keydb"],
    "ctp": {"url": "http://127.0.0.1:1"},
    "orthanc": {},
    "keydb": {"table": "patient"},
    "paths": ["/"],
    "certificates": [],
    "tls_ports": [],
    "firewall": {"wanted": True, "path": "/nowhere/firewall.nft"},
    "directory": "/nowhere",
    "timer": True,
    "interval_minutes": 5,
    "lock": "/nowhere/lock",
    "backup_kinds": [],
}
PARAMETERS: dict[str, Any] = {
    "where": "kv",
    "stack": "auscat",
    "services": ["ctp", "keydb"],
    "ports": [],
    "directories": [],
    "secrets": [],
    "tls_services": [],
    "addresses": [],
    "limited": True,
    "ctp": {"flavour": "rsna", "url": "http://127.0.0.1:1", "password": ""},
    "orthanc": {},
    "keydb": {"table": "patient", "ctp_password": ""},
    "since": "24h",
    "unasked": [],
}


@pytest.mark.parametrize(
    "look",
    [lambda: collect.state(SETTINGS), lambda: observation.observed(PARAMETERS)[0]],
    ids=["status", "troubleshoot"],
)
def test_nobody_connects_to_an_engine_that_does_not_run(
    programs: Programs, look: Callable[[], dict[str, Any]]
) -> None:
    """systemd would start it."""
    programs.put("docker", "echo 28.0")
    programs.put("systemctl", "exit 3")
    found = look()
    assert found["engine"] == ""
    assert "systemctl is-active docker.service" in programs.asked()
    assert not [each for each in programs.asked() if each.startswith("docker ")]
    # The same program asks once it runs.
    programs.put("systemctl", "exec /bin/echo active")
    assert look()["engine"] == "28.0"


def test_a_firewalld_that_does_not_run_is_not_asked_either(programs: Programs) -> None:
    programs.says("nft", {"--json list ruleset": {"nftables": []}})
    programs.put("firewall-cmd", "exit 0")
    programs.put("systemctl", "exit 3")
    found = observation.firewall([], [], [], True)
    assert (found["firewalld"], found["loaded"]) == ([], False)
    assert not [each for each in programs.asked() if each.startswith("firewall-cmd")]


def docker_of(**changes: Any) -> dict[str, Any]:
    """What a double of docker answers: a stack with one service, which runs."""
    labels = {observe.LABEL_SERVICE: "auscat_ctp"}
    service = {
        "ID": "s1",
        "Spec": {
            "Name": "auscat_ctp",
            "Mode": {"Replicated": {"Replicas": changes.pop("replicas", 1)}},
            "TaskTemplate": {
                "ContainerSpec": {"Image": "ctp:1"},
                "Resources": {"Limits": {"MemoryBytes": 1280 * 2**20}},
            },
        },
    }
    container = {
        "Id": "c1",
        "Image": "sha256:0123456789abcdef",
        "Config": {"Labels": labels},
        "State": {"StartedAt": DAY.format(0), "Health": {"Status": "healthy"}},
    }
    ended = [
        {"ServiceID": "s1", "Status": {"State": state, "Timestamp": DAY.format(second), "Err": err}}
        for state, second, err in [
            ("failed", 1, "task: non-zero exit (137)"),
            ("failed", 3, "No such image: DOE^JANE"),
            ("rejected", 2, "DOE^JANE"),
            ("shutdown", 4, ""),
        ]
    ]
    return {
        "version": "28.0",
        "service ls": "s1",
        "service inspect": [service],
        "service ps": "t1 t2",
        "inspect --type=task": ended,
        "ps": "c1",
        "container inspect": [container],
        "image inspect": [
            {
                "Id": "sha256:0123456789abcdef",
                "Created": DAY.format(0),
                "Config": {"Labels": {"org.opencontainers.image.version": "1.4"}},
            }
        ],
        **changes,
    }


def test_services(programs: Programs) -> None:
    programs.says("docker", docker_of())
    found = observe.services("auscat", ["ctp", "orthanc"])
    assert found["ctp"] == {
        "deployed": True,
        "replicas": 1,
        "running": 1,
        "health": "healthy",
        "since": SECOND,
        "failures": [SECOND + 1, SECOND + 2, SECOND + 3],
        "memory_kills": [],
        "memory_limit_mib": 1280,
        "error": "the image is missing",
        "image": "ctp:1",
        "image_created": SECOND,
        "image_id": "0123456789ab",
        "version": "1.4",
        "container": "c1",
    }
    assert (found["orthanc"]["deployed"], found["orthanc"]["replicas"]) == (False, 0)
    assert found["orthanc"].keys() == found["ctp"].keys()
    assert "DOE" not in repr(found)


def test_a_service_that_was_scaled_to_none(programs: Programs) -> None:
    """The diagnosis says that somebody stopped it; the status, that one container is missing."""
    programs.put("systemctl", "exec /bin/echo active")
    programs.says("docker", docker_of(replicas=0, ps=""))
    assert observe.services("auscat", ["ctp"])["ctp"]["replicas"] == 0
    state = collect.state(SETTINGS)
    assert (state["services"]["ctp"]["desired"], state["services"]["ctp"]["running"]) == (1, 0)
    assert state["ctp"] == state["keydb"] == {"answers": False}
    assert state["orthanc"] is None


def test_the_sampler_of_a_machine_without_systemd(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs where its lock is held: by another process, as the kernel tells."""
    monkeypatch.setattr(collect, "systemd", lambda: False)
    lock = tmp_path / "lock"
    settings = {**SETTINGS, "lock": str(lock)}
    assert collect.state(settings)["sampler"]["active"] is False
    lock.touch()
    assert collect.state(settings)["sampler"]["active"] is False
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX)"
    code += "; print('held', flush=True); sys.stdin.read()"
    with ended(
        [sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        assert keeper.holder(lock) == other.pid
        found = collect.state(settings)["sampler"]
        assert (found["expected"], found["active"], found["systemd"]) == (True, True, False)
        other.communicate()
    assert collect.state(settings)["sampler"]["active"] is False
    assert collect.state({**settings, "timer": False})["sampler"]["expected"] is False


def test_status_and_troubleshoot_tell_the_same_by_the_same_names(programs: Programs) -> None:
    programs.put("systemctl", "exec /bin/echo active")
    programs.put("timedatectl", "printf 'NTP=yes\\nNTPSynchronized=yes\\n'")
    programs.says("nft", {"--stateless list": "table", "--json list": {"nftables": []}})
    programs.says("docker", docker_of(exec="150009|12|4096"))
    certified = {"tls_services": ["ctp"]}
    state = collect.state({**SETTINGS, **certified})
    seen = observation.observed({**PARAMETERS, **certified})[0]
    assert {**seen["services"]["ctp"], "desired": 1} == state["services"]["ctp"]
    assert [each["name"] for each in seen["held_certificates"]] == ["ctp"]
    assert seen["held_certificates"][0] in state["certificates"]
    assert seen["clock"] == state["clock"] and seen["clock"]["synchronised"]
    assert seen["engine"] == state["engine"] == "28.0"
    shared = {name: seen["firewall"][name] for name in ("wanted", "loaded", "enabled")}
    assert {**state["firewall"], **shared} == state["firewall"] and shared["loaded"]


@pytest.fixture
def page() -> Iterator[Callable[[int, bytes], str]]:
    """A web server that gives each path the same answer, or one that is not of HTTP (status 0)."""
    servers = []

    def served(status: int, content: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not status:
                    self.wfile.write(content)
                    return
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Nothing on the terminal."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield served
    for server in servers:
        server.shutdown()
        server.server_close()


SILENT = {"answers": False, "login": None, "told": False}
REFUSED = {"answers": True, "login": False, "told": False}


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (401, b"", REFUSED),
        (403, b"DOE^JANE", REFUSED),
        (500, b"DOE^JANE", {**SILENT, "status": 500}),
        (0, b"DOE^JANE\r\n\r\n", SILENT),
    ],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda url: observe.orthanc({"url": url}, "a", "b"),
        lambda url: observe.ctp({"url": url}, "b"),
    ],
)
def test_what_a_page_that_tells_no_figures_is(
    page: Callable[[int, bytes], str],
    ask: Callable[[str], dict[str, Any]],
    status: int,
    content: bytes,
    expected: dict[str, Any],
) -> None:
    assert ask(page(status, content)) == expected


def test_what_no_page_is(page: Callable[[int, bytes], str]) -> None:
    assert observe.ctp({"url": "http://127.0.0.1:1"}, "b") == SILENT
    assert observe.ctp_that_tells_nothing({"url": "http://127.0.0.1:1"}, "b") == SILENT
    there = observe.ctp_that_tells_nothing({"url": page(404, b"")}, "b")
    assert there == {"answers": True, "login": None, "told": False}


def test_figures_of_orthanc(page: Callable[[int, bytes], str]) -> None:
    counts = {f"Count{name}": 7 for name in ("Patients", "Studies", "Series", "Instances")}
    told = {**counts, "TotalDiskSize": "11", "Version": "1.12.7", "DatabaseBackendPlugin": "x"}
    found = observe.orthanc({"url": page(200, json.dumps(told).encode())}, "a", "b")
    figures = dict.fromkeys(["patients", "studies", "series", "instances"], 7)
    about = {"answers": True, "login": True, "told": True, "version": "1.12.7"}
    assert found == {**about, **figures, "bytes": 11, "index": "PostgreSQL"}


@pytest.mark.parametrize(
    ("code", "answers"), [(1, False), (2, False), (3, True), (125, False), (126, False)]
)
def test_a_keydb_that_tells_nothing(programs: Programs, code: int, answers: bool) -> None:
    programs.put("docker", f"exit {code}")
    found = observe.keydb("c1", "keys.patient")
    assert (found["answers"], found["told"]) == (answers, False)


def test_figures_of_keydb(programs: Programs) -> None:
    read = programs.directory / "query"
    programs.put("docker", f"/bin/cat > {read}; echo '150009|12|4096'")
    assert observe.keydb("c1", 'keys."patient') == {
        **{"answers": True, "login": True, "told": True},
        **{"version": "15.9", "patients": 12, "bytes": 4096},
    }
    assert read.read_text().endswith('FROM "keys"."patient"')
    (asked,) = programs.asked()
    # It reads only, and gives up by itself: what docker started inside outlives docker.
    assert "default_transaction_read_only=on" in asked and "statement_timeout=10s" in asked
    assert "SELECT" not in asked


def test_the_password_of_ctp_in_keydb(programs: Programs) -> None:
    programs.put("docker", "case $(/bin/cat) in *pg_authid*) echo 'true|md5abc';; *) exit 3;; esac")
    found = observation.keydb("c1", PARAMETERS["keydb"])
    assert (found["role"], found["password"], found["told"]) == (True, False, False)
    programs.put("docker", "case $(/bin/cat) in *pg_authid*) ;; *) echo '150009|1|1';; esac")
    found = observation.keydb("c1", PARAMETERS["keydb"])
    assert (found["role"], found["password"], found["patients"]) == (False, False, 1)


def test_file_systems(tmp_path: Path) -> None:
    below = tmp_path / "data"
    below.mkdir()
    form = ["df", "--block-size=1", "--output=target,size,itotal", str(below)]
    mount, size, inodes = subprocess.check_output(form, text=True).splitlines()[1].split()
    found = observe.file_system(below)
    assert (found["mount"], found["size"]) == (mount, int(size))
    assert found["inodes"] == (0 if inodes == "-" else int(inodes))
    (row,) = observe.volumes([str(below), str(tmp_path), str(tmp_path / "absent")])
    assert row["mount"] == mount and "device" not in row
    rows = observation.disks(
        [
            {"service": "ctp", "path": str(below)},
            {"service": "ctp", "path": str(tmp_path)},
            {"service": "orthanc", "path": str(tmp_path / "absent" / "data")},
        ]
    )
    assert [(row["service"], row["exists"], row["mount"]) for row in rows[:2]] == [
        ("ctp", True, mount),
        ("orthanc", False, mount),
    ]


@pytest.mark.parametrize(
    ("chrony", "timedatectl", "expected"),
    [
        ("0A,x,2,1.5,-0.25,1,1,1,1,1,1,1,1,Normal", "", ("chrony", True, -0.25, True)),
        ("0A,x,2,1.5,0,1,1,1,1,1,1,1,1,Not synchronised", "", ("chrony", False, None, False)),
        ("", "NTP=yes\nNTPSynchronized=no", ("systemd", False, None, False)),
        # Set by somebody whom neither knows.
        ("", "NTP=no\nNTPSynchronized=yes", ("unknown", None, None, True)),
        ("", "", ("unknown", None, None, None)),
    ],
)
def test_clock(
    programs: Programs, chrony: str, timedatectl: str, expected: tuple[Any, ...]
) -> None:
    for name, answer in (("chronyc", chrony), ("timedatectl", timedatectl)):
        programs.put(name, f"echo '{answer}'" if answer else "exit 1")
    assert tuple(observe.clock().values()) == expected


def test_a_broken_certificate_hides_no_other(tmp_path: Path) -> None:
    broken, absent = tmp_path / "broken.crt", tmp_path / "absent.crt"
    broken.write_text("no certificate")
    assert observe.certificates([broken, absent]) == [
        {"name": str(each), "path": str(each), "not_after": None} for each in (broken, absent)
    ]


def test_the_certificate_of_a_service_is_read_in_its_container(programs: Programs) -> None:
    made = certificates.issue(certificates.make_authority(), ["kv"])["certificate"]
    programs.put("docker", f'test "$*" = "exec one cat /run/secrets/tls.crt" && echo "{made}"')
    programs.put("openssl", 'exec /usr/bin/openssl "$@"')
    found = observe.certificates([], [], {"keydb": "one", "orthanc": "two", "ctp": ""})
    assert [(each["name"], bool(each["not_after"])) for each in found] == [
        ("keydb", True),
        ("orthanc", False),
        ("ctp", False),
    ]


def test_of_a_log_that_cannot_be_read_nothing_is_said(programs: Programs) -> None:
    programs.put("systemctl", "exec /bin/echo active")
    programs.put("sh", 'shift; exec /bin/sh -c "$@"')
    line = (
        f"{DAY.format(0)} supervisor: WARNING  Refused an association from 10.1.2.3: called AE"
        " title not recognized"
    )
    programs.says("docker", docker_of())
    seen, logs = observation.observed(PARAMETERS)
    assert "refusals" not in seen and not logs
    assert seen["unanswered"]["log"] == "UnknownError"
    programs.says("docker", docker_of(**{"service logs": f"{line}\n"}))
    seen, logs = observation.observed(PARAMETERS)
    assert [each["peer"] for each in seen["refusals"]] == ["10.1.2.3"]
    assert "log" not in seen["unanswered"] and list(logs) == ["ctp", "keydb"]


def test_the_machine_itself_is_stopped_by_no_rule(programs: Programs) -> None:
    base = {"family": "inet", "table": "site", "name": "base", "type": "filter", "prio": 0}
    chains = [
        {"chain": {**base, "name": hook, "hook": hook, "policy": "drop"}}
        for hook in ("input", "forward")
    ]
    programs.says("nft", {"--json list ruleset": {"nftables": chains}})
    ports = [{"service": "orthanc", "published": 8042, "target": 8042}]
    asked = [
        {"port": 8042, "address": each, "who": "the viewer", "variable": ""}
        for each in ("10.1.2.3", "2001:db8::3", "10.9.9.9")
    ]
    own = ["127.0.0.1", "::1", "10.1.2.3", "2001:DB8:0::3"]
    blocks = observation.firewall(ports, asked, own, True)["blocks"]
    assert [each["address"] for each in blocks] == ["10.9.9.9"]
    names = {"eth0": "10.1.2.3", "br-lan": "10.1.2.4", "docker_gwbridge": "172.18.0.1"}
    names |= {"docker0": "172.17.0.1", "br-0123456789ab": "172.19.0.1"}
    links = [{"ifname": name, "addr_info": [{"local": each}]} for name, each in names.items()]
    programs.says("ip", {"-j address": [*links, {}]})
    assert observation.own_addresses() == ["10.1.2.3", "10.1.2.4"]
