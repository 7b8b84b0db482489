"""Lookup plugin: certificate, key and trusted CAs of a machine of the node."""

from __future__ import annotations

DOCUMENTATION = r"""
name: machine_certificate
author: The AusCAT imaging node project (!UNKNOWN)
short_description: Certificate and key of a machine, and the CAs that clients trust
version_added: 0.1.0
description:
  - Returns, for one machine of the inventory, one mapping of O(mode), certificate, key, ca, name.
  - With O(mode=own_ca) they are those of the vault; without a vault those of O(directory), where
    what is missing is made, as P(ansible.builtin.password#lookup) does with passwords. It is made
    anew when fewer than a third of its days are left, or when a name is missing.
options:
  _terms:
    description: Name of the machine in the inventory.
    type: str
    required: true
  mode:
    description: Whose certificates they are.
    type: str
    choices: [own_ca, files, none]
    required: true
  authority:
    description: The CA of the vault (vault_auscat_ca).
    type: dict
    default: {}
  certificates:
    description: Certificates and keys of the vault, by machine (vault_auscat_certificates).
    type: dict
    default: {}
  directory:
    description: Directory of the controller that is used where there is no vault.
    type: str
    default: ""
  simulation:
    description: Without a vault and a directory, use one of the user's own for this inventory.
    type: bool
    default: false
  certificate:
    description: With O(mode=files), the certificate, PEM or a path on the controller.
    type: str
    default: ""
  key:
    description: With O(mode=files), its key, PEM or a path on the controller.
    type: str
    default: ""
  ca:
    description: With O(mode=files), what clients trust, PEM or a path on the controller.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show until when a certificate is valid
  ansible.builtin.debug:
    msg: "{{ (made.certificate | community.crypto.x509_certificate_info).not_after }}"
  vars:
    made: >-
      {{ lookup('auscat.imaging.machine_certificate', 'kv01', mode='own_ca', directory='/srv/ca') }}
"""

RETURN = r"""
_raw:
  description: One mapping, all PEM texts but its mode; ca is empty where the system's CAs count.
  type: list
  elements: dict
  contains:
    mode: {description: As it was asked for., type: str}
    certificate: {description: The machine's certificate and those that signed it., type: str}
    key: {description: Its key., type: str}
    ca: {description: What clients trust., type: str}
    name: {description: A name of the machine that the certificate is for., type: str}
"""

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import (
    certificate_store,
    certificates,
)


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(
        self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, str]]:
        """Return a list of one mapping."""
        self.set_options(var_options=variables, direct=kwargs)
        ways = {"own_ca": self._own, "files": self._files, "none": self._none}
        host, mode = str(terms[0]), str(self.get_option("mode"))
        try:
            found = ways[mode](host, variables or {})
            name = self._name(found["certificate"], host, variables or {})
            return [{"mode": mode, **found, "name": name}]
        except (certificates.CertificateError, OSError) as error:
            raise AnsibleLookupError(str(error)) from error

    @staticmethod
    def _name(certificate: str, host: str, variables: dict[str, Any]) -> str:
        """Return the first name of the machine that its certificate is for."""
        try:
            carried = certificates.names_in(certificates.certificates_in(certificate)[0])
        except certificates.CertificateError:
            return ""  # the preflight says what is wrong with it
        hostvars = variables.get("hostvars") or {host: {}}
        given = certificates.given_names(host, hostvars)
        return next((each for each in given if certificates.is_named(each, carried)), "")

    def _none(self, host: str, variables: dict[str, Any]) -> dict[str, str]:
        return {"certificate": "", "key": "", "ca": ""}

    def _own(self, host: str, variables: dict[str, Any]) -> dict[str, str]:
        authority, pairs = self.get_option("authority"), self.get_option("certificates")
        directory = str(self.get_option("directory") or "")
        if directory and authority:
            raise certificates.CertificateError(
                f"auscat_tls_directory is {directory!r}, and the vault holds vault_auscat_ca. "
                "Accepted: one of the two. Remove auscat_tls_directory from the inventory, or "
                "vault_auscat_ca and vault_auscat_certificates from the vault (ansible-vault edit)."
            )
        if not authority and (directory or self.get_option("simulation")):
            place = (
                Path(directory).expanduser()
                if directory
                else certificate_store.default_directory(
                    variables.get("inventory_dir"),
                    variables.get("ansible_inventory_sources") or [],
                    os.environ,
                )
            )
            hostvars = variables.get("hostvars") or {host: {}}
            names = certificates.machine_names(host, hostvars)
            authority, pair = certificate_store.stored(place, host, names)
        elif host in pairs and authority:
            pair = pairs[host]
        else:
            lacking = "vault_auscat_ca" if not authority else f"vault_auscat_certificates[{host!r}]"
            raise certificates.CertificateError(
                f"auscat_tls is own_ca, and the vault of the inventory holds no {lacking}. Run "
                "playbooks/init_secrets.yml, which makes what is missing there "
                "(docs/certificates.md)."
            )
        return {
            "certificate": str(pair["certificate"]),
            "key": str(pair["key"]),
            "ca": certificates.trusted(authority),
        }

    def _files(self, host: str, variables: dict[str, Any]) -> dict[str, str]:
        return {
            "certificate": self._content("certificate", True),
            "key": self._content("key", True),
            "ca": self._content("ca", False),
        }

    def _content(self, option: str, needed: bool) -> str:
        value = str(self.get_option(option) or "")
        if "-----BEGIN" in value:
            return value if value.endswith("\n") else value + "\n"
        if not value:
            if needed:
                raise certificates.CertificateError(
                    f"auscat_tls is files, and auscat_tls_{option} is empty. Accepted: PEM text, a "
                    "key's from the vault, or the path of a file on the controller."
                )
            return ""
        # What is no path is perhaps a key that has lost its first line: it is not shown.
        shown = repr(value) if len(value) < 200 and "\n" not in value else "no path"
        try:
            # Ansible's own reader, which opens files of ansible-vault too.
            path = str(Path(value).expanduser().absolute())
            return str(self._loader.get_text_file_contents(path))
        except (AnsibleError, OSError, ValueError):
            raise certificates.CertificateError(
                f"auscat_tls_{option} is {shown}, which cannot be read on the controller. "
                "Accepted: PEM text, or the path of a file that whoever runs the playbook can read."
            ) from None
