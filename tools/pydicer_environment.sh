#!/usr/bin/env bash
# Make PyDicer's Python environment and print where it is. It is kept outside the tree, named after
# what it is made from, so that it is made once.
#   source "$(tools/pydicer_environment.sh)/bin/activate"
# Needs Python 3.11, which Debian 12 has (pyradiomics does not build with 3.12, nor is there a numpy 1
# for 3.13), a C compiler and Python's headers (Debian: gcc libc6-dev python3-dev python3-venv).
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-}
if [ -z "$python" ]; then
    for python in /usr/bin/python3 /usr/bin/python3.11; do
        [ -x "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' && break
    done
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    echo "PYTHON is $python. Accepted: Python 3.11 alone, with which pyradiomics builds and numpy 1" \
        "comes as a wheel. Install one and name it: PYTHON=/path/to/python3.11 $0" >&2
    exit 1
fi

inputs=$({ "$python" --version; cat requirements-pydicer.txt; } | sha256sum | cut -c1-12)
environment=${XDG_CACHE_HOME:-$HOME/.cache}/auscat-imaging/pydicer-$inputs
if [ ! -e "$environment/complete" ]; then
    echo "Making PyDicer's Python environment (about a minute, 1.1 GB, once)" >&2
    rm -rf "$environment"
    "$python" -m venv "$environment"
    pip=("$environment/bin/python" -m pip --quiet --disable-pip-version-check install)
    mapfile -t builders < <(grep -E '^(numpy|setuptools|wheel|versioneer|Cython)==' requirements-pydicer.txt)
    "${pip[@]}" "${builders[@]}" >&2
    "${pip[@]}" --no-build-isolation -r requirements-pydicer.txt >&2
    touch "$environment/complete"
fi
echo "$environment"
