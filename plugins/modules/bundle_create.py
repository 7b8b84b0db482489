#!/usr/bin/python
"""Ansible module: write the offline bundle on a connected machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_create
short_description: Write one file with everything that machines without a network need
version_added: 0.1.0
description:
  - Saves images of this machine's engine, downloads Debian packages with all that they depend on
    for each release, and Python packages for a controller, and writes them with a manifest.
  - Debian packages come through mmdebstrap, which knows the keys and mirrors of Debian's releases
    and checks their signatures; nothing of the release of this machine itself gets in.
  - A bundle is written anew each time, since its packages are those of the day.
options:
  path:
    description: The file to write. It replaces an earlier one when it is complete.
    type: path
    required: true
  images:
    description: Images of this machine's engine, as the services name them in the inventory.
    type: list
    elements: str
    required: true
  packages:
    description: Debian packages.
    type: list
    elements: str
    default: []
  suites:
    description: Debian releases, such as bookworm, with further packages that only they need.
    type: dict
    required: true
  mirror:
    description: Debian mirror. Empty, that of mmdebstrap.
    type: str
    default: ""
  security_mirror:
    description: Mirror of the security updates. Empty, the mirror's with -security at its end.
    type: str
    default: ""
  controller:
    description: >-
      Directory of this project, a checkout or the installed collection, when what a controller
      needs is to be in the bundle.
    type: str
    default: ""
  cache:
    description: Directory that keeps downloaded packages.
    type: path
    required: true
  version:
    description: Version of this project, for the manifest.
    type: str
    default: ""
  environment:
    description: Variables by which the programs reach the outside, such as C(https_proxy).
    type: dict
    default: {}
attributes:
  check_mode: {support: full, description: Says that it would write.}
  diff_mode: {support: none, description: The manifest says what is in it.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Write the bundle
  auscat.imaging.bundle_create:
    path: auscat-bundle.tar
    images: [auscat-imaging/orthanc:7c7e0be66800]
    packages: [docker.io]
    suites: {bookworm: [], trixie: [docker-cli]}
    cache: /var/cache/auscat-imaging
"""

RETURN = r"""
checksum:
  description: SHA-256 of the file.
  type: str
  returned: changed
size:
  description: Size of the file in bytes.
  type: int
  returned: changed
manifest:
  description: What is in it.
  type: dict
  returned: changed
"""

import io
import json
import os
import platform
import re
import sys
import tarfile
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.images import artifact, bundle, stream
from ansible_collections.auscat.imaging.plugins.module_utils.images.references import (
    ImageNameError,
    archived,
    successor,
)

DOWNLOAD_SECONDS = 3600
#: What a controller needs, with the digest of each file.
REQUIREMENTS = "requirements-hashed.txt"


def save_images(images: list[str], target: Path) -> list[dict[str, Any]]:
    """Write images into one compressed archive and describe them.

    Raises:
        CommandError: the engine lacks one, or cannot save it.
    """
    described = []
    for image in images:
        source = successor(image)
        name = archived(source)
        if name != source:
            run(["docker", "tag", source, name])
        shown = json.loads(run(["docker", "image", "inspect", name]))[0]
        described.append(
            {
                "name": name,
                "source": image,
                "id": shown["Id"],
                "digests": shown.get("RepoDigests") or [],
                "created": shown.get("Created", ""),
                "size": shown.get("Size", 0),
            }
        )
    names = [image["name"] for image in described]
    stream.save(names, target)
    return described


def download_packages(
    suite: str, names: list[str], sources: list[str], cache: Path
) -> list[tuple[Path, str]]:
    """Download packages of a release with all that they depend on, down to the C library.

    What a target has already, apt leaves alone there; what it has in an older version than a
    package asks for is in the bundle too.

    Returns:
        The files and their control data.

    Raises:
        CommandError: mmdebstrap fails; its last words say why.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="auscat-bundle-") as temporary:
        script = Path(temporary, "download.sh")
        options = f"--yes --quiet=2 -o Dir::Cache::archives={cache} -o Debug::NoLocking=1"
        script.write_text(
            "set -eu\n"
            'export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"\n'
            f"apt-get {options} --print-uris install {' '.join(names)} > {temporary}/all\n"
            f"apt-get {options} --download-only install {' '.join(names)}\n"
        )
        # print-uris leaves out what the cache holds, so the cache is hidden from it.
        text = script.read_text().replace(
            f"apt-get {options} --print-uris",
            f"apt-get {options.replace(str(cache), temporary)} --print-uris",
        )
        script.write_text(text)
        Path(temporary, "partial").mkdir()
        (cache / "partial").mkdir(exist_ok=True)
        run(
            [
                *("mmdebstrap", "--quiet", "--variant=custom", "--format=null"),
                *('--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Retries "3"'),
                '--aptopt=Acquire::Languages "none"',
                f"--extract-hook=sh {script}",
                suite,
                "/dev/null",
                *sources,
            ],
            timeout=DOWNLOAD_SECONDS,
        )
        listed = Path(temporary, "all").read_text()
    files = []
    for line in listed.splitlines():
        match = re.match(r"'[^']+' (\S+\.deb) ", line)
        if match:
            path = cache / urllib.parse.unquote(match[1])
            path = path if path.exists() else cache / match[1]
            files.append((path, run(["dpkg-deb", "--field", str(path)])))
    return files


def write_index(files: list[tuple[Path, str]]) -> tuple[str, list[dict[str, Any]]]:
    """Return the index of a release's packages, and their description for the manifest."""
    digests = [bundle.sha256(path) for path, _ in files]
    described = [
        {
            "name": bundle.field(control, "Package"),
            "version": bundle.field(control, "Version"),
            "file": path.name,
            "sha256": digest,
        }
        for (path, control), digest in zip(files, digests)
    ]
    entries = [(control, path, digest) for (path, control), digest in zip(files, digests)]
    return bundle.index(entries), described


def download_controller(project: Path, cache: Path) -> list[Path]:
    """Download the Python packages of the controller and pack this project.

    The packages are those for the Python that runs this, so a controller needs the same version.

    Raises:
        ArtifactError: the project cannot be packed.
        CommandError: pip or ansible-galaxy fails.
    """
    target = cache / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    target.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    requirements = project / REQUIREMENTS
    for old in target.iterdir():
        old.unlink()
    hashed = ("--require-hashes", "--requirement", str(requirements))
    run([*pip, "download", *hashed, "--dest", str(target)], timeout=1800)
    pack_project(project, target)
    (target / REQUIREMENTS).write_bytes(requirements.read_bytes())
    return sorted(target.iterdir())


def pack_project(project: Path, target: Path) -> None:
    """Pack this project, from a checkout or from where it is installed.

    Raises:
        ArtifactError: it is installed, and not as it was when it was installed.
        CommandError: ansible-galaxy fails.
    """
    if not artifact.is_checkout(project):
        artifact.pack(project, target)
        return
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    run(
        [str(galaxy), "collection", "build", "--force", "--output-path", str(target), str(project)],
        timeout=300,
    )


def write_bundle(
    path: Path, manifest: dict[str, Any], texts: dict[str, str], files: dict[str, Path]
) -> None:
    """Write the tar file beside its place and put it there when it is complete."""
    unfinished = path.with_name(f".{path.name}.incomplete")
    try:
        with tarfile.open(unfinished, "w") as archive:
            content = {bundle.MANIFEST: json.dumps(manifest, indent=2) + "\n", **texts}
            for name, text in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
            for name, source in files.items():
                member = tarfile.TarInfo(name)
                member.size = source.stat().st_size
                with source.open("rb") as file:
                    archive.addfile(member, file)
        unfinished.replace(path)
    finally:
        if unfinished.exists():
            unfinished.unlink()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "images": {"type": "list", "elements": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "suites": {"type": "dict", "required": True},
            "mirror": {"type": "str", "default": ""},
            "security_mirror": {"type": "str", "default": ""},
            "controller": {"type": "str", "default": ""},
            "cache": {"type": "path", "required": True},
            "version": {"type": "str", "default": ""},
            # A proxy's password may stand in it.
            "environment": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    os.environ.update({name: str(each) for name, each in module.params["environment"].items()})
    if module.check_mode:
        module.exit_json(changed=True)
    path, cache = Path(module.params["path"]), Path(module.params["cache"])
    mirror = module.params["mirror"].rstrip("/")
    security = module.params["security_mirror"] or f"{mirror}-security"
    manifest: dict[str, Any] = {
        "format": bundle.FORMAT,
        "project": module.params["version"],
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "images": [],
        "packages": {},
        "controller": [],
    }
    texts: dict[str, str] = {}
    files: dict[str, Path] = {}
    try:
        manifest["architecture"] = run(["dpkg", "--print-architecture"]).strip()
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".auscat-bundle-", dir=path.parent) as temporary:
            saved = Path(temporary, bundle.IMAGES)
            manifest["images"] = save_images(module.params["images"], saved)
            manifest["images_sha256"] = bundle.sha256(saved)
            for suite, further in sorted(module.params["suites"].items()):
                names = sorted({*module.params["packages"], *(further or [])})
                lines = [
                    f"deb {mirror} {suite} main",
                    f"deb {mirror} {suite}-updates main",
                    f"deb {security} {suite}-security main",
                ]
                found = download_packages(
                    suite, names, lines if mirror else [], cache / "packages" / suite
                )
                folder = f"packages/{suite}"
                texts[f"{folder}/Packages"], manifest["packages"][suite] = write_index(found)
                files.update({f"{folder}/{file.name}": file for file, _ in found})
            if module.params["controller"]:
                manifest["python"] = platform.python_version()
                for file in download_controller(
                    Path(module.params["controller"]), cache / "controller"
                ):
                    manifest["controller"].append(
                        {"file": file.name, "sha256": bundle.sha256(file)}
                    )
                    files[f"controller/{file.name}"] = file
            # The largest last, so that what is small is found quickly.
            files[bundle.IMAGES] = saved
            write_bundle(path, manifest, texts, files)
    except (artifact.ArtifactError, CommandError, ImageNameError, OSError) as error:
        module.fail_json(msg=f"The bundle {path} was not written: {error}")
    checksum = bundle.sha256(path)
    # As sha256sum reads it, for whoever carries the file.
    path.with_name(f"{path.name}.sha256").write_text(f"{checksum}  {path.name}\n")
    module.exit_json(changed=True, checksum=checksum, size=path.stat().st_size, manifest=manifest)


if __name__ == "__main__":
    main()
