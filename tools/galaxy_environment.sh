#!/usr/bin/env bash
# Make the Python environment with galaxy-importer, ansible-test and antsibull-changelog, and print where it is. It is kept
# outside the tree, named after what it is made from, so that it is made once.
# It is HOME for ansible-test too, which keeps an environment for each of its tests in ~/.ansible/test, with
# the versions that ansible-core pins, and fetches pip for them from a host of its own unless it finds it
# there: pip of that version is put there, from where all packages come.
# Needs Python 3.11 or newer and venv (Debian: python3-venv).
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-/usr/bin/python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "PYTHON is $python, $("$python" --version). Accepted: Python 3.11 or newer." \
        "Install one and name it: PYTHON=/path/to/python3 $0" >&2
    exit 1
fi

inputs=$({ "$python" --version; cat requirements-galaxy.txt tools/galaxy_environment.sh; } | sha256sum | cut -c1-12)
environment=${XDG_CACHE_HOME:-$HOME/.cache}/auscat-imaging/galaxy-$inputs
mkdir -p "${environment%/*}"
exec 9>"$environment.lock" # by one of those who want it at once, such as tests side by side
flock 9
if [ ! -e "$environment/complete" ]; then
    echo "Making the Python environment of galaxy-importer and ansible-test (half a minute, once)" >&2
    rm -rf "$environment"
    "$python" -m venv "$environment"
    pip=("$environment/bin/python" -m pip --quiet --disable-pip-version-check)
    "${pip[@]}" install -r requirements-galaxy.txt >&2
    version=$("$environment/bin/python" -c '
import sys
from types import SimpleNamespace
from ansible_test._internal.python_requirements import get_venv_packages
print(get_venv_packages(SimpleNamespace(version="%d.%d" % sys.version_info[:2]))["pip"])')
    "${pip[@]}" download --no-deps --dest "$environment/pip" "pip==$version" >&2
    mkdir -p "$environment/.ansible/test/cache"
    cat >"$environment/.ansible/test/cache/get_pip_${version//./_}.py" <<END
"""Installs pip from a file; ansible-test runs this in each environment that it makes."""
import sys

WHEEL = "$(echo "$environment"/pip/pip-*.whl)"
sys.path.insert(0, WHEEL)
from pip._internal.cli.main import main

sys.exit(main(["install", "--quiet", "--no-index", "--disable-pip-version-check", WHEEL]))
END
    touch "$environment/complete"
fi
echo "$environment"
