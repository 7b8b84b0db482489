"""KeyDB as its custodian reaches it from another machine, by the command of docs/keydb.md."""

from __future__ import annotations

import pytest
from shared.machines import Machine, Node

USER = "ctp_key_db_select"


@pytest.fixture(scope="module")
def trusted(kv: Node, pacs: Machine) -> str:
    """The certificate of the node's CA, on the custodian's machine."""
    pem = kv.output("cat", "/etc/auscat/tls/ca.pem")
    pacs.run("sh", "-ec", "cat > /root/auscat-ca.pem", stdin=pem + "\n")
    return "/root/auscat-ca.pem"


def psql(pacs: Machine, kv: Node, host: str, settings: str) -> str:
    """What psql says on the custodian's machine."""
    place = f"host={host} hostaddr={kv.address} port=5433 dbname=key_db user={USER} {settings}"
    script = 'IFS= read -r PGPASSWORD; export PGPASSWORD; exec psql "$1" -Atc "$2" 2>&1'
    question = "SELECT 'version ' || version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    password = kv.variables["keydb_ctp_password"]
    done = pacs.run(
        *("bash", "-uc", script, "psql", place, question), stdin=password + "\n", check=False
    )
    return str(done.stdout)


@pytest.mark.parametrize("host", ["kv", "the address"])
def test_the_documented_command(kv: Node, pacs: Machine, trusted: str, host: str) -> None:
    name = kv.address if host == "the address" else host
    told = psql(pacs, kv, name, f"sslmode=verify-full sslrootcert={trusted}")
    assert told.strip() in ("version TLSv1.3", "version TLSv1.2")


@pytest.mark.parametrize(
    ("host", "settings", "expected"),
    [
        ("kv", "sslmode=disable", "no encryption"),
        ("cat", "sslmode=verify-full sslrootcert={}", "does not match host name"),
        (
            "kv",
            "sslmode=verify-full sslrootcert=/etc/ssl/certs/ca-certificates.crt",
            "verify failed",
        ),
        ("kv", "sslmode=require ssl_max_protocol_version=TLSv1.1", "psql: error"),
    ],
)
def test_what_is_refused(
    kv: Node, pacs: Machine, trusted: str, host: str, settings: str, expected: str
) -> None:
    told = psql(pacs, kv, host, settings.format(trusted))
    assert expected in told
    assert "version TLS" not in told
