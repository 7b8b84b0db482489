#!/usr/bin/env bash
# The unit tests on all cores. Needs the environment (source .venv/bin/activate).
# A module's tests stay together, as they share what its fixtures have made.
set -euo pipefail
cd "$(dirname "$0")/.."
exec pytest -q --numprocesses=logical --dist=loadscope tests/unit "$@"
