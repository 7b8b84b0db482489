"""The node without a way out, and the neighbour that serves as the site's registry and proxy."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest
from shared.machines import Machine, Node, Scenario, wait_for

REGISTRY_PORT = 5000
PROXY_PORT = 8888


@pytest.fixture(scope="session")
def island(scenario: Scenario) -> Node:
    """The node. Its network leads nowhere."""
    return scenario.node("island")


@pytest.fixture(scope="session")
def site(scenario: Scenario) -> Machine:
    """The neighbour, with a package registry's server and a proxy installed but not started."""
    machine = scenario.client("site")
    machine.shell(
        """
        dpkg-query --show docker-registry tinyproxy openssl > /dev/null 2>&1 && exit
        # Nothing starts before it is configured.
        printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \\
            docker-registry tinyproxy openssl > /dev/null
        """,
        timeout=300,
    )
    return machine


@dataclass(frozen=True)
class Proxy:
    """A plain HTTP proxy of the site."""

    machine: Machine
    url: str

    def log(self) -> str:
        """What it was asked for."""
        return self.machine.output("cat", "/var/log/tinyproxy/tinyproxy.log")


@pytest.fixture(scope="session")
def proxy(site: Machine) -> Proxy:
    """The proxy, which serves the node alone."""
    site.shell(
        f"""
        cat > /etc/tinyproxy/tinyproxy.conf <<END
User tinyproxy
Group tinyproxy
Port {PROXY_PORT}
Timeout 60
LogFile "/var/log/tinyproxy/tinyproxy.log"
LogLevel Connect
Allow 10.213.80.10
ConnectPort 443
END
        mkdir -p /var/log/tinyproxy
        chown tinyproxy /var/log/tinyproxy
        systemctl restart tinyproxy
        """
    )
    return Proxy(site, f"http://{site.address}:{PROXY_PORT}")


@dataclass(frozen=True)
class Registry:
    """A registry with TLS by the site's own CA and with a login."""

    machine: Machine
    address: str
    ca: str
    username: str
    password: str

    @property
    def login(self) -> dict[str, str]:
        """As images_registry_login takes it."""
        return {"url": self.address, "username": self.username, "password": self.password}


@pytest.fixture(scope="session")
def registry(site: Machine) -> Registry:
    """The registry, running."""
    password = f"token-{uuid.uuid4().hex}"
    site.shell(
        f"""
        mkdir -p /etc/docker/registry /srv/registry
        cd /etc/docker/registry
        openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj "/CN=Site test CA" \\
            -keyout ca.key -out ca.crt -addext basicConstraints=critical,CA:TRUE
        openssl req -newkey rsa:2048 -nodes -subj "/CN=registry" -keyout server.key -out server.csr
        printf 'subjectAltName=IP:{site.address}\\n' > extensions
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 7 \\
            -extfile extensions -out server.crt
        python3 -W ignore - <<'END' > htpasswd
import crypt
print("puller:" + crypt.crypt("{password}", crypt.mksalt(crypt.METHOD_BLOWFISH)))
END
        cat > config.yml <<'END'
version: 0.1
storage: {{filesystem: {{rootdirectory: /srv/registry}}}}
http:
  addr: 0.0.0.0:{REGISTRY_PORT}
  tls:
    certificate: /etc/docker/registry/server.crt
    key: /etc/docker/registry/server.key
auth: {{htpasswd: {{realm: site, path: /etc/docker/registry/htpasswd}}}}
END
        chown -R docker-registry /etc/docker/registry /srv/registry
        systemctl restart docker-registry
        """
    )
    wait_for("the registry listens", lambda: site.connects(site.address, REGISTRY_PORT))
    ca = site.output("cat", "/etc/docker/registry/ca.crt")
    return Registry(site, f"{site.address}:{REGISTRY_PORT}", ca, "puller", password)
