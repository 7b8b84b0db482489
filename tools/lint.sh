#!/usr/bin/env bash
# Style and types of everything. Needs the environment (source .venv/bin/activate).
set -euo pipefail
cd "$(dirname "$0")/.."

set -x
yamllint --strict .
ruff check .
ruff format --check .
mypy
ansible-lint --offline
pytest -q tests/quality
