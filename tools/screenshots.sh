#!/usr/bin/env bash
# Take the pictures of docs/images again: the browser's tests take them on their way. A picture gets
# there when its file is there already; to add one, run with the name of it: tools/screenshots.sh NAME
# Needs root and the environment (source .venv/bin/activate).
set -euo pipefail
cd "$(dirname "$0")/.."

# Without OHIF's build the clients' scenario shows no viewer (tools/viewer_archive.sh brings it).
OHIF_ARCHIVE=$(tools/viewer_archive.sh)
export OHIF_ARCHIVE
taken=$(mktemp -d)
trap 'rm -rf "$taken"' EXIT
CLIENTS_SCREENSHOTS=$taken molecule test --scenario-name clients
STATUS_SCREENSHOTS=$taken molecule test --scenario-name status
for picture in "$@"; do
    cp "$taken/$picture.png" docs/images/
done
for picture in docs/images/*.png; do
    cp "$taken/${picture##*/}" "$picture"
done
