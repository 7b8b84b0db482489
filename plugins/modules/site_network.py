#!/usr/bin/python
"""Ansible module: tell a machine its site's proxy and extra CA certificates, all at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_network
short_description: Set proxy and extra CA certificates for apt, the Docker engine and the machine
version_added: 0.1.0
description:
  - Writes the proxy for apt and for the Docker engine, and puts extra CA certificates into the
    machine's trust store, which the engine reads too. What was set earlier and is wished no more is
    removed.
  - Does not restart the engine. It says whether that is due, also when an earlier run was
    interrupted before it.
options:
  http_proxy:
    description: URL of the proxy for HTTP. Empty, none.
    type: str
    default: ""
  https_proxy:
    description: URL of the proxy for HTTPS. Empty, none.
    type: str
    default: ""
  no_proxy:
    description: Names, addresses and networks that are reached directly.
    type: list
    elements: str
    default: []
  certificates:
    description: CA certificates in PEM.
    type: list
    elements: str
    default: []
  engine_environment:
    description: Further environment variables of the Docker engine, where systemd starts it.
    type: dict
    default: {}
attributes:
  check_mode: {support: full, description: Says what would be written and removed.}
  diff_mode: {support: partial, description: Names the files; a proxy's URL may hold a password.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Use the hospital's proxy
  auscat.imaging.site_network:
    http_proxy: http://proxy.hospital.example:3128
    https_proxy: http://proxy.hospital.example:3128
    no_proxy: [localhost, 127.0.0.1]
"""

RETURN = r"""
restart_due:
  description: Whether the engine runs and was started before its files changed.
  type: bool
  returned: success
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host import facts as host_facts
from ansible_collections.auscat.imaging.plugins.module_utils.host import site_network
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.host.files import write


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            # A password may stand in the URL.
            "http_proxy": {"type": "str", "default": "", "no_log": True},
            "https_proxy": {"type": "str", "default": "", "no_log": True},
            "no_proxy": {"type": "list", "elements": "str", "default": []},
            "certificates": {"type": "list", "elements": "str", "default": []},
            "engine_environment": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    http, https = module.params["http_proxy"], module.params["https_proxy"]
    without = site_network.no_proxy(module.params["no_proxy"])
    systemd = host_facts.service_manager() == "systemd"
    try:
        pem = site_network.certificates(module.params["certificates"])
        engine = {name: str(value) for name, value in module.params["engine_environment"].items()}
        wished = site_network.files(http, https, without, pem, engine, systemd)
    except site_network.SiteNetworkError as error:
        module.fail_json(msg=f"{error} Nothing was changed.")
    present = site_network.present_files()
    differing = sorted(
        path for path in present.keys() | wished.keys() if present.get(path) != wished.get(path)
    )
    changed = bool(differing)
    if changed and not module.check_mode:
        try:
            for path in differing:
                if path in wished:
                    place = Path(path)
                    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                    write({place: wished[path]})
                else:
                    Path(path).unlink()
            certificates = [path for path in differing if path.endswith(".crt")]
            # Where the package is still missing, its installation takes them up.
            if certificates and shutil.which("update-ca-certificates"):
                run(["update-ca-certificates", "--fresh"])
            if systemd and site_network.ENGINE_UNIT in differing:
                run(["systemctl", "daemon-reload"])
        except CommandError as error:
            module.fail_json(msg=str(error))
    module.exit_json(
        changed=changed,
        restart_due=site_network.restart_due() or (changed and site_network.ENGINE_PID.exists()),
        diff={
            "before": "".join(f"{path}\n" for path in differing if path in present),
            "after": "".join(f"{path}\n" for path in differing if path in wished),
        },
    )


if __name__ == "__main__":
    main()
