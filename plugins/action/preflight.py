"""Action plugin: check the inventory on the controller, then the host, and report all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.auscat.imaging.plugins.module_utils.definitions import (
    definition_problems,
    host_directories,
    published_ports,
)
from ansible_collections.auscat.imaging.plugins.module_utils.inventory_check import (
    path_problems,
    service_problems,
    specification_problems,
)

COLLECTION = Path(__file__).resolve().parents[2]
MISSING = object()


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the host's facts, or fail with all problems of inventory and host."""
        result = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        problems, definitions = self._inventory_problems()
        data_root = self._value("auscat_data_root")
        answer = self._execute_module(
            module_name="auscat.imaging.preflight",
            module_args={
                **self._task.args,
                "data_root": data_root if isinstance(data_root, str) else "",
                "directories": host_directories(definitions, data_root) if definitions else [],
                "ports": published_ports(definitions),
                "packages": self._value("__auscat_packages"),
                "stack": self._value("auscat_stack_name"),
            },
            task_vars=task_vars,
        )
        if answer.get("failed"):
            answer["msg"] = "\n".join([*problems, str(answer.get("msg"))])
            return {**result, **answer}
        problems += answer["problems"]
        host = self._variables["inventory_hostname"]
        if problems:
            answer = {}
            listed = "\n".join(f"- {problem}" for problem in problems)
            answer.update(
                failed=True,
                msg=f"{len(problems)} problem(s) on {host}:\n{listed}\n"
                f"Nothing was changed on {host}.",
            )
        return {**result, **answer}

    def _value(self, name: str) -> Any:
        """Return a variable, templated; MISSING when it is not set."""
        if name not in self._variables:
            return MISSING
        return self._templar.template(self._variables[name])

    def _inventory_problems(self) -> tuple[list[str], list[dict[str, Any]]]:
        """Return the problems, and the definitions of this host's services that are sound."""
        problems = []
        for role in self._variables.get("ansible_play_role_names", []):
            file = COLLECTION / "roles" / role.rsplit(".", 1)[-1] / "meta" / "argument_specs.yml"
            if file.exists():
                options = yaml.safe_load(file.read_text())["argument_specs"]["main"]["options"]
                problems += specification_problems(options or {}, self._value, MISSING)
        problems += path_problems(
            {name: self._value(name) for name in ("auscat_data_root", "auscat_config_root")}
        )
        services = self._value("auscat_services")
        declared = [name[:-8] for name in self._variables if name.endswith("_service")]
        problems += service_problems(services, declared, self._variables["groups"])
        sound = []
        here = services if isinstance(services, dict) else {}
        for service, group in here.items():
            if service not in declared or group not in self._variables["group_names"]:
                continue
            try:
                definition = self._value(f"{service}_service")
            except AnsibleError as error:
                problems.append(f"The service {service} cannot be put together: {error}")
                continue
            sound.append(definition)
        problems += definition_problems(sound)
        # The host half still looks at those services that nothing is wrong with.
        return problems, [each for each in sound if not definition_problems([each])]
