#!/usr/bin/env python3
"""Write docs/variables.md from the roles' argument specifications.

What stands before them there is tools/variables_introduction.md.

Usage::

    variables_table.py            write docs/variables.md
    variables_table.py --check    exit with 1 when docs/variables.md is not what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
TARGET = REPOSITORY / "docs" / "variables.md"
LONGEST_INLINE_DEFAULT = 60

INTRODUCTION = (REPOSITORY / "tools" / "variables_introduction.md").read_text()


def role_options(role: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """Read a role's argument specification.

    Args:
        role: the role's directory.

    Returns:
        The role's short description and its options by name; empty without a specification.
    """
    file = role / "meta" / "argument_specs.yml"
    if not file.exists():
        return "", {}
    main = (yaml.safe_load(file.read_text()) or {})["argument_specs"]["main"]
    return str(main.get("short_description", "")), main.get("options") or {}


def type_text(option: dict[str, Any]) -> str:
    """Say which values an option takes, in the words of argument specifications."""
    text = str(option.get("type", "str"))
    if option.get("elements"):
        text += f" of {option['elements']}"
    if option.get("choices"):
        text += ": " + ", ".join(f"`{choice}`" for choice in option["choices"])
    return text


def cell(text: str) -> str:
    """Make text fit into one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


def default_text(option: dict[str, Any]) -> tuple[str, str]:
    """Say an option's default.

    Returns:
        The text for the table's cell, and a YAML block for below the table when the default is too
        long for a cell (else an empty text).
    """
    if option.get("required"):
        return "**required**", ""
    if "default" not in option:
        return "not set", ""
    default = option["default"]
    inline = default if isinstance(default, str) and default else json.dumps(default)
    if len(inline) <= LONGEST_INLINE_DEFAULT and "\n" not in inline:
        return f"`{cell(inline)}`", ""
    return "below", yaml.safe_dump(default, sort_keys=False, allow_unicode=True, width=100)


def description_text(option: dict[str, Any]) -> str:
    """Join an option's description, which may be a list of sentences."""
    description = option.get("description", "")
    return " ".join(description) if isinstance(description, list) else str(description)


def role_section(name: str, title: str, options: dict[str, dict[str, Any]]) -> str:
    """Write one role's section."""
    lines = [f"## {name}", "", f"{title}.", ""]
    lines += ["| Variable | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    blocks = []
    for variable, option in options.items():
        default, block = default_text(option)
        lines.append(
            f"| `{variable}` | {cell(type_text(option))} | {default} "
            f"| {cell(description_text(option))} |"
        )
        if block:
            blocks += ["", f"Default of `{variable}`:", "", "```yaml"]
            blocks += [f"{variable}:", *(f"  {line}" for line in block.splitlines()), "```"]
    return "\n".join([*lines, *blocks, ""])


def document(roles: Path) -> str:
    """Write the whole reference; the shared variables come first."""
    names = sorted(
        (role.name for role in roles.iterdir() if role.is_dir()),
        key=lambda name: (name != "auscat", name),
    )
    sections = [INTRODUCTION]
    for name in names:
        title, options = role_options(roles / name)
        if options:
            sections.append(role_section(name, title, options))
    return "\n".join(sections)


def main() -> int:
    """Read the command line, write or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    arguments = parser.parse_args()
    text = document(REPOSITORY / "roles")
    if arguments.check:
        if not TARGET.exists() or TARGET.read_text() != text:
            print(f"{TARGET} is not current. Run: tools/variables_table.py", file=sys.stderr)
            return 1
        return 0
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
