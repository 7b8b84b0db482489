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
trap 'rm -f "$TIMINGS"' EXIT
step() {
    local name=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@"
    printf '%5d s  %s\n' $((SECONDS - start)) "$name" >>"$TIMINGS"
}

scenarios=(default two_vm airgap guardrails clients rsna_standin volume auscat_ctp status)
# Together longer than the time that a push has.
long=(resilience backup restore_one upgrade troubleshoot rotation vm)
if [ "${1:-}" = --all ]; then
    scenarios+=("${long[@]}")
    long_ones="were tested: ${long[*]}"
else
    long_ones="were NOT tested: ${long[*]} (make test-all)"
fi

step "Install what the tests call on this machine" ansible-playbook tests/machine.yml
step "Style and types" tools/lint.sh
step "Unit tests" pytest -q tests/unit
# What the scenarios share.
step "Engine and images" ansible-playbook --inventory molecule/default/inventory molecule/shared/engine.yml
for image in "host --suite bookworm" "host --suite trixie" "client --suite bookworm"; do
    # shellcheck disable=SC2086 # two words are meant
    step "Test hosts: $image" python tests/hosts/testhosts.py image $image
done

failed=0
scenario() {
    local start=$SECONDS result=passed
    printf '\n=== Molecule scenario %s\n' "$1"
    molecule test --scenario-name "$1" || {
        result=FAILED
        failed=1
    }
    printf '%5d s  Molecule scenario %s %s\n' $((SECONDS - start)) "$1" "$result" | tee -a "$TIMINGS"
}

# One after the other: test hosts share apt's cache, and two cores are soon busy.
for name in "${scenarios[@]}"; do
    scenario "$name"
done
if [ -n "${CTP_DISTRIBUTION:-}" ]; then
    scenario rsna_ctp
    stock_ctp="was tested: $CTP_DISTRIBUTION (scenario rsna_ctp)"
else
    stock_ctp="was NOT tested: CTP_DISTRIBUTION names no distribution (scenario rsna_ctp, docs/ctp.md)"
fi

printf '\nStock CTP %s.\nThe long scenarios %s.\n' "$stock_ctp" "$long_ones"
printf '\nTime of each step:\n'
cat "$TIMINGS"
exit "$failed"
