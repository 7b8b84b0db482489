#!/bin/sh
# Start Apache httpd with the pages of /etc/front/pages.conf.
set -eu

fail() {
    echo "front: $*" >&2
    exit 1
}

[ -r /etc/front/pages.conf ] || fail "there is no /etc/front/pages.conf, which names the pages."
[ -w /logs ] || fail "/logs cannot be written by user $(id -u): on the host, chown the directory that is mounted there to $(id -u):$(id -g)."

# The log says who looked at which study: for its owner and root alone.
umask 077
mkdir -p /run/front/throttle

# The engine's address on its bridge, for which it exchanges the senders' where it passes connections on
# itself: those of the machine, and all over IPv6. 00000000 is the default route; the bytes are reversed.
bridge=$(while read -r _ destination gateway _; do
    [ "$destination" = 00000000 ] || continue
    printf '%d.%d.%d.%d' "0x${gateway#??????}" \
        "0x$(echo "$gateway" | cut -c5-6)" "0x$(echo "$gateway" | cut -c3-4)" "0x$(echo "$gateway" | cut -c1-2)"
    break
done < /proc/net/route)
export FRONT_BRIDGE="${bridge:-none}"

exec apache2 -f /etc/front/httpd.conf -D FOREGROUND
