#!/usr/bin/python
# Copyright (c) 2026, The AusCAT imaging node project
"""Ansible module: limit the published ports of this host to their declared sources."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: port_guard
short_description: Limit published ports to their declared sources
version_added: 0.1.0
description:
  - Makes the nftables table C(inet auscat) of this host match the whole list of published
    ports. Ports that Docker publishes are included; rules of Docker, ufw, firewalld or the
    administrator are never touched.
  - The host itself always reaches its own ports. Every other machine, and every container,
    reaches a listed port only from one of its sources. Ports that are not listed are left
    alone.
  - The file, the rules that are loaded, and what loads them at boot are compared with what
    they should be, so that a run after C(nft flush ruleset) heals the host and says so.
  - Wherever Docker runs under systemd, it is started only after the rules are loaded.
  - Where ufw or firewalld is active, its own rules let the same ports in from the same sources,
    and are removed again with the port. Rules of the administrator are neither changed nor taken
    over. Where neither is active, nothing is added.
  - A port that is no longer listed, but is still served on the host, stays closed to everybody
    else until it is not served any more. Its container may run until the stack is deployed.
requirements:
  - nft (package nftables) and unshare (package util-linux) on the host
author:
  - The AusCAT imaging node project (!UNKNOWN)
options:
  ports:
    description:
      - All published ports of this host, of all services. An empty list guards no port.
      - Each entry is a mapping. C(published) is the port on the host, 1 to 65535; C(protocol)
        is C(tcp) (default) or C(udp); C(sources) is the list of IPv4 and IPv6 addresses and
        networks that may reach the port, and an empty list lets only the host itself in.
      - C(service), C(name) and C(purpose) appear in messages and where the rules are listed.
        C(variable) and C(sources_variable) are the names of the inventory variables behind the
        published port and the sources, for messages. C(target), the port in the container that is
        published there, says that a service of this host's Swarm is behind it. No container of that
        Swarm comes in by that way then, whatever C(sources) says. Other keys are ignored.
    type: list
    elements: raw
    default: []
  outgoing:
    description:
      - Whom the containers of this host's Swarm may open connections to. All else that comes from
        the bridge C(docker_gwbridge) is refused. Left out, nothing of that is limited.
      - Each entry is a mapping with C(network), an IPv4 network; C(protocol) (V(tcp) or V(udp)) and
        C(port), without which all ports are meant; and C(of_all), whether every container may, and
        not only those whose connections come from a port below 4096.
    type: list
    elements: raw
  outgoing_later:
    description:
      - Leave out O(outgoing) where containers may run that have been deployed without this limit,
        and know no names but by DNS; that is, where a Swarm or a table is, and no table has limited
        it.
    type: bool
    default: false
  path:
    description: The file that holds the rules. Its directory is created when missing.
    type: path
    required: true
  host_firewalls:
    description:
      - Whether to add rules to ufw and firewalld where one of them is active. V(false) removes
        those that were added.
    type: bool
    default: true
  boot:
    description:
      - Whether to install what loads the rules at boot and before Docker starts. This is a unit
        where systemd runs, an init script where C(/etc/init.d) and C(update-rc.d) exist, and
        nothing elsewhere.
    type: bool
    default: true
  state:
    description: V(absent) removes the rules, the file and what loads it at boot.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Says what would change, and changes nothing.
  diff_mode:
    support: full
    description: Shows files and the loaded rules, before and after.
"""

EXAMPLES = r"""
- name: Limit the published ports to their sources
  auscat.imaging.port_guard:
    path: "{{ auscat_config_root }}/firewall.nft"
    ports:
      - service: orthanc
        name: web
        published: 8042
        protocol: tcp
        sources: [10.20.0.0/16, "2001:db8:7::/48"]
        purpose: Web interface and REST API

- name: Remove the limits
  auscat.imaging.port_guard:
    path: "{{ auscat_config_root }}/firewall.nft"
    state: absent
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in words.
  returned: always
  type: list
  elements: str
  sample: ["Load the table inet auscat"]
ports:
  description: The ports that are guarded, and the networks that may reach each.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{"published": 8042, "protocol": "tcp", "sources": ["10.20.0.0/16"]}]
retired:
  description: Ports that are no longer listed and are kept closed because something serves them.
  returned: when O(state=present)
  type: list
  elements: str
  sample: ["tcp 4242"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.guard import Guard
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.outgoing import (
    OutgoingError,
    destinations,
)
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    SWARM_BRIDGE,
    PortRuleError,
    normalise,
    render,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            # The entries are checked by port_rules, whose errors name the inventory's variable.
            "ports": {"type": "list", "elements": "raw", "default": []},
            "outgoing": {"type": "list", "elements": "raw"},
            "outgoing_later": {"type": "bool", "default": False},
            "path": {"type": "path", "required": True},
            "host_firewalls": {"type": "bool", "default": True},
            "boot": {"type": "bool", "default": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    guard = Guard(module)
    result: dict[str, Any] = {}
    if module.params["state"] == "absent":
        guard.absent()
    else:
        try:
            rules = normalise(module.params["ports"])
            listed = module.params["outgoing"]
            to = None if listed is None else destinations(listed)
        except (PortRuleError, OutgoingError) as error:
            guard.fail(str(error))
        result["ports"] = [
            {"published": rule.published, "protocol": rule.protocol, "sources": rule.sources}
            for rule in rules
        ]
        retired = guard.retired(rules)
        result["retired"] = [f"{rule.protocol} {rule.published}" for rule in retired]
        if module.params["outgoing_later"] and guard.lets_all_out():
            to = None
        limited = sorted([*rules, *retired], key=lambda rule: rule[:2])
        guard.present(render(limited, SWARM_BRIDGE, to))
        # After our own rules: what is let in there is limited already.
        guard.open_in_host_firewalls(rules if module.params["host_firewalls"] else [])
    module.exit_json(changed=bool(guard.changes), changes=guard.changes, diff=guard.diff, **result)


if __name__ == "__main__":
    main()
