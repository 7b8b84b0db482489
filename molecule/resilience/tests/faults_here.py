"""The faults of this scenario: each happens, lasts, and is over when its function returns."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clock import now, settable
from conftest import Mixed, Site
from shared import faults
from shared.ctp_node import new_patient
from shared.machines import Node, wait_for
from shared.streams import Stream, arrived, ct_slices

# Longer than what the stand-in and the relay wait for an answer (60 s) or a connection (5 s); the
# document says which run had a longer one.
AWAY_SECONDS = float(os.environ.get("RESILIENCE_AWAY_SECONDS", "75"))
FULL_SECONDS = float(os.environ.get("RESILIENCE_FULL_SECONDS", "15"))

Happens = Callable[[Site, Mixed], None]


def last(seconds: float) -> None:
    """Let a fault last. It is as long as it is, there is nothing to poll for."""
    time.sleep(seconds)


def kill(machine: str, service: str, pattern: str) -> Happens:
    """kill -9 of the processes of a service that match."""

    def happens(site: Site, _: Mixed) -> None:
        assert faults.kill_process(getattr(site, machine), f"auscat_{service}", pattern)

    return happens


def _engine(node: Node) -> str:
    return node.output("systemctl", "show", "--property=MainPID", "--value", "docker")


def _engine_again(node: Node, before: str) -> None:
    wait_for(
        f"{node.name} has another engine",
        lambda: (
            _engine(node) not in ("0", before)
            and node.run("docker", "info", check=False).returncode == 0
        ),
        120,
    )


def restart_engine(machine: str) -> Happens:
    """What a package upgrade does."""

    def happens(site: Site, _: Mixed) -> None:
        node = getattr(site, machine)
        before = _engine(node)
        node.run("systemctl", "restart", "docker", timeout=240)
        _engine_again(node, before)

    return happens


def kill_engine(machine: str) -> Happens:
    """kill -9 of dockerd; the containers live on until systemd has started another."""

    def happens(site: Site, _: Mixed) -> None:
        node = getattr(site, machine)
        before = _engine(node)
        node.run("kill", "-9", before)
        _engine_again(node, before)

    return happens


def reboot(machine: str) -> Happens:
    """Sudden restart of the machine."""

    def happens(site: Site, _: Mixed) -> None:
        faults.reboot(getattr(site, machine))

    return happens


def orthanc_away(site: Site, stream: Mixed) -> None:
    """No Orthanc, and nothing that listens in its place."""
    gone = faults.container(site.cat, "auscat_orthanc")
    site.cat.run("docker", "service", "scale", "--detach", "auscat_orthanc=0")
    # In the midst of an association it takes more than a minute to stop by itself.
    site.cat.run("docker", "kill", gone, check=False)
    began = time.monotonic()
    try:
        wait_for("its absence is told", lambda: site.waits_for("Orthanc"))
        stream.wait_more(50)
        last(AWAY_SECONDS - (time.monotonic() - began))
        said = site.status()
        assert said and said["healthy"] and said["reception"] == "open", said
    finally:
        faults.scale(site.cat, "auscat_orthanc", 1)


def keydb_away(site: Site, stream: Mixed) -> None:
    """No KeyDB: the last table stays, and known patients pass."""
    began = time.monotonic()
    faults.scale(site.kv, "auscat_keydb", 0)
    try:
        wait_for("its absence is told", lambda: site.waits_for("KeyDB"))
        stream.wait_more(50)
        last(30 - (time.monotonic() - began))
        said = site.status()
        assert said and said["healthy"] and said["reception"] == "open", said
    finally:
        faults.scale(site.kv, "auscat_keydb", 1)


CUT = """
table inet cut {
  chain into { type filter hook prerouting priority -400; ip saddr OTHER drop; }
  chain out { type filter hook postrouting priority -400; ip daddr OTHER drop; }
}
"""


def network_cut(site: Site, stream: Mixed) -> None:
    """Packets between the machines vanish, without a word to either side, from within an
    association on."""
    wait_for("an association to Orthanc is open", lambda: _associations(site.cat) > 0)
    site.cat.run("nft", "-f", "-", stdin=CUT.replace("OTHER", site.kv.address))
    began = time.monotonic()
    try:
        stream.wait_more(50)
        wait_for("its absence is told", lambda: site.waits_for("Orthanc"), AWAY_SECONDS * 2)
        last(AWAY_SECONDS - (time.monotonic() - began))
        said = site.status()
        assert said and said["healthy"] and said["reception"] == "open", said
    finally:
        site.cat.run("nft", "delete", "table", "inet", "cut")


def _associations(node: Node) -> int:
    (task,) = node.tasks("auscat_orthanc")
    # /proc/net/tcp: local port 4242 is 1092, state 01 is established.
    listed = node.output("docker", "exec", task["Id"], "cat", "/proc/net/tcp")
    return sum(
        line.split()[1].endswith(":1092") and line.split()[3] == "01"
        for line in listed.splitlines()[1:]
    )


def ctp_disk_full(site: Site, stream: Mixed) -> None:
    """The file system of CTP's queues and quarantines."""
    with faults.full(site.kv, "/srv/auscat/ctp/temp"):
        wait_for("reception is closed", lambda: (site.status() or {}).get("reception") != "open")
        last(FULL_SECONDS)


def gate_disk_full(site: Site, stream: Mixed) -> None:
    """The file system in which the gate keeps large objects that are under way."""
    with faults.full(site.kv, "/srv/auscat/ctp/gate"):
        stream.wait_more(30)
        last(FULL_SECONDS)


def orthanc_disk_full(site: Site, stream: Mixed) -> None:
    """The file system of Orthanc's studies and index."""
    with faults.full(site.cat, "/srv/auscat/orthanc"):
        before = len(stream.acknowledged)
        wait_for("objects queue", lambda: (site.status() or {}).get("queued", 0) > 10)
        last(FULL_SECONDS)
        assert len(stream.acknowledged) > before, "nothing was received meanwhile"


def keydb_disk_full(site: Site, stream: Mixed) -> None:
    """The file system of KeyDB, while somebody writes into it."""
    (task,) = site.kv.tasks("auscat_keydb")
    write = (
        "psql --no-psqlrc --username=key_admin --dbname=key_db --command='CREATE TABLE filled AS"
        " SELECT repeat(md5(n::text), 30) FROM generate_series(1, 200000) AS n'"
    )
    with faults.full(site.kv, "/srv/auscat/keydb"):
        said = site.kv.run("docker", "exec", task["Id"], "sh", "-c", write, check=False)
        assert said.returncode, "KeyDB has written to a full disk"
        assert "No space left" in said.stderr or "connection" in said.stderr, said.stderr
        last(FULL_SECONDS)


HOURS = 2


def clock_jumps(machine: str, services: list[str]) -> Happens:
    """The clock of the services jumps ahead, and back again; patients are loaded after each."""

    def happens(site: Site, stream: Mixed) -> None:
        node = getattr(site, machine)
        with (
            tempfile.TemporaryDirectory() as scratch,
            settable(node, services, Path(scratch)) as set_clock,
        ):
            for seconds in (HOURS * 3600, 0):
                set_clock(seconds)
                for service in services:
                    assert abs(now(node, service) - time.time() - seconds) < 5, service
                stream.wait_more(30)
                if machine == "kv":
                    _new_patient_arrives(site)

    return happens


def _new_patient_arrives(site: Site) -> None:
    patient = new_patient()
    site.load(patient)
    with Stream(site.kv, ct_slices(patient.patient_id, 3, 64), senders=1) as stream:
        stream.wait(3)

    def there() -> bool:
        found = len(arrived(site.orthanc, patient.pseudonym))
        held = [reason for uid, reason in site.reasons() if uid in stream.offered]
        assert found == 3, f"{found} of 3 arrived, in quarantine: {held}"
        return True

    wait_for("a patient who is loaded now is known", there)
    site.forget(patient.pseudonym)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    title: str
    happens: Happens


CASES = [
    Case("kill_orthanc", "`kill -9` of Orthanc", kill("cat", "orthanc", r" Orthanc /")),
    Case("kill_session", "`kill -9` of a KeyDB session", kill("kv", "keydb", "ctp_key_db_select")),
    Case("kill_keydb", "`kill -9` of KeyDB's server", kill("kv", "keydb", "postgres -D")),
    Case("kill_ctp", "`kill -9` of CTP's program", kill("kv", "ctp", faults.ENGINE)),
    Case(
        "kill_supervisor",
        "`kill -9` of CTP's supervisor",
        kill("kv", "ctp", "python3 -m ctp_supervisor$"),
    ),
    Case(
        "kill_gate",
        "`kill -9` of the gate in front of CTP",
        kill("kv", "ctp_gate", "python3 -m ctp_supervisor.gate$"),
    ),
    Case("restart_engine_kv", "restart of the Docker engine, keyvm", restart_engine("kv")),
    Case("restart_engine_cat", "restart of the Docker engine, catvm", restart_engine("cat")),
    Case("kill_engine_kv", "`kill -9` of the Docker engine, keyvm", kill_engine("kv")),
    Case("kill_engine_cat", "`kill -9` of the Docker engine, catvm", kill_engine("cat")),
    Case("reboot_kv", "sudden restart of keyvm", reboot("kv")),
    Case("reboot_cat", "sudden restart of catvm", reboot("cat")),
    Case("orthanc_away", f"Orthanc away for {AWAY_SECONDS:.0f} s or more", orthanc_away),
    Case("keydb_away", "KeyDB away for 30 s", keydb_away),
    Case(
        "network_cut",
        f"network between the machines cut for {AWAY_SECONDS:.0f} s or more",
        network_cut,
    ),
    Case("ctp_disk_full", f"disk of CTP full for {FULL_SECONDS:.0f} s", ctp_disk_full),
    Case("gate_disk_full", f"disk of the gate full for {FULL_SECONDS:.0f} s", gate_disk_full),
    Case("orthanc_disk_full", f"disk of Orthanc full for {FULL_SECONDS:.0f} s", orthanc_disk_full),
    Case(
        "clock_kv",
        f"clock of keyvm {HOURS} h ahead, then back",
        clock_jumps("kv", ["auscat_keydb", "auscat_ctp"]),
    ),
    Case(
        "clock_cat",
        f"clock of catvm {HOURS} h ahead, then back",
        clock_jumps("cat", ["auscat_orthanc"]),
    ),
    Case("keydb_disk_full", f"disk of KeyDB full for {FULL_SECONDS:.0f} s", keydb_disk_full),
]
