#!/usr/bin/env python3
"""Write the documentation that ansible-doc shows of each filter, plugins/filter/NAME.yml.

Ansible reads a filter's documentation from a file of its name. It follows from the function's
signature and docstring; what a parameter that several filters share means is said here once.

Usage::

    filter_documentation.py            write the files, remove those of filters that are gone
    filter_documentation.py --check    exit with 1 when one is not what would be written
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

REPOSITORY = Path(__file__).resolve().parents[1]
PLACE = REPOSITORY / "plugins" / "filter"
COLLECTION = "auscat.imaging"
MARK = "# Written by tools/filter_documentation.py from the function's docstring. Do not edit.\n"

#: Parameters that mean the same in every filter.
SHARED = {
    "data_root": "The directory on the host that holds one directory per service, absolute.",
    "definitions": "Definitions of services, as the roles of the services declare them.",
    "groups": "The groups of the inventory (V(groups)).",
    "here": "Name in the inventory of the host that asks.",
    "host": "Name of the host in the inventory.",
    "hostvars": "The variables of all hosts (V(hostvars)).",
    "settings": "The variables of the role by name.",
}
#: The first words of an annotation, and the type in Ansible's words.
TYPES = (
    (("Iterable[str]", "Sequence[str]", "list[str]"), "list", "str"),
    (("Iterable[Mapping", "Sequence[Mapping", "Iterable[Definition]"), "list", "dict"),
    (("Sequence[dict", "list[dict", "list[Definition]"), "list", "dict"),
    (("Sequence[Sequence", "list[list"), "list", "list"),
    (("Iterable", "Sequence", "list"), "list", "raw"),
    (("Mapping", "dict"), "dict", ""),
    (("str",), "str", ""),
    (("int",), "int", ""),
    (("float",), "float", ""),
    (("bool",), "bool", ""),
)


class DocumentationError(ValueError):
    """A filter does not say enough; the text says what is missing."""


def type_of(annotation: str) -> dict[str, str]:
    """Return the keys ``type`` and ``elements`` of an annotation.

    A union, other than with ``None``, may be anything: raw.
    """
    text = annotation.removesuffix(" | None")
    for words, kind, elements in TYPES:
        if "|" not in re.sub(r"\[.*\]", "", text) and text.startswith(words):
            return {"type": kind, "elements": elements} if elements else {"type": kind}
    return {"type": "raw"}


def markup(text: str) -> str:
    """Turn a docstring's markup into Ansible's, and lines into one."""
    text = re.sub(r"`+([^`]+)`+", r"C(\1)", " ".join(text.split()))
    # Names of variables and the like, where nothing marks them.
    return re.sub(r"(?<![\w(./])[a-z]+(?:_[a-z0-9]+)+(?![\w/]|\.\w)", r"C(\g<0>)", text)


def sentence(text: str) -> str:
    """Begin with a capital letter, and end with a full stop."""
    said = markup(text)
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "?", ")")) else ".")


def sections(docstring: str) -> dict[str, str]:
    """Split a docstring into its text (under the empty name) and its sections."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in docstring.splitlines():
        if re.match(r"(Args|Returns|Raises|Yields):$", line):
            name = line.rstrip(":")
            found[name] = []
        else:
            if line and not line.startswith(" "):
                name = ""
            found[name].append(line)
    return {name: inspect.cleandoc("\n" + "\n".join(lines)) for name, lines in found.items()}


def arguments(section: str) -> dict[str, str]:
    """Return what is said of each argument; ``a, b: text`` says it of both."""
    said: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        begins = re.match(r"([a-z_]+(?:, [a-z_]+)*): (.*)", line)
        if begins:
            names = begins[1].split(", ")
        for name in names:
            said[name] = begins[2] if begins else f"{said[name]} {line.strip()}"
    return said


def option(name: str, parameter: inspect.Parameter, said: dict[str, str], where: str) -> Any:
    """Describe one parameter.

    Raises:
        DocumentationError: nothing is said of it.
    """
    text = SHARED.get(name) or said.get(name, "")
    if not text:
        raise DocumentationError(f"{where}: say in its docstring (Args) what {name} is.")
    described: dict[str, Any] = {"description": [sentence(text)]}
    described.update(type_of(str(parameter.annotation)))
    if parameter.default is inspect.Parameter.empty:
        described["required"] = True
    elif parameter.default is not None:
        default = parameter.default
        described["default"] = list(default) if isinstance(default, tuple) else default
    return described


def documentation(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Return a filter's documentation as Ansible reads it.

    Raises:
        DocumentationError: its docstring does not say enough.
    """
    parts = sections(inspect.getdoc(function) or "")
    paragraphs = [each for each in re.split(r"\n\s*\n", parts[""]) if each.strip()]
    if not paragraphs:
        raise DocumentationError(f"{name}: its function has no docstring.")
    said = arguments(parts.get("Args", ""))
    # Something to call in a test's place is no part of what a playbook gives.
    given = {
        each.name: each
        for each in inspect.signature(function).parameters.values()
        if not re.match(r"Callable|LookUp", str(each.annotation))
    }
    first, *others = given
    returned = markup(paragraphs[0]).removeprefix("Return ")
    title = sentence(returned).rstrip(".")
    notes = [sentence(each) for each in paragraphs[1:]]
    call = f"({', '.join(others)})" if others else ""
    return {
        "DOCUMENTATION": {
            "name": name,
            "author": "The AusCAT imaging node project (!UNKNOWN)",
            "version_added": "0.1.0",
            "short_description": title,
            "description": [f"Returns {returned[:1]}{sentence(returned)[1:]}", *notes],
            **({"positional": ", ".join(others)} if others else {}),
            "options": {
                "_input": option(first, given[first], said, name),
                **{each: option(each, given[each], said, name) for each in others},
            },
        },
        "EXAMPLES": yaml.safe_dump(
            [
                {
                    "name": "Show what the filter returns",
                    "ansible.builtin.debug": {
                        "msg": f"{{{{ {first} | {COLLECTION}.{name}{call} }}}}"
                    },
                }
            ],
            sort_keys=False,
            width=100,
        ),
        "RETURN": {
            "_value": {
                "description": [sentence(parts.get("Returns") or returned)],
                **type_of(str(inspect.signature(function).return_annotation)),
            }
        },
    }


class Text(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and lists set in."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        """Indent the items of lists."""
        return super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Text.add_representer(str, _text)


def filters() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Give all filters by name."""
    _AnsibleCollectionFinder(paths=[str(REPOSITORY / ".collections")])._install()
    for file in sorted(PLACE.glob("*.py")):
        module = importlib.import_module(
            f"ansible_collections.{COLLECTION}.plugins.filter.{file.stem}"
        )
        yield from module.FilterModule().filters().items()


def texts() -> dict[Path, str]:
    """Give the text of each file.

    Raises:
        DocumentationError: a docstring does not say enough.
    """
    return {
        PLACE / f"{name}.yml": f"---\n{MARK}"
        + yaml.dump(documentation(name, function), Dumper=Text, sort_keys=False, width=100)
        for name, function in filters()
    }


def main() -> int:
    """Read the command line, write or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    options = parser.parse_args()
    try:
        wanted = texts()
    except DocumentationError as error:
        print(error, file=sys.stderr)
        return 1
    there = {file: file.read_text() for file in PLACE.glob("*.yml")}
    stale = sorted(file for file in {*wanted, *there} if wanted.get(file) != there.get(file))
    if options.check and stale:
        names = ", ".join(file.name for file in stale)
        print(f"Not current: {names}. Run: tools/filter_documentation.py", file=sys.stderr)
        return 1
    for file in stale:
        if file in wanted:
            file.write_text(wanted[file])
        else:
            file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
