"""Which secrets an inventory refers to, and new values: for those it lacks, and for old ones.

Everything here is pure: texts go in, texts come out.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

try:
    import yaml
except ModuleNotFoundError:
    # The controller alone calls this, and has it; a managed machine need not.
    yaml = None  # type: ignore[assignment]

#: Letters and digits only: no character that a shell, a template, a URL, an HTTP login or a
#: connection string reads as something else.
ALPHABET = string.ascii_letters + string.digits
#: 28 of 62 characters are 166 bits.
LENGTH = 28

REFERENCE = re.compile(r"\bvault_[a-z0-9_]+\b")
#: What may be invented. A token, a certificate, a directory's or a relay's password comes from
#: somebody else.
INVENTED = re.compile(r"(?<!_bind)(?<!_notify_mail)_(password|passphrase|encryption_key)\Z")

#: The node's own CA, and the certificates of its machines by their names in the inventory.
AUTHORITY, MACHINES = CERTIFICATES = ("vault_auscat_ca", "vault_auscat_certificates")

#: The keys of locked Swarms, and what seals a new one on its machine until it is among them, by the
#: machines' names in the inventory.
UNLOCK_KEYS, UNLOCK_SEALS = SWARM_LOCKS = ("vault_swarm_unlock_keys", "vault_swarm_unlock_seals")

HEADER = """\
---
# Made by playbooks/init_secrets.yml, which adds what the inventory refers to and is missing here,
# and never changes a value. New values: playbooks/rotate_secrets.yml. To read or change one:
# ansible-vault edit (docs/secrets.md).
"""


class VaultError(ValueError):
    """The vault cannot be completed; the text says why and what to do."""


def referenced(texts: Iterable[str]) -> set[str]:
    """Return the variables ``vault_…`` that YAML texts use and do not set themselves.

    Raises:
        VaultError: a text is no YAML.
    """
    return set(uses(texts))


def uses(texts: Iterable[str]) -> dict[str, set[str]]:
    """Return where YAML texts use which variables ``vault_…`` that they do not set themselves.

    Returns:
        Name of the variable to the places, each the keys from the document's root joined by dots:
        ``orthanc_registered_users.admin``.

    Raises:
        VaultError: a text is no YAML.
    """
    used: dict[str, set[str]] = {}
    defined: set[str] = set()
    for text in texts:
        try:
            # Nodes and not values: tags such as !vault need not be known.
            for path, value in _scalars(yaml.compose(text, Loader=yaml.SafeLoader)):
                defined.update(REFERENCE.findall(path[-1] if path else ""))
                for name in REFERENCE.findall(value):
                    used.setdefault(name, set()).add(".".join(path))
        except yaml.YAMLError as error:
            raise VaultError(f"A file of the inventory is no YAML: {error}") from error
    return {name: places for name, places in used.items() if name not in defined}


def _scalars(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each key of a YAML document with an empty text, and each value with its keys."""
    if isinstance(node, yaml.ScalarNode):
        yield path, str(node.value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item, path)
    elif isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            inner = (*path, str(key.value))
            yield inner, ""
            yield from _scalars(item, inner)


def new_value() -> str:
    """Return a new random value."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def names_in(text: str) -> set[str]:
    """Return the variables that a decrypted vault sets.

    Raises:
        VaultError: it is no mapping.
    """
    return set(values_in(text))


def values_in(text: str) -> dict[str, Any]:
    """Return the variables that a decrypted vault sets, with their values.

    Raises:
        VaultError: it is no mapping.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The error's text would show the line, and with it a secret.
        raise VaultError(
            "The vault's content is no YAML. Correct it: ansible-vault edit."
        ) from error
    if not isinstance(document, (dict, type(None))):
        raise VaultError("The vault's content is no mapping. Correct it: ansible-vault edit.")
    return {str(name): value for name, value in (document or {}).items()}


def completed(text: str, names: Iterable[str]) -> str:
    """Return the vault's text with a new value for each name that it does not set.

    What is there, comments included, stays as it is.
    """
    missing = sorted(set(names) - names_in(text))
    lines = "".join(f'{name}: "{new_value()}"\n' for name in missing)
    if not text.strip():
        return HEADER + lines
    return text.rstrip("\n") + "\n" + lines


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return the vault's text with these variables set, which hold mappings of texts.

    One that is an empty mapping is removed. Each other is written as JSON, which is YAML: one line
    for each text, and nothing to guess about where it ends. What else is there stays as it is.

    Raises:
        VaultError: a variable that is there does not stand as a simple ``name: value``.
    """
    changed = text if text.strip() else HEADER
    for name, value in values.items():
        values_in(changed)  # that it can be read at all
        line = f"{name}: {json.dumps(value, indent=2)}".rstrip("}") + "  }\n" if value else ""
        root = yaml.compose(changed, Loader=yaml.SafeLoader)
        spans = [
            (key.start_mark.index, item.end_mark.index)
            for key, item in (root.value if isinstance(root, yaml.MappingNode) else [])
            if str(key.value) == name
        ]
        if not spans:
            changed = changed.rstrip("\n") + "\n" + line
            continue
        ((start, end),) = spans[-1:]
        old = changed[start:end]
        # A block ends where the next key begins, behind the comments between.
        kept = re.search(r"(\n[ \t]*(#[^\n]*)?)*\Z", old)
        tail = changed[start + kept.start() if kept else end :]
        changed = changed[:start] + line + tail.lstrip("\n")
    wished = {**values_in(text), **values}
    gone = [name for name, value in values.items() if not value]
    if values_in(changed) != {each: v for each, v in wished.items() if each not in gone}:
        raise VaultError(
            f"{', '.join(values)} cannot be written to the vault: it is no plain list of "
            "`name: value` lines. Rewrite it so with ansible-vault edit. Nothing was changed."
        )
    return changed


#: Why a value that an inventory uses for something else than a service's password is left alone.
ELSEWHERE = (
    "what it opens (a disk, a repository of backups, somebody else's service) would stay closed to "
    "a new value: change it there first, then in the vault"
)


@dataclass(frozen=True)
class Rotation:
    """What a rotation would do to a vault.

    Attributes:
        names: the variables that get (or, resumed, got) a new value, sorted.
        renewed: those of them that still have their old value.
        old: the old value of each of the names.
        left_out: name of each variable that is left alone to the reason.
        resumed: the names of an earlier rotation that was not finished, sorted.
    """

    names: list[str]
    renewed: list[str]
    old: dict[str, str] = field(repr=False)
    left_out: dict[str, str]
    resumed: list[str]


def plan_rotation(
    places: Mapping[str, Iterable[str]],
    values: Mapping[str, Any],
    services: Mapping[str, str],
    wished: Iterable[str],
    unfinished: Mapping[str, str],
) -> Rotation:
    """Say which values of a vault are replaced.

    Args:
        places: as `uses` returns them.
        values: what the vault sets.
        services: variables from which the services take their secrets, each with the reason for
            which it must not be replaced, or an empty text.
        wished: names, with or without ``vault_``; none for all that can be replaced.
        unfinished: old values of an earlier rotation that did not come to its end: it is finished,
            and what it replaced already is not replaced again.

    Raises:
        VaultError: a wished name is unknown or must be left alone, or an unfinished one is gone.
    """
    left_out = {}
    for name in sorted({*places, *values}):
        reason = _reason(name, sorted(places.get(name, ())), values, services)
        if reason and name not in unfinished:
            left_out[name] = reason
    possible = sorted(values.keys() - left_out.keys())
    asked = []
    for word in wished:
        name = word if word.startswith("vault_") else f"vault_{word}"
        if name in left_out:
            raise VaultError(f"rotate names {word}, and {left_out[name]}. Nothing was changed.")
        if name not in possible:
            raise VaultError(
                f"rotate names {word}, which the vault does not hold. Accepted: "
                f"{', '.join(possible) or 'nothing'}. Nothing was changed."
            )
        asked.append(name)
    gone = sorted(unfinished.keys() - values.keys())
    if gone:
        raise VaultError(
            f"An earlier rotation of {', '.join(gone)} was not finished, and the vault does not "
            "hold it any more. Put it back (ansible-vault edit), then run this again. Nothing was "
            "changed."
        )
    names = sorted({*(asked or possible), *unfinished})
    if not names:
        raise VaultError(
            "The vault holds no value that can be replaced: "
            f"{'; '.join(f'{name}: {why}' for name, why in left_out.items())}. Nothing was changed."
        )
    renewed = [name for name in names if name not in unfinished or values[name] == unfinished[name]]
    return Rotation(
        names,
        renewed,
        {name: str(unfinished.get(name, values[name])) for name in names},
        left_out,
        sorted(unfinished),
    )


def _reason(
    name: str, places: list[str], values: Mapping[str, Any], services: Mapping[str, str]
) -> str:
    """Return why a variable is left alone; empty when it can be replaced."""
    if name not in values:
        return "the vault does not hold it"
    if name in CERTIFICATES:
        return "it is a certificate: playbooks/renew_certificates.yml makes a new one"
    if name in SWARM_LOCKS:
        return "Swarm chooses it: replaced at the end, or alone by -e rotate=swarm_unlock_key"
    if not INVENTED.search(name):
        return "it cannot be made up: somebody else gives it"
    if not isinstance(values[name], str):
        return "its value in the vault is no text"
    if not places:
        return "nothing in the inventory uses it"
    for place in places:
        concerned = [part for part in place.split(".") if part in services]
        if not concerned:
            return f"{place} uses it, and {ELSEWHERE}"
        for variable in concerned:
            if services[variable]:
                return services[variable]
    return ""


def replaced(text: str, names: Iterable[str]) -> str:
    """Return the vault's text with another value for each name; all else stays as it is.

    Raises:
        VaultError: a value does not stand as a simple ``name: value``.
    """
    new = {name: new_value() for name in names}
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    spans = [
        (item.start_mark.index, item.end_mark.index, str(key.value), item.style)
        for key, item in (root.value if isinstance(root, yaml.MappingNode) else [])
        if str(key.value) in new and isinstance(item, yaml.ScalarNode)
    ]
    changed = text
    for start, end, name, style in sorted(spans, reverse=True):
        line_feed = "\n" if style in ("|", ">") else ""
        space = " " if start == end else ""
        changed = f'{changed[:start]}{space}"{new[name]}"{line_feed}{changed[end:]}'
    try:
        sound = values_in(changed) == {**values_in(text), **new}
    except VaultError:
        sound = False
    if not sound:
        raise VaultError(
            f"The values of {', '.join(sorted(new))} cannot be replaced in the vault: it is no "
            "plain list of `name: value` lines. Rewrite it so with ansible-vault edit. Nothing was "
            "changed."
        )
    return changed


def record(old: Mapping[str, str]) -> str:
    """Return the text that keeps the old values while a rotation is under way."""
    head = (
        "---\n# The values before a rotation that is under way (playbooks/rotate_secrets.yml): it "
        "removes this\n# file at its end. To finish one that was interrupted: run it again.\n"
    )
    return head + yaml.safe_dump(dict(old), default_flow_style=False)
