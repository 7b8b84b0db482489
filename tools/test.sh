#!/usr/bin/env bash
# All tests, side by side. Needs root and the environment (source .venv/bin/activate). Nothing else: what
# the tests need of the machine they install, through our own roles. --help lists the options.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python -m tools.testrun "$@"
