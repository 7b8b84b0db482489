#!/bin/bash
# Healthy means: both servers answer their protocol. Needs no password and leaves no log line.
set -eu

fail() {
    echo "$*"
    exit 1
}

# A number of the configuration that Orthanc runs with, on whatever line it stands.
setting() {
    sed -n "s/.*\"$1\"[[:space:]]*:[[:space:]]*\([0-9]*\).*/\1/p" /run/orthanc/*.json
}

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
exec 3<>"/dev/tcp/127.0.0.1/$port" || fail "DICOM: no connection to port $port"
printf '\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00' >&3
IFS= read -r -N 1 -t 3 -u 3 answer || fail "DICOM: no answer on port $port"
[ "$answer" = $'\x07' ] || fail "DICOM: port $port does not answer as a DICOM server"
