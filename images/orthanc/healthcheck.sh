#!/bin/bash
# Healthy means: the guard is loaded and both servers answer their protocol. Needs no password and leaves no log line.
set -eu

fail() {
    echo "$*"
    exit 1
}

# A number of the configuration that Orthanc runs with, on whatever line it stands.
setting() {
    sed -n "s/.*\"$1\"[[:space:]]*:[[:space:]]*\([0-9]*\).*/\1/p" /run/orthanc/*.json
}

# The guard wrote the number of Orthanc's process there when it was loaded.
orthanc=
! [ -r /run/orthanc/guard ] || read -r orthanc < /run/orthanc/guard
if [ -z "$orthanc" ] || [ "$(cat "/proc/$orthanc/comm" 2>&1)" != Orthanc ]; then
    fail "The guard of the archive is not loaded"
fi

# HTTP: /system answers 200 or, without a login, 401.
port=$(setting HttpPort)
exec 3<>"/dev/tcp/127.0.0.1/$port" || fail "HTTP: no connection to port $port"
printf 'GET /system HTTP/1.0\r\n\r\n' >&3
IFS= read -r -t 3 -u 3 status || fail "HTTP: no answer on port $port"
case $status in
    HTTP/1.?\ 200\ * | HTTP/1.?\ 401\ *) ;;
    *) fail "HTTP: /system answered ${status%$'\r'}" ;;
esac
exec 3>&-

# DICOM: a server that waits for an association answers a release request (PDU type 05) with an
# abort (07): PS3.8, table 9-10, action AA-1. No AE title is involved, so the answer is the same
# however strictly Orthanc checks its callers; an association would be refused and logged there.
port=$(setting DicomPort)
release='\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00'
if grep -q '"DicomTlsEnabled"[[:space:]]*:[[:space:]]*true' /run/orthanc/*.json; then
    # This machine's certificate is one that Orthanc takes from others too.
    own=(-cert /run/secrets/tls.crt -key /run/secrets/tls.key)
    IFS= read -r -N 1 answer < <(printf '%b' "$release" \
        | timeout 4 openssl s_client -quiet -connect "127.0.0.1:$port" "${own[@]}" 2>/dev/null) \
        || fail "DICOM: no answer over TLS on port $port"
else
    exec 3<>"/dev/tcp/127.0.0.1/$port" || fail "DICOM: no connection to port $port"
    printf '%b' "$release" >&3
    IFS= read -r -N 1 -t 3 -u 3 answer || fail "DICOM: no answer on port $port"
fi
[ "$answer" = $'\x07' ] || fail "DICOM: port $port does not answer as a DICOM server"
