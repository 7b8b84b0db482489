"""The inventory half of the preflight: pure checks over variables, before any host is touched."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.datatag import native_type_name

Option = Mapping[str, Any]

#: What has a name of its own among what cannot be seen.
UNSEEN = {
    "\n": "a line break",
    "\r": "a line break (carriage return)",
    "\t": "a tab",
    "\0": "a NUL",
    "\x7f": "a DEL",
    "\ufeff": "a byte order mark (U+FEFF)",
}
MISSING_SECRET = re.compile(r"'(vault_\w+)' is undefined")


def specification_problems(
    options: Mapping[str, Option], value_of: Callable[[str], Any], missing: object
) -> list[str]:
    """Check variables against a role's argument specification.

    Args:
        options: the ``options`` of one role's entry point ``main``.
        value_of: returns a variable's value, or `missing`. What it raises becomes a problem.
        missing: the mark for a variable that is not set.

    Returns:
        Problems with variable, value (never that of a ``no_log`` option), accepted and remedy.
    """
    problems = []
    for name, option in options.items():
        try:
            value = value_of(name)
        except Exception as error:  # a template may fail in any way, and each is the operator's
            problems.append(_unusable(name, str(error)))
            continue
        if value is missing:
            if option.get("required"):
                problems.append(
                    f"{name} is not set. Accepted: {_accepted(option)}. {_sentence(option)} Set it "
                    "in the inventory, a password in the vault."
                )
            continue
        validated = ArgumentSpecValidator({name: dict(option)}).validate({name: value})
        # Ansible would take a list for a text and write it out.
        is_no_text = option.get("type", "str") == "str" and isinstance(value, (dict, list))
        if validated.error_messages or is_no_text:
            problems.append(
                f"{name} is {_shown(value, option)}. Accepted: {_accepted(option)}. "
                f"{_sentence(option)} Correct it in the inventory."
            )
        elif option.get("required") and value in ("", None, {}, []):
            problems.append(
                f"{name} is empty. Accepted: {_accepted(option)}. {_sentence(option)} Set it in "
                "the inventory, a password in the vault."
            )
    return problems


def secret_problems(secrets: Mapping[str, Any], texts: Iterable[str] = ()) -> list[str]:
    """Check that no secret has what cannot be seen: programs cut it off there, or refuse it all.

    Args:
        secrets: value by variable: a text, a mapping of texts, or a list of users with name and
            password. Others are reported elsewhere.
        texts: variables whose values have several lines.

    Returns:
        Problems with the variable, what is in it and the remedy, never the value.
    """
    return [
        f"{label} has {unseen}. Accepted: "
        + ("lines" if variable in texts else "one line")
        + " of characters that can be seen, without white space before or behind them, since "
        "programs cut such a value short or refuse it, each at another place. In YAML, write it "
        'on one line between quotes; a block ("|", ">") ends in a line break. Correct it in the '
        "vault (ansible-vault edit, docs/secrets.md)."
        for variable, value in secrets.items()
        for label, text in _secret_texts(variable, value)
        if (unseen := _unseen(text, variable in texts))
    ]


def _secret_texts(variable: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield variable, value
    elif isinstance(value, Sequence):
        users = [each for each in value if isinstance(each, Mapping)]
        value = {each.get("name"): each.get("password") for each in users}
    for name, each in value.items() if isinstance(value, Mapping) else ():
        if isinstance(name, str) and _unseen(name, False):
            yield f"{variable}, the name {name!r},", name
        if isinstance(each, str):
            yield f"{variable}[{name!r}]", each


def _unseen(text: str, lines: bool) -> str:
    """Say what of a text cannot be seen, or return an empty text.

    Args:
        text: the text.
        lines: whether it may consist of lines.
    """
    if lines:
        text = text.replace("\n", "")
    for character in text:
        code = ord(character)
        if character in UNSEEN:
            return UNSEEN[character]
        # Cc, Cf: control and format; Cs: half a surrogate pair; Zl, Zp: breaks of lines.
        if (
            unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
            or code & 0xFFFE == 0xFFFE
        ):
            return f"a character that cannot be seen (U+{code:04X})"
    # Nothing but white space is reported as empty.
    return "white space at an end" if not lines and text != text.strip() != "" else ""


def url_problems(urls: Mapping[str, Any], remedies: Mapping[str, str]) -> list[str]:
    """Check that no URL that stands in units, images or command lines holds a password.

    Args:
        urls: value by variable: a text, or a mapping of texts.
        remedies: by variable, where the password stands then, and what to do.
    """
    return [
        f"{label} holds a password. Accepted: a URL without one, since {remedies[variable]} Change "
        "the password if anybody could read it."
        for variable, value in urls.items()
        for label, text in _secret_texts(variable, value)
        if re.search(r"//[^/@]*:.*@", text)
    ]


def mirror_problems(urls: Mapping[str, Any]) -> list[str]:
    """Check that Debian mirrors are URLs: apt, in a build, would say that it knows no such method.

    Args:
        urls: value by variable; an empty one is none.
    """
    return [
        f"{variable} has no http:// or https:// in front. Accepted: a URL, such as "
        "http://debian.hospital.example/debian. Correct it in the inventory."
        for variable, value in urls.items()
        if isinstance(value, str) and value and not re.match("https?://[^/]", value)
    ]


def is_missing_secret(error: str) -> bool:
    """Tell whether a template failed because the vault lacks a value."""
    return bool(MISSING_SECRET.search(error))


def _unusable(name: str, error: str) -> str:
    secret = MISSING_SECRET.search(error)
    if not secret:
        return f"{name} cannot be evaluated: {error}"
    return (
        f"{name} is to be {secret[1]}, which is not set. Accepted: a value in the vault of the "
        "inventory. Run playbooks/init_secrets.yml, which makes what is missing there "
        "(docs/secrets.md), or correct the name."
    )


def _accepted(option: Option) -> str:
    if option.get("choices"):
        return "one of " + ", ".join(str(choice) for choice in option["choices"])
    kinds = {
        "str": "a text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "dict": "a mapping",
        "list": "a list",
        "path": "a path",
    }
    return kinds.get(option.get("type", "str"), str(option.get("type")))


def _sentence(option: Option) -> str:
    description = option.get("description", "")
    text = " ".join(description) if isinstance(description, list) else str(description)
    text = text.split(". ")[0].rstrip(".")
    return f"({text}.)" if text else ""


def _shown(value: Any, option: Option) -> str:
    if option.get("no_log") or isinstance(value, (dict, list)):
        return f"of the type {native_type_name(value)}"
    return repr(value)


def service_roles(roles: Path | str, having: str = "") -> list[str]:
    """Return the services that roles in a directory declare.

    Args:
        roles: directory of roles; ``<service>/vars/main.yml`` declares ``<service>_service``.
        having: a file of the role that only some have, such as ``tasks/absent.yml``.
    """
    return sorted(
        role.name
        for role in Path(roles).iterdir()
        if (declared := role / "vars" / "main.yml").is_file()
        and re.search(rf"^{re.escape(role.name)}_service:", declared.read_text(), re.MULTILINE)
        and (role / having).exists()
    )


def service_problems(
    services: Any, declared: Iterable[str], groups: Mapping[str, Any]
) -> list[str]:
    """Check auscat_services: a mapping of declared services to groups of the inventory."""
    known = sorted(declared)
    if not isinstance(services, Mapping):
        return [
            f"auscat_services is of the type {native_type_name(services)}. Accepted: a mapping of "
            f"services ({', '.join(known)}) to groups of the inventory."
        ]
    problems = []
    for service, group in services.items():
        if service not in known:
            problems.append(
                f"auscat_services names the service {service!r}. Accepted: {', '.join(known)}. "
                f"Correct the name, or add the role roles/{service}, which declares it."
            )
        if group not in groups:
            problems.append(
                f"auscat_services places {service} in the group {group!r}. Accepted: a group of "
                "the inventory. Correct the name, or add the group."
            )
    return problems


def path_problems(paths: Mapping[str, Any]) -> list[str]:
    """Check that each variable holds an absolute, normal path other than the root directory."""
    return [
        f"{variable} is {path!r}. Accepted: an absolute path below /, such as /srv/auscat, without "
        "'..'. Correct it in the inventory."
        for variable, path in paths.items()
        if not isinstance(path, str)
        or not posixpath.isabs(path)
        or posixpath.normpath(path) in ("/", "//")
        or ".." in path.split("/")
    ]


def volume_problems(device: str, encryption: bool) -> list[str]:
    """Check that what is to be encrypted is named (host_volume_device, host_volume_encryption)."""
    if device or not encryption:
        return []
    return [
        "host_volume_encryption is true and host_volume_device is empty. Accepted: encryption of a "
        "device that host_volume_device names. Set it, or encrypt the disk beneath "
        "auscat_data_root yourself and set host_volume_encryption to false."
    ]


def root_problems(error: str, host: str) -> list[str]:
    """Return what to do where Ansible has logged in and cannot become root.

    Args:
        error: what it says.
        host: name of the machine in the inventory.
    """
    if not re.search(r"\b(become|sudo|doas|su):? ", error):
        return []
    words = " ".join(error.removeprefix("Task failed: ").split())
    return [
        f"Ansible logs in to {host} and cannot become root there ({words}). Accepted: a user who "
        "may use sudo, or root. As root, install sudo and allow the user (usermod -aG sudo USER, "
        "which counts from the next login); where sudo asks for a password, add --ask-become-pass. "
        "Where Ansible logs in as root, set ansible_become: false for the machine."
    ]


def proof_problems(packages: Any, needed: Iterable[str]) -> list[str]:
    """Check that verify_packages has what the proof needs: an inventory may set an earlier default.

    Args:
        packages: the variable; of another type, it has been reported. A version or architecture
            may stand behind a name, as apt has it.
        needed: names of packages.
    """
    if not isinstance(packages, list):
        return []
    there = {re.split("[=:/]", str(package))[0] for package in packages}
    lacking = [package for package in needed if package not in there]
    if not lacking:
        return []
    return [
        f"verify_packages is {packages!r}, without {', '.join(lacking)}. Accepted: a list of at "
        f"least {', '.join(needed)}, without which the proof cannot run. Add them, or leave the "
        "variable out of the inventory; verify_enabled: false leaves out the proof."
    ]


def address_problems(host: str, address: Any) -> list[str]:
    """Check the address that Ansible connects to, where the inventory sets one."""
    if isinstance(address, str) and address.strip():
        return []
    return [
        f"ansible_host of {host} is empty. Accepted: the address or the DNS name under which this "
        "controller reaches the machine. Set it in the inventory's hosts.yml."
    ]
