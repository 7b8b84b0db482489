#!/usr/bin/python
"""Ansible module: install packages and load images from an offline bundle, without a network."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_use
short_description: Install Debian packages and load images from an offline bundle
version_added: 0.1.0
description:
  - Compares the bundle with its checksum first. What is installed or loaded is what the bundle's
    own manifest names, nothing is asked of any network.
  - The action plugin of the same name copies a bundle that lies on the controller to the machine,
    once. The copy is removed when nothing more is asked of it.
options:
  path:
    description: The bundle, on the controller or on the machine.
    type: str
    required: true
  checksum:
    description: SHA-256 of the bundle. Empty, it is not compared.
    type: str
    default: ""
  packages:
    description: Debian packages to install, with what they depend on.
    type: list
    elements: str
    default: []
  images:
    description: Names of the images to load.
    type: list
    elements: str
    default: []
  keep_copy:
    description: Whether more will be asked of the bundle, so that its copy stays on the machine.
    type: bool
    default: false
  copy:
    description: Filled in by the action plugin, the copy on the machine.
    type: path
  uploaded:
    description: Filled in by the action plugin, where it has put the file.
    type: path
attributes:
  check_mode: {support: full, description: Says what would be installed or loaded.}
  diff_mode: {support: none, description: What is missing is known beforehand.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Install the Docker engine from the bundle
  auscat.imaging.bundle_use:
    path: /media/auscat-bundle.tar
    checksum: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    packages: [docker.io]
"""

RETURN = r"""
needs_upload:
  description: The machine has neither the path nor a copy; for the action plugin.
  type: bool
  returned: always
"""

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host import facts as host_facts
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.images import bundle, stream

INSTALL_SECONDS = 1800


def locate(path: Path, copy: Path | None, uploaded: Path | None) -> Path | None:
    """Return the bundle on this machine, or nothing when it must be copied here first."""
    if path.is_file():
        return path
    if copy is None:
        return None
    if uploaded is not None:
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy.parent.chmod(0o700)
        shutil.move(str(uploaded), str(copy))
        os.chown(copy, 0, 0)
    return copy if copy.is_file() else None


def install(archive: tarfile.TarFile, suite: str, names: list[str]) -> None:
    """Install packages with apt, which sees nothing but the bundle.

    Raises:
        CommandError: apt fails.
    """
    with tempfile.TemporaryDirectory(prefix="auscat-packages-", dir="/var/tmp") as temporary:
        repository = Path(temporary, "repository")
        repository.mkdir()
        Path(temporary, "lists").mkdir()
        # apt reads as a user of its own.
        Path(temporary).chmod(0o755)
        bundle.extract(archive, f"packages/{suite}", repository)
        sources = Path(temporary, "sources.list")
        # The bundle's checksum stands for the signature.
        sources.write_text(f"deb [trusted=yes] file:{repository} ./\n")
        apt = [
            *("apt-get", "--yes", "--quiet=2"),
            *("-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null"),
            *("-o", f"Dir::State::lists={temporary}/lists"),
            *("-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="),
            *("-o", "DPkg::Lock::Timeout=300", "-o", "APT::Install-Recommends=false"),
            *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
        ]
        environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
        run([*environment, *apt, "update"], timeout=INSTALL_SECONDS)
        run([*environment, *apt, "install", *names], timeout=INSTALL_SECONDS)


def load(archive: tarfile.TarFile, images: dict[str, str]) -> None:
    """Give the images to the engine and compare what it then has with the manifest.

    Raises:
        BundleError: the archive holds no images, or other ones than the manifest says.
        CommandError: the engine fails.
    """
    member = archive.getmember(bundle.IMAGES)
    source = archive.extractfile(member)
    if source is None:
        raise bundle.BundleError(f"{archive.name!r} holds no {bundle.IMAGES}. Make it again.")
    stream.load(source)
    for name, identity in images.items():
        found = run(["docker", "image", "inspect", "--format", "{{.Id}}", name]).strip()
        if found != identity:
            raise bundle.BundleError(
                f"{name} has the ID {found} on this machine, the bundle's manifest says {identity}."
                " Remove the image (docker image rm) and run again; when it stays so, make the "
                "bundle again."
            )


def use(archive: tarfile.TarFile, packages: list[str], images: list[str]) -> None:
    """Install packages and load images from an opened bundle.

    Raises:
        BundleError: the bundle lacks one of them.
        CommandError: apt or the engine fails.
    """
    manifest = bundle.read_manifest(archive)
    if packages:
        suite = host_facts.operating_system()["codename"]
        architecture = run(["dpkg", "--print-architecture"]).strip()
        bundle.packages_of(manifest, suite, architecture, packages)
        install(archive, suite, packages)
    if images:
        load(archive, bundle.images_of(manifest, images))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "checksum": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "str", "default": []},
            "images": {"type": "list", "elements": "str", "default": []},
            "keep_copy": {"type": "bool", "default": False},
            "copy": {"type": "path"},
            "uploaded": {"type": "path"},
        },
        supports_check_mode=True,
    )
    packages, images = module.params["packages"], module.params["images"]
    if not packages and not images:
        module.exit_json(changed=False, needs_upload=False)
    if module.check_mode:
        module.exit_json(changed=True, needs_upload=False)
    copy = Path(module.params["copy"]) if module.params["copy"] else None
    uploaded = Path(module.params["uploaded"]) if module.params["uploaded"] else None
    keep = False
    try:
        path = locate(Path(module.params["path"]), copy, uploaded)
        if path is not None:
            bundle.check(path, module.params["checksum"])
            with tarfile.open(path, "r:") as archive:
                use(archive, packages, images)
            keep = module.params["keep_copy"]
    except (bundle.BundleError, CommandError) as error:
        module.fail_json(msg=str(error))
    except (tarfile.TarError, KeyError, OSError) as error:
        module.fail_json(
            msg=f"The offline bundle {module.params['path']} cannot be used: {error}. Copy it "
            "again from the machine that made it, or make it again with playbooks/bundle.yml."
        )
    finally:
        if copy is not None and copy.exists() and not keep:
            copy.unlink()
    if path is None:
        module.exit_json(changed=False, needs_upload=True)
    module.exit_json(changed=True, needs_upload=False)


if __name__ == "__main__":
    main()
