#!/bin/sh
# Starts CTP in an image that is not ours, and ends it so that nothing acknowledged is lost.
#
#   sh auscat_entrypoint.sh COMMAND [ARGUMENT…]   COMMAND: the image's own entrypoint and command
#   sh auscat_entrypoint.sh health                0: CTP's web page answers
#
# CTP killed in the wrong moment leaves objects that it acknowledged in a directory "temp", and never
# looks there again: before the start they go to "active" beside it, which CTP takes up. SIGTERM has
# no handler in CTP and is as hard as kill -9: it is turned into CTP's own shutdown.
#
# Needs a POSIX shell, and of the image curl, wget or bash; without one of them CTP gets SIGTERM.
#
# Environment:
#   CTP_DATA_DIRECTORY   below it lie CTP's queues; default /ctp_temp
#   CTP_WEB_PORT         port of CTP's web page; default 9090
#   CTP_STOP_SECONDS     CTP's own shutdown may take as long; default 90, below the grace period
set -u

data=${CTP_DATA_DIRECTORY:-/ctp_temp}
port=${CTP_WEB_PORT:-9090}
seconds=${CTP_STOP_SECONDS:-90}

say() {
    echo "auscat_entrypoint: $*" >&2
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Ask CTP's page: path, header, most seconds. 0: it answered with success. 3: nothing to ask with.
ask() {
    # A proxy is for the world outside, not for this container.
    unset http_proxy HTTP_PROXY all_proxy ALL_PROXY
    if has curl; then
        curl --silent --fail --output /dev/null --max-time "$3" --header "$2" \
            "http://127.0.0.1:$port$1"
    elif has wget; then
        wget -q -O /dev/null -T "$3" -t 1 --header "$2" "http://127.0.0.1:$port$1" 2>/dev/null
    elif has bash; then
        # shellcheck disable=SC2016 # expanded by bash
        bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
            printf "GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n%s\r\n\r\n" "$2" "$3" >&3
            read -r -t "$4" _ status _ <&3 || exit 1
            [[ $status == 2* ]]' ask "$port" "$1" "$2" "$3" 2>/dev/null
    else
        return 3
    fi
}

# Whether something listens on CTP's web port, as the kernel tells it.
listens() {
    hexadecimal=$(printf '%04X' "$port")
    while read -r _ address _ state _; do
        case $address/$state in
            *:"$hexadecimal"/0A) return 0 ;;
        esac
    done <<LISTED
$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
LISTED
    return 1
}

health() {
    ask /ping 'Accept: */*' 5
    status=$?
    if [ "$status" -eq 3 ]; then
        listens
        status=$?
    fi
    [ "$status" -eq 0 ] && return 0
    echo "CTP's web page does not answer on port $port."
    return 1
}

# Only from a directory "temp" with "active" beside it, which is how CTP lays out the root of an
# import service; only whole files by name, and never over one that is there.
recover() {
    for temp in "$data"/temp "$data"/*/temp "$data"/*/*/temp "$data"/*/*/*/temp; do
        active=${temp%/temp}/active
        if [ -L "$temp" ] || [ ! -d "$temp" ] || [ -L "$active" ] || [ ! -d "$active" ]; then
            continue
        fi
        moved=0 failed=0
        for file in "$temp"/*.dcm; do
            if [ -L "$file" ] || [ ! -f "$file" ] || [ ! -s "$file" ]; then
                continue
            fi
            target=$active/${file##*/}
            [ -e "$target" ] && target=$active/recovered-$$-${file##*/}
            if [ ! -e "$target" ] && mv "$file" "$target"; then
                moved=$((moved + 1))
            else
                failed=$((failed + 1))
            fi
        done
        [ "$moved" -eq 0 ] || say "$moved objects of an earlier run go back to $active"
        [ "$failed" -eq 0 ] || say "$failed objects in $temp could not be moved: do it by hand"
    done
}

alive() {
    kill -0 "$1" 2>/dev/null
}

# Wait until the process has ended, at most so many seconds.
ended_within() {
    left=$2
    while alive "$1"; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 1
    done
}

shut_down() {
    say "stopping CTP by its own shutdown"
    ask /shutdown 'servicemanager: exit' "$seconds" &
    request=$!
    # CTP ends the connection by ending: what counts is whether it is gone.
    left=$seconds
    while alive "$child" && alive "$request" && [ "$left" -gt 0 ]; do
        left=$((left - 1))
        sleep 1
    done
    if ! alive "$child"; then
        say "CTP has stopped by itself"
        return
    fi
    status=124
    if ! alive "$request"; then
        wait "$request"
        status=$?
    fi
    case $status in
        0) why="CTP took the shutdown but does not end" grace=10 ;;
        3) why="this image has no curl, wget or bash to ask CTP with" grace=0 ;;
        124) why="CTP did not end within $seconds s" grace=0 ;;
        *) why="CTP did not take the shutdown" grace=3 ;;
    esac
    if ended_within "$child" "$grace"; then
        say "CTP has stopped by itself"
        return
    fi
    say "$why: it gets SIGTERM, which may leave objects for the next start to recover"
    if [ $$ -eq 1 ]; then
        kill -TERM -1 # all of the container: the image's own script may not pass it on
    else
        kill -TERM "$child"
    fi
}

if [ $# -eq 0 ]; then
    say "no command was given: the image's own entrypoint and command are needed as arguments"
    exit 2
fi
if [ "$1" = health ]; then
    health
    exit
fi

child='' stopping='' asked=''
# In the handler itself: a signal that comes just before `wait` begins does not end it.
stop() {
    stopping=yes
    if [ -n "$child" ] && [ -z "$asked" ]; then
        asked=yes
        trap '' TERM INT
        shut_down
    fi
}
trap stop TERM INT
recover
[ -z "$stopping" ] || exit 143
"$@" &
child=$!
# It came before there was a child to end.
if [ -n "$stopping" ] && alive "$child"; then
    stop
fi
while :; do
    wait "$child"
    status=$?
    if [ -n "$stopping" ]; then
        wait "$child" 2>/dev/null
        ended=$?
        # It ended before the signal came: a shell tells of each process once.
        case $ended in
            127 | 255 | -1) ended=$status ;;
        esac
        exit "$ended"
    fi
    # Another signal than those two also ends the wait.
    alive "$child" || exit "$status"
done
