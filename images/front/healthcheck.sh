#!/bin/bash
# Healthy means: each page answers, over TLS where it should, whatever stands behind it. A service that is away is
# said and is no reason to start this one again: it has a health of its own. Needs no password.
set -u

ask() { # port, tls or plain, path; the first line of the answer
    local request="HEAD $3 HTTP/1.0\r\nHost: localhost:$1\r\n\r\n"
    if [ "$2" = tls ]; then
        printf '%b' "$request" | timeout 4 openssl s_client -connect "127.0.0.1:$1" -quiet 2> /dev/null | head -n 1
    else
        { exec 3<> "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null || return
        printf '%b' "$request" >&3
        timeout 4 head -n 1 <&3
        exec 3>&-
    fi
}

ill=0
while read -r _ name port security _ check _; do
    answer=$(ask "$port" "$security" /.front/health)
    if [[ $answer != HTTP/1.?\ 204* ]]; then
        echo "$name: port $port does not answer (${security})"
        ill=1
        continue
    fi
    answer=$(ask "$port" "$security" "$check")
    case $answer in
        HTTP/1.?\ 50[234]* | '') echo "$name: its service does not answer" ;;
        *) echo "$name: answers" ;;
    esac
done < <(grep '^Use Page ' /etc/front/pages.conf | sed 's/^Use //')
exit "$ill"
