#!/usr/bin/env bash
# Make the Python environment and link it as .venv. It is kept outside the tree, named after what
# it is made from, so that a second checkout finds it and a changed pin makes a new one.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    missing=()
    for package in python3 python3-venv python3-apt; do
        dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null |
            grep -qx installed || missing+=("$package")
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        echo "Installing ${missing[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    fi
fi

python=${PYTHON:-/usr/bin/python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "PYTHON is $python, $("$python" --version). Accepted: Python 3.11 or newer." \
        "Install one and name it: make PYTHON=/path/to/python3 …" >&2
    exit 1
fi

inputs=$({ "$python" --version; cat requirements.txt requirements-test.txt constraints.txt; } | sha256sum | cut -c1-12)
environment=${XDG_CACHE_HOME:-$HOME/.cache}/auscat-imaging/venv-$inputs
if [ ! -e "$environment/complete" ]; then
    echo "Making the Python environment (about a minute, once)"
    rm -rf "$environment"
    "$python" -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
        -r requirements.txt -r requirements-test.txt -c constraints.txt
    touch "$environment/complete"
fi
ln -sfn "$environment" .venv
