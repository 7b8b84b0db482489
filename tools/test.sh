#!/usr/bin/env bash
# All tests. Needs root and the environment (source .venv/bin/activate). Nothing else: what the tests
# need of the machine (a Docker engine, a few Debian packages) they install, through our own roles.
#   --all   the long scenarios too
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "The tests start a Docker engine and test hosts. Accepted: root. Run: sudo make test" >&2
    exit 1
fi

TIMINGS=$(mktemp)
export TIMINGS
trap 'rm -f "$TIMINGS"' EXIT
step() {
    local name=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@"
    printf '%5d s  %s\n' $((SECONDS - start)) "$name" >>"$TIMINGS"
}

# The long ones first, so that several at a time end at about the same time.
scenarios=(default two_vm airgap guardrails clients rsna_standin volume auscat_ctp status)
# Together longer than the time that a push has.
long=(resilience backup upgrade troubleshoot rotation vm)
if [ "${1:-}" = --all ]; then
    scenarios+=("${long[@]}")
    long_ones="were tested: ${long[*]}"
else
    long_ones="were NOT tested: ${long[*]} (make test-all)"
fi

step "Install what the tests call on this machine" ansible-playbook tests/machine.yml
step "Style and types" tools/lint.sh
step "Unit tests" pytest -q tests/unit
# What the scenarios share is made before several of them want it at the same time.
step "Engine and images" ansible-playbook --inventory molecule/default/inventory molecule/shared/engine.yml
for image in "host --suite bookworm" "host --suite trixie" "client --suite bookworm"; do
    # shellcheck disable=SC2086 # two words are meant
    step "Test hosts: $image" python tests/hosts/testhosts.py image $image
done

# One after the other. TEST_LANES=2 runs two at a time: quicker, but they wait longer for each other.
failed=0
printf '%s\n' "${scenarios[@]}" |
    xargs --max-procs="${TEST_LANES:-1}" --max-args=1 tools/scenario.sh || failed=1

if [ -n "${CTP_DISTRIBUTION:-}" ]; then
    # Alone: its machines have the names of those of rsna_standin.
    tools/scenario.sh rsna_ctp || failed=1
    stock_ctp="was tested: $CTP_DISTRIBUTION (scenario rsna_ctp)"
else
    stock_ctp="was NOT tested: CTP_DISTRIBUTION names no distribution (scenario rsna_ctp, docs/ctp.md)"
fi

printf '\nStock CTP %s.\nThe long scenarios %s.\n' "$stock_ctp" "$long_ones"
printf '\nTime of each step:\n'
cat "$TIMINGS"
exit "$failed"
