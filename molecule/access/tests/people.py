"""A hospital's directory and login page: slapd and glewlwyd from Debian, on a neighbour."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.machines import Machine, wait_for

FILES = Path(__file__).resolve().parents[1] / "people"
THERE = "/root/people"
BASE = "dc=hospital,dc=example"
BIND_DN = f"cn=reader of the node,{BASE}"
BIND_PASSWORD = "bind-of-the-node-7c1e94d2"
CLIENT_ID = "auscat-node"
CLIENT_SECRET = "secret-of-the-client-5b90"

#: Groups in LDAP, with people, and with groups in them.
IN_LDAP: Mapping[str, tuple[str, ...]] = {
    "imaging readers": ("lena", "lotte", "lone", "steward", "ward 3"),
    "imaging curators": ("lars",),
    "imaging admins": ("lotte",),
    "ward 3": ("nils",),
    "kitchen": ("leo",),
}
#: Groups of the OpenID Connect provider.
AT_THE_PROVIDER: Mapping[str, tuple[str, ...]] = {
    "imaging readers": ("olga", "ora", "steward"),
    "imaging-curators": ("otto",),
    "imaging.admins": ("ora",),
    "kitchen, imaging.admins": ("ole",),
    "imagingXadmins": ("ole",),
}


def password(name: str) -> str:
    """The password of a person, in LDAP as at the provider."""
    return f"{name}-of-the-hospital"


def _people(groups: Mapping[str, tuple[str, ...]]) -> list[str]:
    return sorted({name for names in groups.values() for name in names} - set(groups))


def _ldif() -> str:
    """The directory's content."""
    entries = [
        f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Hospital\ndc: hospital",
        f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people",
        f"dn: ou=groups,{BASE}\nobjectClass: organizationalUnit\nou: groups",
        f"dn: {BIND_DN}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
        f"cn: reader of the node\nuserPassword: {BIND_PASSWORD}",
    ]
    for name in _people(IN_LDAP):
        entries.append(
            f"dn: uid={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\nuid: {name}\n"
            f"cn: {name}\nsn: {name}\nuserPassword: {password(name)}"
        )
    for group, members in IN_LDAP.items():
        listed = "".join(f"\nmember: {dn(member)}" for member in members)
        entries.append(f"dn: {dn(group)}\nobjectClass: groupOfNames\ncn: {group}{listed}")
    return "\n\n".join(entries) + "\n"


def dn(name: str) -> str:
    """The distinguished name of a person or a group."""
    if name in IN_LDAP:
        return f"cn={name},ou=groups,{BASE}"
    return f"uid={name},ou=people,{BASE}"


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(directory: Path, address: str) -> None:
    """Write the hospital's CA and the certificate of the machine to a directory."""
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Hospital", "-days", "30"),
        *("-keyout", directory / "ca.key", "-out", directory / "ca.pem"),
    )
    _openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=people"),
        *("-keyout", directory / "tls.key", "-out", directory / "tls.csr"),
    )
    (directory / "names").write_text(f"subjectAltName=IP:{address}\n")
    _openssl(
        *("x509", "-req", "-in", directory / "tls.csr", "-days", "30"),
        *("-CA", directory / "ca.pem", "-CAkey", directory / "ca.key", "-CAcreateserial"),
        *("-extfile", directory / "names", "-out", directory / "tls.crt"),
    )
    # What the provider signs its tokens with.
    _openssl("genrsa", "-out", directory / "token.key", "2048")
    _openssl("rsa", "-in", directory / "token.key", "-pubout", "-out", directory / "token.pub")


@dataclass(frozen=True)
class People:
    """The machine with the directory and the provider.

    Attributes:
        machine: it.
        ca: the hospital's CA, a file of this machine.
        page: the URL of Orthanc's page.
    """

    machine: Machine
    ca: Path
    page: str

    @property
    def issuer(self) -> str:
        """The provider's name for itself."""
        return f"https://{self.machine.address}:4593/api/oidc"

    def variables(self) -> dict[str, Any]:
        """What an operator puts into the inventory, with the values of the vault."""
        return {
            "orthanc_directory_password": "front-to-orthanc-4be07d93c1",
            "orthanc_ldap": {
                "servers": [self.machine.address],
                "base": f"ou=people,{BASE}",
                "ca_file": str(self.ca),
                "bind_dn": BIND_DN,
                "nested": 2,
                "groups": {
                    "reader": [dn("imaging readers")],
                    "curator": [dn("imaging curators")],
                    "admin": [dn("imaging admins")],
                },
            },
            "orthanc_ldap_bind_password": BIND_PASSWORD,
            "orthanc_oidc": {
                "issuer": self.issuer,
                "client_id": CLIENT_ID,
                "page_url": self.page,
                "ca_file": str(self.ca),
                "scopes": ["openid"],
                "groups": {
                    "reader": ["imaging readers"],
                    "curator": ["imaging-curators"],
                    "admin": ["imaging.admins"],
                },
            },
            "orthanc_oidc_client_secret": CLIENT_SECRET,
        }

    def start_ldap(self) -> None:
        """Start slapd as it was set up."""
        self.machine.shell(f"sh {THERE}/slapd.sh")
        wait_for("slapd listens", lambda: self.machine.connects("127.0.0.1", 636))

    def stop_ldap(self) -> None:
        """End slapd."""
        self.machine.shell("kill $(pidof slapd)")
        wait_for(
            "slapd is away", lambda: self.machine.run("pidof", "slapd", check=False).returncode
        )

    def binds_of(self, name: str) -> int:
        """Say how often slapd was asked whether a password is that of a person."""
        found = self.machine.run(
            "grep", "-c", f'BIND dn="{dn(name)}" method', "/var/log/slapd.log", check=False
        )
        return int(found.stdout or 0)


def set_up(machine: Machine, directory: Path, page: str) -> People:
    """Make a machine the hospital's directory and login page.

    Args:
        machine: a Debian with nothing of it; its packages are installed.
        directory: an empty one of this machine.
        page: the URL of Orthanc's page, to which the provider sends people back.
    """
    if machine.run("test", "-e", "/usr/bin/glewlwyd", check=False).returncode:
        machine.shell(
            r"""
            printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
            chmod 0755 /usr/sbin/policy-rc.d
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
                glewlwyd ldap-utils slapd
            """,
            timeout=600,
        )
    make_certificates(directory, machine.address)
    (directory / "people.ldif").write_text(_ldif())
    (directory / "address").write_text(machine.address)
    machine.run("mkdir", "-p", THERE)
    names = ("ca.pem", "tls.crt", "tls.key", "people.ldif", "address")
    for file in (*sorted(FILES.iterdir()), *(directory / name for name in names)):
        machine.put(file, THERE)
    machine.shell(f"sh {THERE}/start.sh")
    people = People(machine, directory / "ca.pem", page)
    wait_for("slapd listens", lambda: machine.connects("127.0.0.1", 636))
    wait_for("glewlwyd listens", lambda: machine.connects("127.0.0.1", 4593))
    given = {
        "people": {name: password(name) for name in _people(AT_THE_PROVIDER)},
        "groups": AT_THE_PROVIDER,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uri": f"{page}/.front/login",
        "key": (directory / "token.key").read_text(),
        "public": (directory / "token.pub").read_text(),
    }
    machine.run(
        "python3", f"{THERE}/provider.py", machine.address, stdin=json.dumps(given), timeout=60
    )
    return people


class Browser:
    """Asks for pages as a browser does: with its cookies, and the headers of one.

    Args:
        machine: where it runs, with curl.
        trusted: a file there with the CAs that it trusts.
        people: whose login page it is sent to.
    """

    def __init__(self, machine: Machine, trusted: str, people: People) -> None:
        self.machine, self.trusted, self.people = machine, trusted, people
        self.jar = machine.output("mktemp")

    def ask(self, url: str, *arguments: str) -> tuple[int, str, str]:
        """Ask for a page; return the status, where it sends to, and header and body."""
        said = self.machine.run(
            *("curl", "--silent", "--show-error", "--max-time", "60", "--include"),
            *("--cacert", self.trusted, "--cookie", self.jar, "--cookie-jar", self.jar),
            *("--write-out", "\n%{http_code} %{redirect_url}", *arguments, url),
            check=False,
        )
        body, _, last = said.stdout.rpartition("\n")
        status, _, target = last.partition(" ")
        return int(status or 0), target, body + said.stderr

    def open(self, path: str) -> tuple[int, str, str]:
        """Open a page of Orthanc, as from the address bar."""
        return self.ask(
            f"{self.people.page}{path}",
            *("--header", "Accept: text/html", "--header", "Sec-Fetch-Mode: navigate"),
            *("--header", "Sec-Fetch-Site: none", "--header", "Sec-Fetch-Dest: document"),
        )

    def fetch(self, path: str, *arguments: str) -> tuple[int, str, str]:
        """Ask for what a page of Orthanc asks for."""
        return self.ask(
            f"{self.people.page}{path}",
            *("--header", "Sec-Fetch-Mode: cors", "--header", "Sec-Fetch-Site: same-origin"),
            *arguments,
        )

    def log_in(self, name: str) -> str:
        """Open Orthanc's page and log in at the provider; return what the front says last."""
        provider = f"https://{self.people.machine.address}:4593/api"
        status, asked, text = self.open("/app/explorer.html?from=here")
        assert status == 302 and asked.startswith(f"{self.people.issuer}/auth?"), text
        body = json.dumps({"username": name, "password": password(name)})
        as_json = ("--header", "Content-Type: application/json", "--data")
        assert self.ask(f"{provider}/auth/", *as_json, body)[0] == 200
        consent = (*as_json, json.dumps({"scope": "openid"}), "--request", "PUT")
        assert self.ask(f"{provider}/auth/grant/{CLIENT_ID}", *consent)[0] == 200
        status, back, text = self.ask(f"{asked}&g_continue")
        assert status == 302 and back.startswith(f"{self.people.page}/.front/login?"), text
        status, target, text = self.ask(
            back,
            *("--header", "Accept: text/html", "--header", "Sec-Fetch-Mode: navigate"),
            *("--header", "Sec-Fetch-Site: cross-site", "--header", "Sec-Fetch-Dest: document"),
        )
        assert status == 302, text
        assert target == f"{self.people.page}/app/explorer.html?from=here"
        return text
