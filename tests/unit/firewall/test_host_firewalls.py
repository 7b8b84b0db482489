"""What is read from ufw and firewalld, and what they are told. Texts as the programs print them."""

from __future__ import annotations

from ansible_collections.auscat.imaging.plugins.module_utils.firewall.host_firewalls import (
    UfwRule,
    firewalld_rules,
    firewalld_zones,
    ufw_command,
    ufw_rules,
    ufw_wished,
    zones_to_open,
)
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import normalise

RULES = normalise(
    [
        {"published": 8042, "sources": ["10.20.0.0/16", "10.1.1.1", "2001:db8::5"]},
        {"published": 8104, "sources": []},
    ]
)

# ufw 0.36.2 (Debian 12): ufw show added
UFW = """\
Added user rules (see 'ufw status' for running firewall):
ufw allow 22/tcp
ufw allow from 10.213.78.99 to any port 8104 proto tcp comment 'by hand'
ufw allow from 10.1.1.1 to any port 8042 proto tcp comment 'auscat-firewall'
ufw allow from 2001:db8::5 to any port 8042 proto tcp comment 'auscat-firewall'
ufw deny from 10.9.9.9 to any port 8042 proto tcp
ufw allow from 10.1.1.2 to any port 80,443 proto tcp
ufw allow from 10.1.1.3 to any port 80 proto tcp comment 'it'"'"'s mine'
"""

# firewalld 2.3 (Debian 13): firewall-cmd --list-all-zones, shortened
ZONES = """\
docker (active)
  target: ACCEPT
  interfaces: docker0 docker_gwbridge
  rich rules:

public (default, active)
  target: default
  services: dhcpv6-client ssh
  rich rules:
\trule family="ipv4" source address="10.1.1.1" port port="8042" protocol="tcp" accept
\trule family="ipv4" source address="10.2.2.2" drop

trusted
  target: ACCEPT
  rich rules:
"""


def test_ufw_rules_are_told_apart_by_their_comment() -> None:
    found = ufw_rules(UFW)
    assert found.ours == {
        UfwRule("tcp", 8042, "10.1.1.1"),
        UfwRule("tcp", 8042, "2001:db8::5"),
    }
    assert found.others == {UfwRule("tcp", 8104, "10.213.78.99"), UfwRule("tcp", 80, "10.1.1.3")}


def test_ufw_gets_a_rule_for_each_source() -> None:
    assert ufw_wished(RULES, ipv6=True) == {
        UfwRule("tcp", 8042, "10.20.0.0/16"),
        UfwRule("tcp", 8042, "10.1.1.1"),
        UfwRule("tcp", 8042, "2001:db8::5"),
    }
    assert all(":" not in rule.source for rule in ufw_wished(RULES, ipv6=False))


def test_a_rule_that_ufw_was_told_is_read_back_as_ours() -> None:
    for rule in ufw_wished(RULES, ipv6=True):
        shown = " ".join(["ufw", *ufw_command(rule)])
        assert ufw_rules(shown).ours == {rule}


def test_firewalld_rules() -> None:
    assert firewalld_rules(RULES) == {
        'rule family="ipv4" source address="10.20.0.0/16" port port="8042" protocol="tcp" accept',
        'rule family="ipv4" source address="10.1.1.1" port port="8042" protocol="tcp" accept',
        'rule family="ipv6" source address="2001:db8::5" port port="8042" protocol="tcp" accept',
    }


def test_firewalld_zones() -> None:
    zones = firewalld_zones(ZONES)
    assert sorted(zones) == ["docker", "public", "trusted"]
    assert len(zones["public"].rich_rules) == 2
    assert zones["public"].rich_rules & firewalld_rules(RULES)
    assert zones_to_open(zones, "public") == ["public"]
    assert zones_to_open(zones, "trusted") == ["public", "trusted"]
