#!/bin/sh
# Start Orthanc with the site's configuration, completed by what this image fixes.
#
# The site's configuration is the secret /run/secrets/orthanc.json or, where there is none, the
# simulation's /etc/orthanc/orthanc.json (user admin, password admin).
set -eu

secret=/run/secrets/orthanc.json
simulation=/etc/orthanc/orthanc.json
data=/var/lib/orthanc/db
composed=/run/orthanc
guard=/usr/local/lib/orthanc_guard/guard.py

fail() {
    echo "orthanc: $*" >&2
    exit 1
}

if [ -e "$secret" ]; then
    given=$secret
    [ -r "$given" ] || fail "$given cannot be read by user $(id -u): mount the secret with uid $(id -u)."
else
    given=$simulation
    echo "orthanc: no $secret: starting with admin/admin, never for production." >&2
fi
[ -w "$data" ] || fail "$data cannot be written by user $(id -u): on the host, chown the directory that is mounted there to $(id -u):$(id -g)."

# What an Orthanc that was killed left of archives and uploads: as a directory of the host it outlives the container.
find /tmp -mindepth 1 -xdev -delete || echo "orthanc: what an earlier one left in /tmp cannot be removed." >&2

# The guard refuses what is not de-identified and who may not ask. Orthanc ends where it cannot load it,
# but goes on without it where nothing names it.
for name in Plugins PythonScript; do
    ! grep -q "\"$name\"" "$given" || fail "$given names $name, which is part of this image: remove it."
done
[ -r "$guard" ] || fail "$guard cannot be read: build the image again."
rm -f "$composed/guard"

# Without it a request for another transfer syntax ends Orthanc (mend.c); the linker would go on without it.
mend=/usr/local/lib/orthanc_mend.so
[ -r "$mend" ] || fail "$mend cannot be read: build the image again."

# Further ones by the names that Orthanc itself gives them, in the order of the list.
directory=/usr/share/orthanc/plugins
plugins="\"$directory/libOrthancPython.so\", \"$directory/libOrthancDicomWeb.so\", \"$directory/libOrthancGdcm.so\""
for name in ${ORTHANC_PLUGINS:-}; do
    case $name in
        delayed-deletion) file=libDelayedDeletion.so ;;
        housekeeper) file=libHousekeeper.so ;;
        neuro) file=libOrthancNeuro.so ;;
        web-viewer) file=libOrthancWebViewer.so ;;
        wsi) file=libOrthancWSI.so ;;
        *) fail "ORTHANC_PLUGINS names $name. Accepted: delayed-deletion, housekeeper, neuro, web-viewer, wsi." ;;
    esac
    plugins="$plugins, \"$directory/$file\""
done

# Orthanc reads every *.json of a directory and refuses a setting that stands in two of them, so
# a setting of ours is written only where the site's file does not name it: the site's wins.
# A search for the quoted name, not a JSON parser: Orthanc also takes files with comments, which
# JSON tools refuse, and a name that stands only in a comment costs no more than our default.
separator=
setting() {
    grep -q "\"$1\"" "$given" && return
    printf '%s\n  "%s": %s' "$separator" "$1" "$2"
    separator=,
}

# A link and not a copy: the passwords stay where Docker put them.
ln -sf "$given" "$composed/site.json"
{
    printf '{'
    setting Locale '"C.UTF-8"'
    setting StorageDirectory "\"$data\""
    setting IndexDirectory "\"$data\""
    setting HttpPort 8042
    setting HttpsCACertificates '"/etc/ssl/certs/ca-certificates.crt"'
    setting DicomPort 4242
    setting DicomAet '"ORTHANC"'
    # Orthanc's own 16 KiB costs two thirds of the speed at which a CT series comes in.
    setting MaximumPduLength 131072
    # GDCM is there for JPEG 2000; the rest DCMTK reads, of which Orthanc is made.
    setting Gdcm '{"RestrictTransferSyntaxes": ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"]}'
    setting PythonScript "\"$guard\""
    setting Plugins "[$plugins]"
    printf '\n}\n'
} > "$composed/image.json"

# exec: Orthanc receives the stop signal itself and closes its index.
exec env LD_PRELOAD="$mend" Orthanc "$@" "$composed" 2>&1
