#!/usr/bin/env bash
# One Molecule scenario, start to end: tools/scenario.sh NAME. Its output is shown when it has ended, so
# that scenarios which run at the same time can be read. Used by tools/test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1 start=$SECONDS status=passed
log=$(mktemp)
trap 'rm -f "$log"' EXIT

printf '... scenario %s begins\n' "$name"
molecule test --scenario-name "$name" >"$log" 2>&1 </dev/null || status=FAILED

# One write of several at a time.
exec {output}>>"${TIMINGS:-/dev/null}"
flock "$output"
printf '\n=== Molecule scenario %s\n' "$name"
cat "$log"
printf '=== Molecule scenario %s %s after %d s\n' "$name" "$status" $((SECONDS - start))
printf '%5d s  Molecule scenario %s %s\n' $((SECONDS - start)) "$name" "$status" >&"$output"
[ "$status" = passed ]
