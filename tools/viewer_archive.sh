#!/usr/bin/env bash
# Bring OHIF's build into the cache of the tests, once, and print where it is (images/front_ohif/image.yml says which).
# OHIF_ARCHIVE names a file that is there already. Otherwise npm brings it from the registry that it is set up with.
# With --at-hand nothing is brought: what is not there is not printed.
set -euo pipefail
cd "$(dirname "$0")/.."

package=$(sed -n 's/^ *get: npm pack //p' images/front_ohif/image.yml)
version=${package##*@}
archive=${OHIF_ARCHIVE:-${XDG_CACHE_HOME:-$HOME/.cache}/auscat-imaging/ohif/ohif-app-$version.tgz}
if [ ! -e "$archive" ]; then
    if [ "${1:-}" = --at-hand ] && [ -z "${OHIF_ARCHIVE:-}" ]; then
        exit 0
    fi
    if [ -n "${OHIF_ARCHIVE:-}" ]; then
        echo "OHIF_ARCHIVE is $archive, where there is no file. Accepted: what \`npm pack $package\` writes." \
            "Name it, or unset the variable to have npm bring it." >&2
        exit 1
    fi
    if ! command -v npm >/dev/null; then
        echo "There is no npm, which brings $package. Install it (Debian: npm), or name the file that" \
            "\`npm pack $package\` wrote elsewhere: OHIF_ARCHIVE=PATH $0" >&2
        exit 1
    fi
    mkdir -p "$(dirname "$archive")"
    unfinished=$(mktemp -d "$(dirname "$archive")/incomplete-XXXXXX")
    trap 'rm -rf "$unfinished"' EXIT
    npm pack --silent --pack-destination "$unfinished" "$package" >&2
    mv "$unfinished/ohif-app-$version.tgz" "$archive"
fi
echo "$archive"
