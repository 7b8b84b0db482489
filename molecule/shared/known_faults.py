"""The faults that troubleshoot.yml is tried against: how each is caused and undone, and which cause
the first line of the diagnosis must name.

One list for all scenarios, `FAULTS`: most are caused in the scenario troubleshoot, those of a
host's own firewall where one is active (two_vm), the clock where a machine has one of its own (vm).
shared/diagnoses.py keeps what the first line said.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from shared import faults
from shared.ctp_node import new_patient, send_small, status
from shared.machines import Machine, Node, Scenario, wait_for
from shared.streams import Rest, page

KEYDB = (
    "docker exec --interactive $(docker ps -qf name=auscat_keydb) sh -c"
    " 'psql -qtA -d key_db -U $(cat /run/secrets/keydb_user)'"
)
SEAT = "10.213.90.1"
"""The operator's: the machine that runs the tests, in the network of the scenario troubleshoot."""


@dataclass(frozen=True)
class Asked:
    """With what troubleshoot.yml is run while the fault is there.

    Attributes:
        arguments: further ones of ansible-playbook.
        extra: extra variables.
        secret: what the diagnosis must not say.
    """

    arguments: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    secret: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """Where a fault is caused.

    Attributes:
        node: the machine of a scenario that has one.
        scratch: an empty directory of this machine.
    """

    scenario: Scenario
    node: Node
    scratch: Path

    @property
    def ctp(self) -> Rest:
        """CTP's page."""
        return page(self.node, 9090, "admin", self.node.variables["ctp_admin_password"])

    @property
    def orthanc(self) -> Rest:
        """Orthanc's REST API."""
        password = self.node.variables["orthanc_registered_users"]["admin"]
        return page(self.node, 8042, "admin", password)

    def client(self, name: str) -> Machine:
        """A neighbour."""
        return self.scenario.client(name)

    def healthy(self, services: int) -> None:
        """Wait until so many services run and are healthy."""
        self.node.wait_until_healthy(services, 240)


Happens = Callable[[Site], AbstractContextManager[Asked]]


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
        title: the fault, as the table says it.
        first: regular expression of what the first finding begins with.
        happens: causes it, and undoes it in the end.
        says: what else the diagnosis says.
        alone: what follows from it is told as no fault of its own.
        scenario: where it is caused.
    """

    name: str
    title: str
    first: str
    happens: Happens
    says: tuple[str, ...] = ()
    alone: bool = False
    scenario: str = "troubleshoot"


# Services.


def stopped(service: str, **extra: Any) -> Happens:
    """As somebody stops a service by hand."""

    @contextlib.contextmanager
    def happens(site: Site) -> Iterator[Asked]:
        services = len(site.node.services())
        faults.scale(site.node, f"auscat_{service}", 0)
        try:
            yield Asked(extra=extra)
        finally:
            faults.scale(site.node, f"auscat_{service}", 1)
            site.healthy(services)

    return happens


def ends(service: str) -> Happens:
    """Three containers in turn are killed; the fourth one runs, and is healthy."""

    @contextlib.contextmanager
    def happens(site: Site) -> Iterator[Asked]:
        services, full = len(site.node.services()), f"auscat_{service}"
        for _ in range(3):
            before = faults.container(site.node, full)
            site.node.run("docker", "kill", before)
            wait_for(
                f"another container of {service} runs",
                lambda gone=before: [t for t in site.node.tasks(full) if t["Id"] != gone],
                120,
            )
        site.healthy(services)
        yield Asked()

    return happens


@contextlib.contextmanager
def keydb_out_of_memory(site: Site) -> Iterator[Asked]:
    """A program in its container takes more than its limit."""
    container = faults.container(site.node, "auscat_keydb")
    done = site.node.run("docker", "exec", container, "tail", "/dev/zero", check=False)
    assert done.returncode == 137, f"it was not killed: {done.returncode} {done.stderr}"
    yield Asked()


@contextlib.contextmanager
def never_deployed(_: Site) -> Iterator[Asked]:
    """Another stack's name: none of its services is there."""
    yield Asked(extra={"auscat_stack_name": "elsewhere"})


# What is sent, and what becomes of it.


def title(calling: str, called: str) -> Happens:
    """The PACS sends under an AE title, to one."""

    @contextlib.contextmanager
    def happens(site: Site) -> Iterator[Asked]:
        patients = [new_patient()]
        pacs = site.client("pacs")
        assert send_small(pacs, site.node, patients, site.scratch, 1, called, calling) != 0
        # What a sender calls could be anything.
        yield Asked(secret=("WRONG",))

    return happens


def empty_quarantine(scenario: Scenario, ctp: Rest) -> None:
    """Remove what other tests left."""
    if status(ctp)["quarantine"]:
        extra = {"purge_older_than_days": "0.000001", "purge_confirm": "node"}
        assert scenario.play("playbooks/quarantine.yml", extra=extra).returncode == 0
        assert not status(ctp)["quarantine"]


@contextlib.contextmanager
def unknown_patient(site: Site) -> Iterator[Asked]:
    """One object of somebody whom KeyDB does not know."""
    ctp, patient = site.ctp, new_patient()
    empty_quarantine(site.scenario, ctp)
    assert send_small(site.client("pacs"), site.node, [patient], site.scratch) == 0
    wait_for("it is held back", lambda: status(ctp)["quarantine"])
    try:
        yield Asked(secret=(patient.patient_id,))
    finally:
        empty_quarantine(site.scenario, ctp)


@contextlib.contextmanager
def orthanc_knows_another_title(site: Site) -> Iterator[Asked]:
    """Orthanc's list of modalities, as its REST API changes it until the next start."""
    modalities = site.orthanc.ask("/modalities?expand")
    (name,) = modalities

    def put(aet: str) -> None:
        with contextlib.suppress(json.JSONDecodeError):  # it answers with nothing
            site.orthanc.ask(f"/modalities/{name}", {**modalities[name], "AET": aet}, "PUT")

    try:
        put("OTHER")
        yield Asked(extra={"troubleshoot_phantom": True})
    finally:
        put(modalities[name]["AET"])


@contextlib.contextmanager
def orthanc_out_of_reach(site: Site) -> Iterator[Asked]:
    """What comes to Orthanc's DICOM port from other containers vanishes."""
    (task,) = site.node.tasks("auscat_orthanc")
    inside = ("nsenter", "--target", str(task["State"]["Pid"]), "--net", "nft")
    rules = """
        table inet cut {
            chain in {
                type filter hook input priority -20;
                iifname != "lo" tcp dport 4242 drop;
            }
        }
    """
    site.node.run(*inside, "-f", "-", stdin=rules)
    try:
        yield Asked()
    finally:
        site.node.run(*inside, "delete", "table", "inet", "cut")


# Firewalls.


@contextlib.contextmanager
def foreign_rule(site: Site) -> Iterator[Asked]:
    """Somebody's own table drops what comes to a port."""
    site.node.shell(
        "nft add table inet hospital;"
        "nft add chain inet hospital gateway '{ type filter hook forward priority -20; }';"
        "nft add rule inet hospital gateway tcp dport 8042 counter drop"
    )
    try:
        yield Asked()
        packets = site.node.output("nft", "list", "table", "inet", "hospital")
        assert "packets 0 " not in packets, "the rule did stop the connection from here"
    finally:
        site.node.run("nft", "delete", "table", "inet", "hospital")
    assert site.orthanc.ask("/system")


@contextlib.contextmanager
def undeclared_sender(site: Site) -> Iterator[Asked]:
    """A neighbour whom the inventory lets in nowhere."""
    assert not site.client("stranger").connects(site.node.address, 8104)
    yield Asked(extra={"troubleshoot_sender": "stranger"})


@contextlib.contextmanager
def undeclared_sender_ipv6(_: Site) -> Iterator[Asked]:
    """One who would come by IPv6. The rules are followed, nothing is sent."""
    yield Asked(extra={"troubleshoot_sender": "2001:db8::7"})


@contextlib.contextmanager
def operator_shut_out(site: Site) -> Iterator[Asked]:
    """The address is taken out of the loaded set."""
    element = ("element", "inet", "auscat", "tcp_8042_ipv4", f"{{ {SEAT} }}")
    site.node.run("nft", "delete", *element)
    try:
        yield Asked()
    finally:
        site.node.run("nft", "add", *element)


@contextlib.contextmanager
def rules_missing(site: Site) -> Iterator[Asked]:
    """In a network of test hosts, and for a moment."""
    site.node.run("nft", "delete", "table", "inet", "auscat")
    try:
        yield Asked()
    finally:
        site.node.run("nft", "--file", "/etc/auscat/firewall.nft")


@contextlib.contextmanager
def ufw_lacks_a_rule(site: Site) -> Iterator[Asked]:
    """One of those that site.yml gave it, for the PACS."""
    node, rule = site.scenario.node("kv"), "allow from 10.213.78.31 to any port 8104 proto tcp"
    node.run("ufw", "delete", *rule.split())
    try:
        yield Asked()
    finally:
        node.run("ufw", *rule.split(), "comment", "auscat-firewall")


@contextlib.contextmanager
def firewalld_lacks_a_rule(site: Site) -> Iterator[Asked]:
    """One of those that site.yml gave it, for the researcher."""
    node = site.scenario.node("cat")
    rule = 'rule family="ipv4" source address="10.213.78.32" port port="8042" protocol="tcp" accept'
    node.run("firewall-cmd", f"--remove-rich-rule={rule}")
    try:
        yield Asked()
    finally:
        node.run("firewall-cmd", f"--add-rich-rule={rule}")


# Disks.


@contextlib.contextmanager
def ctp_disk_full(site: Site) -> Iterator[Asked]:
    """Up to 30 MiB, of which CTP takes nothing any more."""
    directory, ctp = "/srv/auscat/ctp/temp", site.ctp
    free = int(site.node.output("df", "--output=avail", "--block-size=1M", directory).split()[-1])
    site.node.run("fallocate", "--length", f"{free - 30}M", f"{directory}/filler")
    try:
        wait_for("CTP has closed its reception", lambda: status(ctp)["reception"] != "open")
        yield Asked()
    finally:
        site.node.run("rm", f"{directory}/filler")
        wait_for("CTP takes studies again", lambda: status(ctp)["reception"] == "open")


def disk_full(directory: str) -> Happens:
    """To the last byte."""

    @contextlib.contextmanager
    def happens(site: Site) -> Iterator[Asked]:
        services = len(site.node.services())
        with faults.full(site.node, directory):
            yield Asked()
        site.healthy(services)

    return happens


# Secrets.


def keydb_role(change: str, back: str) -> Happens:
    """Somebody changes CTP's role in KeyDB. ``{verifier}`` is what KeyDB had of its password."""

    @contextlib.contextmanager
    def happens(site: Site) -> Iterator[Asked]:
        query = "SELECT rolpassword FROM pg_authid WHERE rolname = 'ctp_key_db_select';"
        verifier = site.node.shell(KEYDB, stdin=query)
        assert verifier.startswith("SCRAM-SHA-256$")
        site.node.shell(KEYDB, stdin=f"ALTER ROLE ctp_key_db_select {change};")
        try:
            yield Asked(secret=(verifier,))
        finally:
            restored = back.format(verifier=verifier)
            site.node.shell(KEYDB, stdin=f"ALTER ROLE ctp_key_db_select {restored};")

    return happens


@contextlib.contextmanager
def keydb_table_missing(site: Site) -> Iterator[Asked]:
    """Somebody gives the table of patients another name."""
    site.node.shell(KEYDB, stdin="ALTER TABLE patient RENAME TO patient_away;")
    try:
        yield Asked()
    finally:
        site.node.shell(KEYDB, stdin="ALTER TABLE patient_away RENAME TO patient;")


@contextlib.contextmanager
def another_password(_: Site) -> Iterator[Asked]:
    """The inventory has one that was not deployed yet."""
    password = "not-yet-deployed-3f1b8a"
    yield Asked(extra={"orthanc_registered_users": {"admin": password}}, secret=(password,))


# The machine.


def expired() -> str:
    """A certificate of long ago, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "expired")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2020, 1, 2))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


SITE_CA = "/usr/local/share/ca-certificates/expired.crt"
SWARM = "/var/lib/docker/swarm/certificates/swarm-node.crt"


@contextlib.contextmanager
def site_certificate_expired(site: Site) -> Iterator[Asked]:
    """One of the hospital's own, as auscat_ca_certificates puts it there."""
    site.node.run("tee", SITE_CA, stdin=expired())
    try:
        yield Asked()
    finally:
        site.node.run("rm", SITE_CA)


@contextlib.contextmanager
def swarm_certificate_expired(site: Site) -> Iterator[Asked]:
    """In its place on the disk, which a running engine has no need of."""
    site.node.run("cp", "--preserve", SWARM, "/root/swarm-node.crt")
    site.node.run("tee", SWARM, stdin=expired())
    try:
        yield Asked()
    finally:
        site.node.run("cp", "--preserve", "/root/swarm-node.crt", SWARM)
        site.node.run("rm", "/root/swarm-node.crt")


def inventory(site: Site, **variables: Any) -> Asked:
    """Give a second inventory, which says something else of the node."""
    path = site.scratch / "other.yml"
    path.write_text(json.dumps({"all": {"hosts": {"node": variables}}}))
    return Asked(arguments=("--inventory", str(path)))


@contextlib.contextmanager
def python_has_another_clock(site: Site) -> Iterator[Asked]:
    """Time is shared with the machine that runs the tests, so it is another one for Ansible's
    Python on the node alone: a double of the clock, and of nothing else."""
    site.node.shell(
        "mkdir -p /opt/clock; cd /opt/clock;"
        "printf 'import time\\nnow = time.time\\ntime.time = lambda: now() + 10800\\n'"
        " > sitecustomize.py;"
        "printf '#!/bin/sh\\nPYTHONPATH=/opt/clock exec /usr/bin/python3 \"$@\"\\n' > python;"
        "chmod +x python"
    )
    try:
        yield inventory(site, ansible_python_interpreter="/opt/clock/python")
    finally:
        site.node.run("rm", "-r", "/opt/clock")


@contextlib.contextmanager
def clock_ahead(site: Site) -> Iterator[Asked]:
    """The machine's own clock, set by hand."""
    services = len(site.node.services())
    site.node.shell("date --set=@$(( $(date +%s) + 10800 ))")
    try:
        # Its disk is small.
        yield Asked(extra={"ctp_minimum_free_mib": 64})
    finally:
        site.node.shell("date --set=@$(( $(date +%s) - 10800 ))")
        site.node.wait_until_healthy(services, 1200)


@contextlib.contextmanager
def machine_away(site: Site) -> Iterator[Asked]:
    """No machine of that name."""
    yield inventory(site, ansible_host="auscat-test-troubleshoot-nowhere")


@contextlib.contextmanager
def no_python(site: Site) -> Iterator[Asked]:
    """The machine answers, and cannot be looked at."""
    (python,) = site.node.output("realpath", "/usr/bin/python3").split()
    site.node.run("mv", python, f"{python}.away")
    try:
        yield Asked(secret=("cannot be reached",))
    finally:
        site.node.run("mv", f"{python}.away", python)


@contextlib.contextmanager
def engine_down(site: Site) -> Iterator[Asked]:
    """Its socket goes on listening: systemd would start the engine for whoever asked it."""
    services = len(site.node.services())
    site.node.run("systemctl", "stop", "docker.service")
    assert site.node.output("systemctl", "is-active", "docker.socket") == "active"
    try:
        yield Asked()
        state = site.node.run("systemctl", "is-active", "docker.service", check=False).stdout
        assert state.strip() == "inactive", "looking has started it"
    finally:
        site.node.run("systemctl", "start", "docker")
        site.healthy(services)


@contextlib.contextmanager
def swarm_locked(site: Site) -> Iterator[Asked]:
    """The engine is started anew with autolock on, and nobody has given the key."""
    node = site.node

    def state() -> str:
        return node.output("docker", "info", "--format", "{{.Swarm.LocalNodeState}}")

    services = len(node.services())
    node.run("docker", "swarm", "update", "--autolock=true")
    key = node.output("docker", "swarm", "unlock-key", "--quiet")
    node.run("systemctl", "reset-failed", "docker.service", check=False)
    node.run("systemctl", "restart", "docker.service", timeout=240)
    try:
        wait_for("the Swarm is locked", lambda: state() == "locked", 120)
        yield Asked(secret=(key,))
    finally:
        node.run("docker", "swarm", "unlock", stdin=f"{key}\n")
        wait_for("the Swarm is unlocked", lambda: state() == "active", 120)
        node.run("docker", "swarm", "update", "--autolock=false")
        site.healthy(services)


_TITLE = r"CTP on node has refused the sender 10\.213\.90\.11 \w+( times)?, last at \d\d:\d\d UTC: "
_PORT = r"in to port {}: the address is not in the set tcp_{}_{} of the table inet auscat\."

FAULTS = [
    Fault(
        "ctp_stopped",
        "CTP is stopped by hand",
        r"CTP was stopped on node: its service is scaled to 0\.",
        stopped("ctp"),
        says=("docker service scale auscat_ctp=1",),
    ),
    Fault(
        "gate_stopped",
        "the gate in front of CTP is stopped by hand",
        r"The gate in front of CTP was stopped on node: its service is scaled to 0\.",
        stopped("ctp_gate"),
    ),
    Fault(
        "export_stopped",
        "the way from CTP to Orthanc is stopped by hand",
        r"The way from CTP to Orthanc was stopped on node: its service is scaled to 0\.",
        stopped("ctp_export"),
    ),
    Fault(
        "keydb_stopped",
        "KeyDB is stopped by hand",
        r"KeyDB was stopped on node: its service is scaled to 0\.",
        stopped("keydb"),
    ),
    Fault(
        "front_stopped",
        "the web server is stopped by hand",
        r"The web server in front of the pages was stopped on node: its service is scaled to 0\.",
        stopped("front"),
    ),
    Fault(
        "orthanc_stopped",
        "Orthanc is stopped by hand",
        r"Orthanc was stopped on node: its service is scaled to 0\.",
        # A phantom could not be removed from it again, so none is sent.
        stopped("orthanc", troubleshoot_phantom=True),
        alone=True,
    ),
    Fault(
        "never_deployed",
        "nothing was deployed",
        r"[\w ]+ is not deployed on node\.",
        never_deployed,
        says=tuple(f"{each} is not deployed on node." for each in ("CTP", "KeyDB", "Orthanc")),
    ),
    Fault(
        "called_title",
        "a sender calls CTP by another AE title",
        _TITLE + r"it calls CTP by an AE title that CTP does not have\. Accepted: CTP\.",
        title("PACS", "WRONG"),
    ),
    Fault(
        "unknown_patient",
        "a patient is not in KeyDB",
        r"CTP on node holds 1 object back in quarantine: KeyDB does not know their patients\.",
        unknown_patient,
        says=("load_keys.yml -e keys_file=… -e release=true",),
    ),
    Fault(
        "orthanc_out_of_reach",
        "what CTP sends to Orthanc vanishes",
        r"CTP on node (gets no answer from Orthanc|cannot reach Orthanc|finds the machine of"
        r" Orthanc, but nobody answers) at ",
        orthanc_out_of_reach,
    ),
    Fault(
        "calling_title",
        "a sender calls itself by another AE title",
        _TITLE + r"it calls itself by an AE title that CTP does not accept\. Accepted: PACS\.",
        title("WRONG", "CTP"),
    ),
    Fault(
        "orthanc_title",
        "Orthanc knows CTP by another AE title",
        r"Orthanc refuses CTP: it does not know the AE title CTP under which CTP comes",
        orthanc_knows_another_title,
        says=("2. Orthanc on node does not take a phantom that is sent to it without CTP",),
    ),
    Fault(
        "foreign_rule",
        "a firewall rule of somebody else's",
        r"A firewall rule on node that is not of this project drops what the operator"
        rf" \({re.escape(SEAT)}\) sends to port 8042: table inet hospital, chain gateway, handle 2:"
        r" tcp dport 8042 drop\.",
        foreign_rule,
    ),
    Fault(
        "undeclared_sender",
        "a sender is not in `ctp_dicom_sources`",
        r"The firewall of node does not let the sender \(10\.213\.90\.12\) "
        + _PORT.format(8104, 8104, "ipv4"),
        undeclared_sender,
        says=("add it to ctp_dicom_sources",),
    ),
    Fault(
        "undeclared_sender_ipv6",
        "a sender with IPv6 is not in `ctp_dicom_sources`",
        r"The firewall of node does not let the sender \(2001:db8::7\) "
        + _PORT.format(8104, 8104, "ipv6"),
        undeclared_sender_ipv6,
    ),
    Fault(
        "operator_shut_out",
        "an address is missing in the loaded rules",
        rf"The firewall of node does not let the operator \({re.escape(SEAT)}\) "
        + _PORT.format(8042, 8042, "ipv4"),
        operator_shut_out,
    ),
    Fault(
        "rules_missing",
        "the rules of the node are not loaded",
        r"The table inet auscat is missing on node: the ports are open to everybody\.",
        rules_missing,
    ),
    Fault(
        "ufw",
        "ufw lacks a rule",
        r"ufw is active on kv and lacks the rules for port 8104\.",
        ufw_lacks_a_rule,
        scenario="two_vm",
    ),
    Fault(
        "firewalld",
        "firewalld lacks a rule",
        r"firewalld is active on cat and lacks the rules for port 8042\.",
        firewalld_lacks_a_rule,
        scenario="two_vm",
    ),
    Fault(
        "ctp_disk",
        "CTP's disk is full",
        r"The disk of CTP's data on node is full: /srv/auscat/ctp/temp has ",
        ctp_disk_full,
        says=("CTP on node has closed its reception: only ",),
    ),
    Fault(
        "gate_disk",
        "the gate's disk is full",
        r"The disk of the gate in front of CTP on node is full: /srv/auscat/ctp/gate has ",
        disk_full("/srv/auscat/ctp/gate"),
    ),
    Fault(
        "keydb_disk",
        "KeyDB's disk is full",
        r"The disk of KeyDB's data on node is full: /srv/auscat/keydb has ",
        disk_full("/srv/auscat/keydb"),
    ),
    Fault(
        "orthanc_disk",
        "Orthanc's disk is full",
        r"The disk of Orthanc's data on node is full: /srv/auscat/orthanc has ",
        disk_full("/srv/auscat/orthanc"),
    ),
    Fault(
        "keydb_password",
        "KeyDB has another password for CTP",
        r"KeyDB on node has another password for CTP's role ctp_key_db_select than the inventory"
        r" \(keydb_ctp_password\), so it refuses CTP\.",
        keydb_role("PASSWORD 'changed-by-hand'", "PASSWORD '{verifier}'"),
    ),
    Fault(
        "keydb_no_login",
        "CTP's role in KeyDB may not log in",
        r"KeyDB on node has no role ctp_key_db_select that may log in, so CTP cannot look",
        keydb_role("NOLOGIN", "LOGIN"),
    ),
    Fault(
        "keydb_table",
        "KeyDB's table of patients is missing",
        r"KeyDB on node answers, but its table of patients \(keydb_table\) is missing or cannot",
        keydb_table_missing,
    ),
    Fault(
        "other_secret",
        "the inventory has a password that was not deployed",
        r"What runs on node was given other secrets than the inventory has now: orthanc\.json\.",
        another_password,
        says=("Orthanc on node refuses the first user of orthanc_registered_users",),
    ),
    Fault(
        "clock_of_python",
        "the clock is 3 hours ahead (a double of it)",
        r"The clock of node is 3 hours ahead of that of this machine\.",
        python_has_another_clock,
    ),
    Fault(
        "clock",
        "the clock is 3 hours ahead (the machine's own)",
        r"The clock of node is 3 hours ahead of that of this machine\.",
        clock_ahead,
        scenario="vm",
    ),
    Fault(
        "site_certificate",
        "a certificate of the hospital's has expired",
        rf"The certificate {re.escape(SITE_CA)} on node expired on 2020-01-02\.",
        site_certificate_expired,
    ),
    Fault(
        "swarm_certificate",
        "the Swarm's certificate has expired",
        rf"The certificate {re.escape(SWARM)} on node expired on 2020-01-02\.",
        swarm_certificate_expired,
    ),
    Fault(
        "machine_away",
        "the machine is away",
        r"The machine node cannot be reached from here; nothing on it could be checked\.",
        machine_away,
        alone=True,
    ),
    Fault(
        "no_python",
        "the machine answers and has no Python",
        r"The machine node can be reached, but what looks at it finds no Python there; nothing on"
        r" it could be checked\.",
        no_python,
        alone=True,
    ),
    # What ended within 15 minutes is told for as long; so these come after the others.
    Fault(
        "keydb_ends",
        "KeyDB's server ends again and again",
        r"KeyDB on node ends again and again: \d+ times in the last 15 minutes\.",
        ends("keydb"),
    ),
    Fault(
        "memory",
        "a program in KeyDB's container is killed for memory",
        r"KeyDB on node was killed for memory \w+( times)? in the last 15 minutes, its limit is"
        r" \d+ MiB\.",
        keydb_out_of_memory,
    ),
    Fault(
        "engine_down",
        "the Docker engine does not run",
        r"The Docker engine on node does not run, so none of the services does\.",
        engine_down,
        alone=True,
    ),
    Fault(
        "swarm_locked",
        "the Swarm is locked",
        r"The Swarm on node is locked, so none of the services runs: ",
        swarm_locked,
    ),
]


def of(scenario: str) -> list[Fault]:
    """The faults that are caused in a scenario, in the order in which they are."""
    return [each for each in FAULTS if each.scenario == scenario]


#: Each case of the scenario resilience: the fault that stands for it while it lasts. What is over
#: before anybody has looked leaves nothing to name.
RESILIENCE: dict[str, str | None] = {
    "kill_orthanc": "orthanc_stopped",
    "kill_session": None,
    "kill_keydb": "keydb_ends",
    "kill_ctp": "ctp_stopped",
    "kill_supervisor": "ctp_stopped",
    "kill_gate": "gate_stopped",
    "restart_engine_kv": "engine_down",
    "restart_engine_cat": "engine_down",
    "kill_engine_kv": "engine_down",
    "kill_engine_cat": "engine_down",
    "reboot_kv": "machine_away",
    "reboot_cat": "machine_away",
    "orthanc_away": "orthanc_stopped",
    "keydb_away": "keydb_stopped",
    "network_cut": "orthanc_out_of_reach",
    "ctp_disk_full": "ctp_disk",
    "gate_disk_full": "gate_disk",
    "orthanc_disk_full": "orthanc_disk",
    "clock_kv": "clock",
    "clock_cat": "clock",
    "keydb_disk_full": "keydb_disk",
}
