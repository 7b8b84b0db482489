#!/usr/bin/env bash
# The unit tests, two beside each other on each core, since many wait for a program that they have
# started. Needs the environment (source .venv/bin/activate) and the tools that
# make machine installs.
# A module's tests stay together, as they share what its fixtures have made; the longest modules
# come first (tests/unit/conftest.py).
# A test that goes on for longer than five minutes hangs (the slowest takes 45 s): its process is ended with a
# traceback of all its threads, and the test has failed.
#   --stock-ctp   those that run stock CTP instead, which need CTP_DISTRIBUTION and a JDK
set -euo pipefail
cd "$(dirname "$0")/.."
which="not stock_ctp"
if [ "${1:-}" = --stock-ctp ]; then
    which=stock_ctp
    shift
fi
exec pytest -q --numprocesses=$((2 * $(nproc))) --dist=loadscope --no-loadscope-reorder \
    -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true --max-worker-restart=1 \
    -m "$which" tests/unit "$@"
