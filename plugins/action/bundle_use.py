"""Action plugin: bring an offline bundle from the controller to the machine that uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.auscat.imaging.plugins.module_utils.images import bundle

# On the machine, while a deployment needs it: root's alone.
DIRECTORY = "/var/cache/auscat-imaging"
MODULE = "auscat.imaging.bundle_use"


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the module, and again with the file when the machine has none."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        path = str(arguments.get("path") or "")
        if not path:
            return {
                **result,
                "failed": True,
                "msg": "images_archive is empty, and images_source is archive. Accepted: the path "
                "of the file that playbooks/bundle.yml wrote, on the controller or on the machine "
                "(docs/air-gapped.md). Nothing was changed.",
            }
        source = Path(path).expanduser()
        try:
            checksum = bundle.wished_checksum(str(arguments.get("checksum") or ""))
        except bundle.BundleError as error:
            return {**result, "failed": True, "msg": f"{error} Nothing was changed."}
        # A copy of another bundle must not be taken for this one.
        mark = checksum[:12] or (
            f"{source.stat().st_size:x}-{int(source.stat().st_mtime):x}" if source.is_file() else ""
        )
        if mark:
            arguments["copy"] = f"{DIRECTORY}/bundle-{mark}.tar"
        answer = self._execute_module(MODULE, module_args=arguments, task_vars=task_vars)
        if not answer.get("needs_upload"):
            return {**result, **answer}
        host = (task_vars or {}).get("inventory_hostname", "the machine")
        if not source.is_file():
            return {
                **result,
                "failed": True,
                "msg": f"images_archive is {path}, which is neither on the controller nor on "
                f"{host}. Accepted: the path of the file that playbooks/bundle.yml wrote. Nothing "
                f"was changed on {host}.",
            }
        try:
            # Before the file travels: a damaged one is refused at once.
            bundle.check(source, checksum)
        except bundle.BundleError as error:
            return {**result, "failed": True, "msg": str(error)}
        self._connection._shell.tmpdir = self._make_tmp_path()
        uploaded = self._connection._shell.join_path(self._connection._shell.tmpdir, "bundle.tar")
        self._transfer_file(str(source), uploaded)
        arguments["uploaded"] = uploaded
        answer = self._execute_module(MODULE, module_args=arguments, task_vars=task_vars)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return {**result, **answer}
