"""The site's proxy, set once, reaches apt, the engine and what is built; and goes again."""

from __future__ import annotations

import json

import pytest
from conftest import Proxy
from shared.machines import Node, Scenario

TAGS = ("--tags", "preflight,docker_engine")


@pytest.fixture
def packages() -> dict[str, list[str]]:
    return {"firewall_packages": ["nftables", "tree"]}


def test_packages_come_through_the_proxy(
    scenario: Scenario, island: Node, proxy: Proxy, packages: dict[str, list[str]]
) -> None:
    extra = {
        **packages,
        "images_source": "build",
        "auscat_http_proxy": proxy.url,
        "auscat_no_proxy": "pacs.hospital.example,10.0.0.0/8",
    }
    # Test hosts keep what they downloaded in an earlier run.
    island.shell("dpkg --purge tree; rm -f /var/cache/apt/archives/tree_*.deb")
    outcome = scenario.play("site.yml", *TAGS, extra=extra)
    assert outcome.returncode == 0, outcome.errors
    assert island.output("which", "tree")
    assert "tree_" in proxy.log()

    engine = island.json("docker", "info", "--format", "{{json .}}")
    assert engine["HttpProxy"] == proxy.url
    assert engine["HttpsProxy"] == proxy.url
    without = engine["NoProxy"].split(",")
    for name in ("localhost", "127.0.0.1", "orthanc", "ctp", "keydb", "keydb_server", "island"):
        assert name in without
    assert {"site", "pacs.hospital.example", "10.0.0.0/8"} <= set(without)
    apt = island.output("apt-config", "dump")
    assert f'Acquire::http::Proxy "{proxy.url}";' in apt
    assert 'Acquire::http::Proxy::pacs.hospital.example "DIRECT";' in apt

    again = scenario.play("site.yml", *TAGS, extra=extra)
    assert again.changed == 0, again.changed_tasks
    island.wait_until_healthy(5)


def test_proxy_of_a_build(scenario: Scenario, island: Node, proxy: Proxy) -> None:
    """What a build is given; the build itself is the same as on a machine with a network."""
    shown = scenario.play(
        "site.yml", *TAGS, "--check", "--diff", extra={"auscat_http_proxy": proxy.url}
    )
    assert shown.returncode == 0, shown.errors
    # The list of those without a proxy has changed, so the files would.
    assert shown.changed_tasks == [
        "auscat.imaging.docker_engine : Set the site's proxy and certificates",
        "auscat.imaging.docker_engine : Start the engine with systemd",
    ]
    base = island.output("docker", "image", "ls", "--quiet", "auscat-imaging/orthanc").split()[0]
    island.shell(
        f"""
        cd $(mktemp -d)
        printf 'FROM {base}\\nUSER root\\nRUN apt-get update -q && apt-get install -qy tree\\n' \\
            > Dockerfile
        export http_proxy={proxy.url}
        DOCKER_BUILDKIT=0 docker build --network host --build-arg http_proxy -t proxied . >&2
        docker history --no-trunc proxied | grep -c {proxy.url} && exit 1
        docker image rm proxied > /dev/null
        """,
        timeout=300,
    )


def test_proxy_goes_when_it_is_unset(
    scenario: Scenario, island: Node, packages: dict[str, list[str]]
) -> None:
    outcome = scenario.play("site.yml", *TAGS, extra=packages)
    assert outcome.returncode == 0, outcome.errors
    assert "proxy" not in island.output("systemctl", "show", "docker", "--property=Environment")
    assert island.run("test", "-e", "/etc/apt/apt.conf.d/80auscat-proxy", check=False).returncode
    assert not json.loads(island.output("docker", "info", "--format", "{{json .HTTPProxy}}"))
    island.wait_until_healthy(5)


def test_bad_proxy_is_refused(scenario: Scenario, island: Node) -> None:
    before = island.fingerprint()
    outcome = scenario.play(
        "site.yml", *TAGS, extra={"auscat_http_proxy": "proxy.hospital.example 3128"}
    )
    assert outcome.returncode != 0
    assert "auscat_http_proxy is" in outcome.errors
    assert "http://HOST:PORT" in outcome.errors
    assert island.fingerprint() == before
