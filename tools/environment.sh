#!/usr/bin/env bash
# Make the Python environment and link it as .venv. It is kept outside the tree, named after what
# it is made from, so that a second checkout finds it and a changed pin makes a new one.
#   tools/environment.sh            what runs the playbooks, and what the tests need
#   tools/environment.sh operator   what runs the playbooks, each file compared with its digest. Where the
#                                   larger environment is there, it is taken: it can do all of that
set -euo pipefail
cd "$(dirname "$0")/.."

who=${1:-}
case "$who" in
    "" | operator) ;;
    *)
        echo "tools/environment.sh was given '$who'. Accepted: operator, or nothing" >&2
        exit 2
        ;;
esac

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

cache=${XDG_CACHE_HOME:-$HOME/.cache}/auscat-imaging
named() { { "$python" --version; cat "$@"; } | sha256sum | cut -c1-12; }

environment=$cache/venv-$(named requirements.txt requirements-test.txt constraints.txt)
wanted=(-r requirements.txt -r requirements-test.txt -c constraints.txt)
if [ "$who" = operator ] && [ ! -e "$environment/complete" ]; then
    environment=$cache/operator-$(named requirements-hashed.txt)
    wanted=(--require-hashes -r requirements-hashed.txt)
fi
if [ ! -e "$environment/complete" ]; then
    echo "Making the Python environment (about a minute, once)"
    rm -rf "$environment"
    "$python" -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "${wanted[@]}"
    touch "$environment/complete"
fi
ln -sfn "$environment" .venv
