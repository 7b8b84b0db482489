#!/usr/bin/env bash
# Two lines of ansible-core are supported, one for Python 3.11 and one for newer ones (requirements.txt). The
# tests run under one of them. This runs, under the other, what evaluates playbooks and inventories: every
# playbook is parsed, and the unit tests of what filters and definitions rest on run. Where this machine
# has no Python of the other kind it says so.
set -euo pipefail
cd "$(dirname "$0")/.."

current=$(python -c 'import sys; print(sys.version_info < (3, 12))')
names="python3.14 python3.13 python3.12"
[ "$current" = True ] || names=python3.11
python=
# A version manager may have a name on the path that answers for none of its Pythons.
for name in $names "${HOME:-/root}"/.pyenv/versions/3.1[1-9].*/bin/python3; do
    found=$("$name" -c 'import sys; print(sys.version_info >= (3, 11) and sys.version_info < (3, 12))' 2>/dev/null) || continue
    [ "$found" = "$current" ] || { python=$name; break; }
done
if [ -z "$python" ]; then
    echo "The other line of ansible-core was NOT tested: none of ${names// /, } is on this machine"
    exit 0
fi

named=$({ "$python" --version; cat requirements-hashed.txt requirements-test.txt; } | sha256sum | cut -c1-12)
environment=${XDG_CACHE_HOME:-$HOME/.cache}/auscat-imaging/other-$named
if [ ! -e "$environment/complete" ]; then
    rm -rf "$environment"
    "$python" -m venv "$environment"
    pip=("$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile)
    "${pip[@]}" --require-hashes -r requirements-hashed.txt
    # What the unit tests below import.
    grep -E '^(pydicom|pynetdicom|pytest)==' requirements-test.txt | "${pip[@]}" -r /dev/stdin -c constraints.txt
    touch "$environment/complete"
fi
export PATH="$environment/bin:$PATH"
ansible --version | sed -n '1p;s/^  python version = /Python /p'
ansible-playbook --syntax-check --inventory inventories/simulation site.yml playbooks/*.yml >/dev/null
echo "Parsed: site.yml $(echo playbooks/*.yml)"
python -m pytest -q -p no:cacheprovider tests/unit/inventory tests/unit/stack/test_report.py
