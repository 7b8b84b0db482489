#!/usr/bin/env bash
# Style and types of everything. Needs the environment (source .venv/bin/activate).
#   --units   the unit tests too
set -euo pipefail
cd "$(dirname "$0")/.."
exec python -m tools.testrun.check "$@"
