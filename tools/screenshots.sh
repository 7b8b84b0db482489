#!/usr/bin/env bash
# Take the pictures of docs/images again: the browser's tests take them on their way. A picture gets
# there when its file is there already; to add one, run with the name of it: tools/screenshots.sh NAME
# Needs root and the environment (source .venv/bin/activate).
set -euo pipefail
cd "$(dirname "$0")/.."

taken=$(mktemp -d)
trap 'rm -rf "$taken"' EXIT
CLIENTS_SCREENSHOTS=$taken molecule test --scenario-name clients
STATUS_SCREENSHOTS=$taken molecule test --scenario-name status
for picture in "$@"; do
    cp "$taken/$picture.png" docs/images/
done
# viewer.png is taken by hand (molecule/README.md).
for picture in docs/images/*.png; do
    [ "${picture##*/}" != viewer.png ] || continue
    cp "$taken/${picture##*/}" "$picture"
done
