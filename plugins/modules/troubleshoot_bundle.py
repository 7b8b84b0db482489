#!/usr/bin/python
"""Ansible module: pack texts into a tar.gz that its owner alone can read."""

from __future__ import annotations

DOCUMENTATION = r"""
module: troubleshoot_bundle
short_description: Pack texts into a tar.gz that its owner alone can read
version_added: 0.1.0
description:
  - Takes the texts themselves and no file of any machine, so that nothing gets in that was not
    put in.
options:
  path:
    description: The archive to write; its directory must exist.
    type: path
    required: true
  files:
    description: Name in the archive to text.
    type: dict
    required: true
attributes:
  check_mode: {support: full, description: Nothing is written.}
  diff_mode: {support: none, description: It is a new file each time.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Write the support bundle
  auscat.imaging.troubleshoot_bundle:
    path: troubleshoot.tar.gz
    files: {report.txt: "Nothing wrong found."}
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The archive.
  type: str
  returned: success
"""

import io
import os
import tarfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    if not module.check_mode:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with (
                os.fdopen(descriptor, "wb") as file,
                tarfile.open(fileobj=file, mode="w:gz") as archive,
            ):
                for name, text in sorted(module.params["files"].items()):
                    data = str(text).encode()
                    member = tarfile.TarInfo(f"{path.name.partition('.')[0]}/{name}")
                    member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
                    archive.addfile(member, io.BytesIO(data))
        except OSError as error:
            module.fail_json(
                msg=f"{path} cannot be written: {error.strerror}. Accepted: a new file in a"
                " directory that exists (troubleshoot_bundle_directory)."
            )
    module.exit_json(changed=True, path=str(path))


if __name__ == "__main__":
    main()
