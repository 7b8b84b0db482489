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

# This server listens where the engine hands connections from outside over: at its own address on that bridge. At the
# others, on the networks of the stack, the services behind it would reach one another's pages through it.
number() { # of an address with dots
    echo "$1" | { IFS=. read -r first second third fourth; echo "$(((first << 24) + (second << 16) + (third << 8) + fourth))"; }
}
address=
while [ -n "$bridge" ] && read -r _ destination gateway _ _ _ _ mask _; do
    # The network itself, which has no gateway: its mask, in the same order of bytes.
    if [ "$gateway" != 00000000 ] || [ "$mask" = 00000000 ]; then continue; fi
    dotted=$(printf '%d.%d.%d.%d' "0x${mask#??????}" \
        "0x$(echo "$mask" | cut -c5-6)" "0x$(echo "$mask" | cut -c3-4)" "0x$(echo "$mask" | cut -c1-2)")
    mask=$(number "$dotted")
    for each in $(hostname -I); do
        case $each in *:*) continue ;; esac
        [ $(($(number "$each") & mask)) = $(($(number "$bridge") & mask)) ] && address=$each
    done
    [ -z "$address" ] || break
done < /proc/net/route
[ -n "$address" ] || fail "there is no address on the engine's bridge (default route: ${bridge:-none})."
export FRONT_ADDRESS="$address"

# For the locks of sessions; there is no /tmp.
export TMPDIR=/run/front
# What stands between the groups of a person, where they are compared (directory.conf): it is in no name.
FRONT_BETWEEN_GROUPS=$(printf '\037')
export FRONT_BETWEEN_GROUPS

exec apache2 -f /etc/front/httpd.conf -D FOREGROUND
