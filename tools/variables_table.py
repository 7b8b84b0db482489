#!/usr/bin/env python3
"""Write docs/variables.md and each role's README.md from the roles' argument specifications.

What stands before them there is tools/variables_introduction.md.

Usage::

    variables_table.py            write them
    variables_table.py --check    exit with 1 when one is not what would be written
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
COLLECTION = "auscat.imaging"
LONGEST_INLINE_DEFAULT = 60
#: Ansible's markup of a value, an option and the like: ``V(false)``.
MARKUP = re.compile(r"\b[CEOV]\(([^)]*)\)")

INTRODUCTION = (REPOSITORY / "tools" / "variables_introduction.md").read_text()

README_MARK = "<!-- Written by tools/variables_table.py from meta/. Do not edit. -->"


def main_specification(role: Path) -> dict[str, Any]:
    """Read a role's argument specification; empty without one."""
    file = role / "meta" / "argument_specs.yml"
    if not file.exists():
        return {}
    main: dict[str, Any] = (yaml.safe_load(file.read_text()) or {})["argument_specs"]["main"]
    return main


def role_options(role: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """Read a role's argument specification.

    Args:
        role: the role's directory.

    Returns:
        The role's short description and its options by name; empty without a specification.
    """
    main = main_specification(role)
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
    return MARKUP.sub(r"`\1`", " ".join(text.split())).replace("|", "\\|").replace("<", "\\<")


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


def options_table(options: dict[str, dict[str, Any]]) -> list[str]:
    """Give the lines of the table of a role's variables, and of the defaults that are below it."""
    lines = ["| Variable | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
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
    return [*lines, *blocks]


def role_section(name: str, title: str, options: dict[str, dict[str, Any]]) -> str:
    """Write one role's section."""
    return "\n".join([f"## {name}", "", f"{title}.", "", *options_table(options), ""])


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


def applications(content: Any, role: str, tags: list[str]) -> Iterator[list[str]]:
    """Find where a playbook applies a role.

    Yields:
        The tags of each place; none for a place that only lends the role's variables (tag never).
    """
    if isinstance(content, list):
        for item in content:
            yield from applications(item, role, tags)
    elif isinstance(content, dict):
        own = content.get("tags", [])
        tags = [*tags, *([own] if isinstance(own, str) else own)]
        if role in (content.get("role"), content.get("name")) and "never" not in tags:
            yield tags
        for value in content.values():
            yield from applications(value, role, tags)


def example(name: str, playbooks: Path) -> list[str]:
    """Show how a role is applied; the playbook that brings the node up comes first."""
    role = f"{COLLECTION}.{name}"
    files = sorted(playbooks.glob("*.yml"), key=lambda file: (file.stem != "site", file.stem))
    for file in files:
        for tags in applications(yaml.safe_load(file.read_text()), role, []):
            command = f"ansible-playbook -i inventories/production playbooks/{file.name}"
            said = f"`{COLLECTION}.{file.stem}` applies it. From a checkout:"
            if tags:
                command += f" --tags {tags[-1]}"
                said = f"`{COLLECTION}.{file.stem}` applies it. Its part alone, from a checkout:"
            return [said, "", "```sh", command, "```"]
    return [
        "Roles that use its variables name it in their `meta/main.yml`:",
        "",
        "```yaml",
        "dependencies:",
        f"  - role: {role}",
        "```",
    ]


def readme(role: Path, playbooks: Path) -> str:
    """Write a role's README."""
    main = main_specification(role)
    meta = yaml.safe_load((role / "meta" / "main.yml").read_text())
    lines = [f"# {COLLECTION}.{role.name}", "", README_MARK, ""]
    lines += [f"{meta['galaxy_info']['description']}."]
    sentences = main.get("description") or []
    for sentence in [sentences] if isinstance(sentences, str) else sentences:
        lines += ["", MARKUP.sub(r"`\1`", sentence)]
    needed = [f"`{each['role']}`" for each in meta.get("dependencies") or []]
    if needed:
        lines += ["", f"Brings {', '.join(needed)} with it."]
    guide = role.parents[1] / "docs" / f"{role.name}.md"
    if guide.exists():
        lines += ["", f"More: [docs/{guide.name}](../../docs/{guide.name})."]
    lines += ["", "## Variables", ""]
    options = main.get("options") or {}
    lines += options_table(options) if options else ["None of its own."]
    return "\n".join([*lines, "", "## Example", "", *example(role.name, playbooks), ""])


def documents(repository: Path) -> dict[Path, str]:
    """Give the text of each file that this program writes."""
    roles = repository / "roles"
    texts = {repository / "docs" / "variables.md": document(roles)}
    for role in sorted(each.parent.parent for each in roles.glob("*/meta/main.yml")):
        texts[role / "README.md"] = readme(role, repository / "playbooks")
    return texts


def main() -> int:
    """Read the command line, write or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    arguments = parser.parse_args()
    stale = [
        file
        for file, text in documents(REPOSITORY).items()
        if not file.exists() or file.read_text() != text
    ]
    if not arguments.check:
        for file in stale:
            file.write_text(documents(REPOSITORY)[file])
    elif stale:
        names = ", ".join(str(file.relative_to(REPOSITORY)) for file in stale)
        print(f"Not current: {names}. Run: tools/variables_table.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
