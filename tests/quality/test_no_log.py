"""No task hands a secret to a module that would write it to the journal, or to the run's output.

Modules log what they were called with, but for the options that they mark themselves. So a task
that hands on a secret has ``no_log``, or hands it to such an option. What is secret follows from
the ``no_log`` options of the roles' argument specs, through the variables that are made of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
ROLES = REPOSITORY / "roles"
MODULES = REPOSITORY / "plugins" / "modules"

OWN = "auscat.imaging."
KEPT_BY_OTHERS = {"ansible.builtin.uri": {"url_password"}}
"""Options of others' modules that these mark themselves (their argument_spec)."""
NO_MODULE = re.compile(
    r"(ansible\.builtin\.)?(include|import)_(role|tasks|vars|playbook)|(ansible\.builtin\.)?meta"
)
WITHOUT_SECRETS = re.compile(
    r"\|\s*(?:length\b|auscat\.imaging\.(?:"
    r"backup_kinds|backup_parts|config_files|data_copies|declared_images|declared_secrets|fixed_variables"
    r"|host_directories|kept_secrets|nodes_addresses|outgoing_rules|port_declarations|published_ports"
    r"|page_trust|removal_plan|rotation_rows|stack_document|status_containers|status_services|tls_services|waited_for"
    r")\b)"
)
"""Filters that return nothing of the secrets in what they read."""
HARMLESS = {
    "__auscat_service_names": "names of services",
    "__auscat_trust": "the path of the CAs, and a name",
    "__backup_kinds": "names of the kinds that have a repository",
    "__backup_schedules": "times",
    "__docker_engine_no_proxy": "names and addresses of machines",
    "__auscat_tls_name": "a name of the machine",
    "__auscat_tls_trusted": "a path",
    "__docker_secrets_trusted": "certificates of CAs, without their keys",
    "__images_used": "references of images",
    "__rotation_elsewhere": "names of variables",
    "__services_removed": "paths that were removed",
    "__status_settings": "names, addresses and limits",
    "__verify_rows": "the proof's own rows",
}
"""Variables that are made of secret ones, and what they hold. Look at a new one first."""
ANY = "any variable"
"""Stands for what a lookup by a computed name returns."""
ABOUT_THE_TASK = {
    *("name", "when", "register", "tags", "become", "become_user", "become_method", "delegate_to"),
    *("delegate_facts", "run_once", "no_log", "notify", "listen", "changed_when", "failed_when"),
    *("until", "retries", "delay", "check_mode", "diff", "async", "poll", "ignore_errors"),
    *("ignore_unreachable", "any_errors_fatal", "throttle", "timeout", "loop", "loop_control"),
    *("vars", "args", "environment", "module_defaults", "connection", "remote_user"),
}


class Task(NamedTuple):
    """A task, where it stands, and what its blocks and its play say around it."""

    place: str
    content: dict[str, Any]
    around: tuple[dict[str, Any], ...]

    def inherited(self, key: str) -> list[Any]:
        return [each[key] for each in (*self.around, self.content) if key in each]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def tasks_of(entries: Any, place: str, *around: dict[str, Any]) -> Iterator[Task]:
    for entry in entries or []:
        inside = [entry.get(key) for key in ("block", "rescue", "always")]
        inside += [entry.get(key) for key in ("tasks", "pre_tasks", "post_tasks", "handlers")]
        if any(inside):
            for each in filter(None, inside):
                yield from tasks_of(each, place, *around, entry)
        elif not {"hosts", "import_playbook", "ansible.builtin.import_playbook"} & set(entry):
            yield Task(f"{place}: {entry.get('name', '?')}", entry, around)


def all_tasks() -> list[Task]:
    files = [*sorted(ROLES.glob("*/tasks/*.yml")), *sorted(ROLES.glob("*/handlers/*.yml"))]
    files += [REPOSITORY / "site.yml", *sorted((REPOSITORY / "playbooks").glob("*.yml"))]
    return [
        task for path in files for task in tasks_of(load(path), str(path.relative_to(REPOSITORY)))
    ]


def declared_secrets() -> set[str]:
    """The variables that a role's argument spec marks."""
    return {ANY} | {
        name
        for spec in ROLES.glob("*/meta/argument_specs.yml")
        for name, option in load(spec)["argument_specs"]["main"].get("options", {}).items()
        if option.get("no_log")
    }


def variables() -> dict[str, Any]:
    """All variables that roles and plays make of others, by name."""
    found: dict[str, Any] = {}
    for path in ROLES.glob("*/vars/main.yml"):
        found |= load(path) or {}
    for task in all_tasks():
        for given in task.inherited("vars"):
            found |= given
        found |= task.content.get("ansible.builtin.set_fact", {})
    return {name: value for name, value in found.items() if isinstance(name, str)}


def names_in(value: Any) -> set[str]:
    """The words of all expressions in a value that is not made harmless by a filter."""
    if isinstance(value, Mapping):
        return set().union(*map(names_in, value.values()))
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    text = str(value)
    if ("{{" not in text and "{%" not in text) or WITHOUT_SECRETS.search(text):
        return set()
    if re.search(r"(?:lookup|query|q)\('ansible\.builtin\.vars'", text):
        return {ANY}
    # Who logs in where is no secret; what stands in quotes, or behind a dot, is no variable.
    text = re.sub(r"\w+\.(?:key|user|username|url)\b", "", text)
    return set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", re.sub(r"'[^']*'|\"[^\"]*\"", "", text)))


def secret_names(known: Mapping[str, Any], secrets: set[str]) -> set[str]:
    """All variables that a secret has gone into."""
    found = set(secrets)
    while True:
        more = {name for name in known if name not in found and name not in HARMLESS}
        more = {name for name in more if names_in(known[name]) & found}
        if not more:
            return found
        found |= more


def kept_options(module: str) -> set[str]:
    """The options that a module keeps out of the log itself, or whose every secret suboption."""
    if not module.startswith(OWN):
        return KEPT_BY_OTHERS.get(module, set())
    kept: set[str] = set()
    path = MODULES / f"{module[len(OWN) :]}.py"
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if isinstance(key, ast.Constant) and re.search(
                    r"'no_log': True", ast.unparse(value)
                ):
                    kept.add(str(key.value))
    return kept


def problems(task: Task, secret: set[str]) -> list[str]:
    """The arguments of a task through which a secret would be logged."""
    logging = [str(each) for each in task.inherited("no_log")]
    if any("auscat_secure_logging" in each for each in logging):
        return []
    modules = [key for key in task.content if key not in ABOUT_THE_TASK]
    assert len(modules) == 1, f"{task.place}: which of {modules} is the module?"
    (module,) = modules
    if NO_MODULE.fullmatch(module):
        return []
    arguments = task.content[module]
    given: dict[str, Any] = arguments if isinstance(arguments, dict) else {"": arguments}
    for defaults in task.inherited("module_defaults"):
        given = {**defaults.get(module, {}), **given}
    kept = kept_options(module)
    given = {name: value for name, value in given.items() if name not in kept}
    given |= {key: task.content[key] for key in ("loop", "args") if key in task.content}
    given |= {f"environment {n}": each for n, each in enumerate(task.inherited("environment"))}
    return [
        f"{task.place}: {name or module} gets {', '.join(sorted(names_in(value) & secret))}"
        for name, value in given.items()
        if names_in(value) & secret
    ]


def test_no_task_logs_a_secret() -> None:
    secret = secret_names(variables(), declared_secrets())
    found = [problem for task in all_tasks() for problem in problems(task, secret)]
    assert not found, "\n".join(found)


def test_secrets_are_known() -> None:
    """What this file finds by itself; were it nothing, the test above could not fail."""
    secret = secret_names(variables(), declared_secrets())
    assert {"keydb_password", "__backup_restore_logins", "__auscat_definitions"} <= secret
    assert "__auscat_published_ports" not in secret
    assert kept_options("auscat.imaging.ctp_quarantine") == {"password"}
    assert len(all_tasks()) > 150


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("{ansible.builtin.command: {argv: [x, '{{ a_password }}']}}", True),
        ("{ansible.builtin.command: {argv: [x], stdin: '{{ derived | to_json }}'}}", True),
        ("{ansible.builtin.command: {argv: [x]}, environment: {A: '{{ derived.x }}'}}", True),
        ("{ansible.builtin.shell: 'x {{ a_password }}'}", True),
        ("{ansible.builtin.copy: {dest: /x, content: '{{ derived }}'}}", True),
        ("{ansible.builtin.uri: {url: 'http://x:{{ a_password }}@h/'}}", True),
        ("{ansible.builtin.uri: {url: http://h/, headers: {A: '{{ a_password }}'}}}", True),
        ("{ansible.builtin.debug: {msg: '{{ item }}'}, loop: '{{ derived }}'}", True),
        ("{block: [{ansible.builtin.command: {cmd: '{{ derived }}'}}]}", True),
        ("{ansible.builtin.command: {cmd: '{{ derived }}'}, no_log: false}", True),
        ("{ansible.builtin.uri: {url: http://h/, url_password: '{{ a_password }}'}}", False),
        ("{ansible.builtin.debug: {msg: '{{ derived | length }}'}}", False),
        ("{ansible.builtin.debug: {msg: 'set a_password'}}", False),
        (
            "{ansible.builtin.command: {cmd: '{{ derived }}'},"
            " no_log: '{{ auscat_secure_logging }}'}",
            False,
        ),
    ],
)
def test_what_is_found(text: str, logged: bool) -> None:
    known = {"derived": {"x": "{{ a_password }}"}}
    (task,) = tasks_of([yaml.safe_load(text)], "here")
    assert bool(problems(task, secret_names(known, {"a_password"}))) == logged
