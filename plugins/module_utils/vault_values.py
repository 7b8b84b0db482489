"""Which secrets an inventory refers to, and new values for those that its vault lacks. Pure."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

#: Letters and digits only: no character that a shell, a template, a URL, an HTTP login or a
#: connection string reads as something else.
ALPHABET = string.ascii_letters + string.digits
#: 28 of 62 characters are 166 bits.
LENGTH = 28

REFERENCE = re.compile(r"\bvault_[a-z0-9_]+\b")
#: What may be invented. A token or a certificate comes from somebody else.
INVENTED = re.compile(r"_(password|passphrase|encryption_key)\Z")

HEADER = """\
---
# Made by playbooks/init_secrets.yml, which adds what the inventory refers to and is missing here,
# and never changes a value. To read or change one: ansible-vault edit (docs/secrets.md).
"""


class VaultError(ValueError):
    """The vault cannot be completed; the text says why and what to do."""


def referenced(texts: Iterable[str]) -> set[str]:
    """Return the variables ``vault_…`` that YAML texts use and do not set themselves.

    Raises:
        VaultError: a text is no YAML.
    """
    used: set[str] = set()
    defined: set[str] = set()
    for text in texts:
        try:
            # Nodes and not values: tags such as !vault need not be known.
            for key, value in _scalars(yaml.compose(text, Loader=yaml.SafeLoader)):
                defined.update(REFERENCE.findall(key))
                used.update(REFERENCE.findall(value))
        except yaml.YAMLError as error:
            raise VaultError(f"A file of the inventory is no YAML: {error}") from error
    return used - defined


def _scalars(node: Any) -> Iterator[tuple[str, str]]:
    """Yield the keys and the values of a YAML document, as pairs with one empty."""
    if isinstance(node, yaml.ScalarNode):
        yield "", str(node.value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            yield str(key.value), ""
            yield from _scalars(item)


def new_value() -> str:
    """Return a new random value."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def names_in(text: str) -> set[str]:
    """Return the variables that a decrypted vault sets.

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
    return {str(name) for name in document or {}}


def completed(text: str, names: Iterable[str]) -> str:
    """Return the vault's text with a new value for each name that it does not set.

    What is there, comments included, stays as it is.
    """
    missing = sorted(set(names) - names_in(text))
    lines = "".join(f'{name}: "{new_value()}"\n' for name in missing)
    if not text.strip():
        return HEADER + lines
    return text.rstrip("\n") + "\n" + lines
