"""What a machine is told of its site's network."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.filter.images import certificates
from ansible_collections.auscat.imaging.plugins.module_utils.host import site_network

PROXY = "http://proxy.example:3128"


def pem(body: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"


def files(**settings: Any) -> dict[str, tuple[str, int]]:
    given = {"http": "", "https": "", "without": [], "pem": [], "engine": {}, "systemd": True}
    return site_network.files(**{**given, **settings})


def test_nothing_set_is_no_file() -> None:
    assert files() == {}


def test_proxy_reaches_apt_and_engine() -> None:
    wished = files(http=PROXY, https="http://tls.example:1", without=["localhost", "10.0.0.0/8"])
    apt, mode = wished[site_network.APT]
    assert f'Acquire::http::Proxy "{PROXY}";' in apt
    assert 'Acquire::https::Proxy "http://tls.example:1";' in apt
    assert 'Acquire::http::Proxy::localhost "DIRECT";' in apt
    # apt knows no networks there, and would stumble over the slash.
    assert "Proxy::10.0.0.0" not in apt
    assert mode == 0o644
    unit, _ = wished[site_network.ENGINE_UNIT]
    assert f'Environment="HTTP_PROXY={PROXY}"' in unit
    assert 'Environment="HTTPS_PROXY=http://tls.example:1"' in unit
    assert 'Environment="NO_PROXY=localhost,10.0.0.0/8"' in unit


def test_without_systemd_there_is_no_unit() -> None:
    assert site_network.ENGINE_UNIT not in files(http=PROXY, engine={"A": "1"}, systemd=False)


def test_password_of_a_proxy_is_for_root_alone() -> None:
    wished = files(http="http://me:p%40ss@proxy.example:1", engine={"A": "1"})
    assert {path for path, (text, _) in wished.items() if "p%40ss" in text.replace("%%", "%")} == {
        site_network.APT,
        site_network.ENGINE_PROXY,
    }
    assert wished[site_network.APT][1] == wished[site_network.ENGINE_PROXY][1] == 0o600
    # Anybody may ask systemd what stands in a unit.
    unit, _ = wished[site_network.ENGINE_UNIT]
    assert f"EnvironmentFile={site_network.ENGINE_PROXY}\n" in unit
    assert 'Environment="A=1"' in unit


def test_a_shell_reads_the_engines_proxy_as_it_is(tmp_path: Any) -> None:
    proxy = "http://me:p%40s$HOME`s&;*@proxy.example:1"
    text, mode = files(http=proxy, without=["localhost"], systemd=False)[site_network.ENGINE_PROXY]
    (tmp_path / "environment").write_text(text)
    script = 'set -a; . ./environment; printf "%s %s" "$HTTP_PROXY" "$no_proxy"'
    said = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (said.stdout, mode) == (f"{proxy} localhost", 0o600)


def test_each_change_shows_in_the_digest() -> None:
    digests = {
        site_network.digest(files(**settings), "salt$")
        for settings in (
            {},
            {"engine": {"A": "1"}},
            {"http": PROXY},
            {"http": PROXY, "without": ["10.0.0.0/8"]},
            {"http": PROXY, "without": ["10.0.0.0/8"], "systemd": False},
            {"http": PROXY, "without": ["10.0.0.0/16"], "systemd": False},
            {"pem": [pem("AAAA")]},
        )
    }
    assert len(digests) == 7


def test_the_digest_is_salted() -> None:
    one, other = (site_network.digest(files(http=PROXY)) for _ in range(2))
    assert one != other
    assert site_network.digest(files(http=PROXY), one) == one
    assert site_network.digest(files(), one) != one


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://proxy", "http://a b", 'http://"'])
def test_what_is_no_proxy(proxy: str) -> None:
    with pytest.raises(site_network.SiteNetworkError, match=r"auscat_http_proxy is .*HOST:PORT"):
        site_network.proxy_variables(proxy, "", [])


@pytest.mark.parametrize("password", ["secret", "sec@secret", "secret/secret", "secret\nsecret"])
def test_error_hides_the_password(password: str) -> None:
    with pytest.raises(site_network.SiteNetworkError) as error:
        site_network.proxy_variables("", f"https://me:{password}@proxy with a space", [])
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "proxy",
    [
        "me:secret@proxy:3128",
        "//me:secret@proxy:3128",
        "socks5://me:secret@proxy",
        "me:s//secret@p",
    ],
)
def test_error_hides_the_password_without_a_scheme_too(proxy: str) -> None:
    with pytest.raises(site_network.SiteNetworkError) as error:
        site_network.proxy_variables(proxy, "", [])
    assert "secret" not in str(error.value) and "***@p" in str(error.value)


def test_no_proxy_is_one_list() -> None:
    given = ["localhost", "a,b , c", "", None, ["d", "a"], "localhost"]
    assert site_network.no_proxy(given) == ["localhost", "a", "b", "c", "d"]


def test_certificates_are_taken_apart() -> None:
    one, two = pem("AAAA"), pem("BBBB")
    assert site_network.certificates([f"# hospital\n{two}\n{one}\n", one]) == [one, two]
    assert site_network.certificates([one.replace("\n", "\r\n")]) == [one]
    wished = files(pem=[one, two])
    assert len(wished) == 2
    assert all(path.endswith(".crt") for path in wished)


@pytest.mark.parametrize(
    ("text", "says"),
    [("hello", "without a certificate"), ("-----BEGIN EC PRIVATE " + "KEY-----", "private key")],
)
def test_what_is_no_certificate(text: str, says: str) -> None:
    with pytest.raises(site_network.SiteNetworkError, match=f"auscat_ca_certificates.*{says}"):
        site_network.certificates([text])


def test_filter_reads_files_of_the_controller(tmp_path: Any) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(pem("AAAA"))
    assert certificates([str(file), pem("BBBB")]) == [pem("AAAA"), pem("BBBB")]
    assert certificates([]) == []
    with pytest.raises(AnsibleFilterError, match="cannot be read on the controller"):
        certificates([str(tmp_path / "none.pem")])
