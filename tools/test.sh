#!/usr/bin/env bash
# All tests. Needs root and the environment (source .venv/bin/activate). Nothing else: what the tests
# need of the machine (a Docker engine, a few Debian packages) they install, through our own roles.
#   --all   the slow scenarios too
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "The tests start a Docker engine and test hosts. Accepted: root. Run: sudo make test" >&2
    exit 1
fi

timings=()
step() {
    local name=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@"
    timings+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
}

scenarios=(guardrails default clients rsna_standin auscat_ctp two_vm volume airgap)
if [ -n "${CTP_DISTRIBUTION:-}" ]; then
    scenarios+=(rsna_ctp)
    stock_ctp="was tested: $CTP_DISTRIBUTION (scenario rsna_ctp)"
else
    stock_ctp="was NOT tested: CTP_DISTRIBUTION names no distribution (scenario rsna_ctp, docs/ctp.md)"
fi
[ "${1:-}" = --all ] && scenarios+=(vm)

step "Install what the tests call on this machine" ansible-playbook tests/machine.yml
step "Style and types" tools/lint.sh
step "Unit tests" pytest -q tests/unit
for scenario in "${scenarios[@]}"; do
    step "Molecule scenario $scenario" molecule test --scenario-name "$scenario"
done

printf '\nStock CTP %s.\n' "$stock_ctp"
printf '\nTime of each step:\n'
printf '%s\n' "${timings[@]}"
