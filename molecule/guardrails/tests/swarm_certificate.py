"""A Swarm whose certificate has run out, as on a machine that was off for months."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from shared.machines import Machine, wait_for
from sites import Site, assert_refused

CERTIFICATES = "/var/lib/docker/swarm/certificates"
DAY = datetime.timedelta(days=1)
STATE = "{{.Swarm.LocalNodeState}}"


def run_out() -> dict[str, str]:
    """Make the CA of a Swarm, and a manager's certificate by it that was valid until last week."""
    now = datetime.datetime.now(datetime.timezone.utc)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "node")}
    ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")])
    node = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "organisation"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "swarm-manager"),
            x509.NameAttribute(NameOID.COMMON_NAME, "node"),
        ]
    )
    made = {}
    for name, subject, days, is_ca in (("ca", ca, 3650, True), ("node", node, -7, False)):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca)
            .public_key(keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 97 * DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .sign(keys["ca"], hashes.SHA256())
        )
        made[name] = certificate.public_bytes(serialization.Encoding.PEM).decode()
    key = keys["node"].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "swarm-root-ca.crt": made["ca"],
        "swarm-node.crt": made["node"],
        "swarm-node.key": key.decode(),
    }


def test_it_is_called_so_and_not_a_worker(production: Site, machines: dict[str, Machine]) -> None:
    node = machines["kv01"]
    installed = production.play("--tags", "docker_engine", "--limit", "kv01")
    assert installed.returncode == 0, installed.errors
    node.run("docker", "swarm", "init", "--advertise-addr", node.address)
    try:
        node.run("systemctl", "stop", "docker.socket", "docker.service")
        for name, text in run_out().items():
            node.run("tee", f"{CERTIFICATES}/{name}", stdin=text)
        node.run("systemctl", "start", "docker.service")
        wait_for(
            "the engine finds its Swarm's certificate",
            lambda: node.output("docker", "info", "--format", STATE) == "error",
        )
        before = production.fingerprints()
        outcome = production.play("--tags", "preflight", "--limit", "kv01")
        says = [
            "The certificate of the Swarm on kv01 is not valid now",
            "expired",
            "docker swarm init --force-new-cluster",
        ]
        assert_refused(outcome, says)
        assert "is a worker" not in outcome.errors
        assert production.fingerprints() == before
    finally:
        node.run("docker", "swarm", "leave", "--force")
