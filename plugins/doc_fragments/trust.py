"""Documentation that the modules share which ask a page of the node."""

from __future__ import annotations


class ModuleDocFragment:
    """The option of C(module_utils/host/http.py), TRUST_OPTION."""

    DOCUMENTATION = r"""
options:
  trust:
    description: Whom to trust there, where the URL is one of HTTPS.
    type: dict
    default: {}
    suboptions:
      ca_file:
        description: CAs, a PEM file of this host. Empty, those of the system.
        type: str
        default: ""
      name:
        description: Name that the certificate has to be for. Empty, the one in the URL.
        type: str
        default: ""
"""
