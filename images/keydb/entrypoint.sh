#!/bin/bash
# Creates KeyDB when the data directory is empty, brings one with an older schema to that of this
# image (migrate.sh), then becomes the PostgreSQL server.
#
# Environment (the names of the official PostgreSQL image):
#   POSTGRES_USER_FILE       file with the superuser's name; default: POSTGRES_USER, else key_admin
#   POSTGRES_PASSWORD_FILE   file with its password; default /run/secrets/keydb_pass
#   KEYDB_CTP_PASSWORD_FILE  file with the password of ctp_key_db_select;
#                            default /run/secrets/keydb_ctp_pass
#   POSTGRES_DB, PGDATA, TZ  default key_db, /var/lib/postgresql/data/pgdata, Etc/UTC
# The first three are read only when the database is created, POSTGRES_DB also for a migration.
set -Eeuo pipefail
umask 077

if [[ "${1:-postgres}" != postgres ]]; then
    exec "$@"
fi

readonly CTP_ROLE=ctp_key_db_select
readonly CONFIG=/etc/keydb/postgresql.conf
readonly SERVER_VERSION=17
data="${PGDATA:-/var/lib/postgresql/data/pgdata}"
data="${data%/}"
volume=$(dirname "$data")
staging="$data.init"
timezone="${TZ:-Etc/UTC}"

say() { printf 'keydb: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

trap 'say "stopped before the database was ready"; exit 130' INT TERM

# read_line FILE VARIABLE MEANING: prints the file's only line, without its line feed.
read_line() {
    local file=$1 variable=$2 meaning=$3 value
    [[ -f "$file" ]] || die "$variable names $file, which does not exist. It must hold $meaning." \
        "Mount the secret, then start again; nothing was created."
    [[ -r "$file" ]] || die "$variable names $file, which user $(id -u) may not read ($meaning)." \
        "Make the secret's owner $(id -u) with mode 0400."
    value=$(<"$file")
    [[ -n "$value" ]] || die "$variable names $file, which is empty. It must hold $meaning."
    [[ "$value" != *[[:cntrl:]]* ]] || die "$variable names $file, which holds more than one" \
        "line or a control character. It must hold $meaning in one line."
    printf '%s' "$value"
}

create_database() {
    local user=${POSTGRES_USER:-key_admin} password ctp_password database=${POSTGRES_DB:-key_db}
    local sockets
    [[ -z "${POSTGRES_PASSWORD:-}" ]] || die "POSTGRES_PASSWORD is set: a password in the" \
        "environment is visible to everyone who may inspect the container." \
        "Use POSTGRES_PASSWORD_FILE."
    if [[ -n "${POSTGRES_USER_FILE:-}" ]]; then
        user=$(read_line "$POSTGRES_USER_FILE" POSTGRES_USER_FILE "the name of the superuser")
    fi
    [[ "$user" =~ ^[a-z_][a-z0-9_]{0,62}$ && "$user" != pg_* && "$user" != "$CTP_ROLE" ]] \
        || die "the name of the superuser is \"$user\"; accepted: a to z, digits and _, at most" \
        "63 characters, no digit first, not pg_… and not $CTP_ROLE."
    [[ "$database" =~ ^[a-z_][a-z0-9_]{0,62}$ && "$database" != @(postgres|template0|template1) ]] \
        || die "POSTGRES_DB is \"$database\"; accepted: a to z, digits and _, at most 63" \
        "characters, no digit first, not postgres, template0 or template1."
    password=$(read_line "${POSTGRES_PASSWORD_FILE:-/run/secrets/keydb_pass}" \
        POSTGRES_PASSWORD_FILE "the password of $user")
    ctp_password=$(read_line "${KEYDB_CTP_PASSWORD_FILE:-/run/secrets/keydb_ctp_pass}" \
        KEYDB_CTP_PASSWORD_FILE "the password of $CTP_ROLE")

    # Everything is made beside its place and moved there as the last step, so a directory with
    # the final name is always a whole database, and one with the other name never is.
    if [[ -e "$staging" ]]; then
        say "an earlier first start was interrupted: removing what it left in $staging"
        rm -rf -- "$staging"
    fi
    say "creating database $database in $data"
    # The builtin locale sorts alike for ever; that of the C library changes with its version and
    # would silently spoil the indexes when the image is rebuilt on a newer Debian.
    initdb --pgdata="$staging" --username="$user" --pwfile=<(printf '%s\n' "$password") \
        --auth-local=trust --auth-host=scram-sha-256 --data-checksums --encoding=UTF8 \
        --locale=C.UTF-8 --locale-provider=builtin --builtin-locale=C.UTF-8 \
        --no-instructions >&2

    sockets=$(mktemp -d /tmp/keydb-init.XXXXXX)
    pg_ctl --pgdata="$staging" --wait --timeout=300 --silent start \
        --options="-c config_file=$CONFIG -c listen_addresses='' -c unix_socket_directories=$sockets" \
        >&2
    export PGHOST=$sockets PGUSER=$user
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname=postgres \
        --command="CREATE DATABASE $database" >&2
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$database" --single-transaction \
        --file=/etc/keydb/schema.sql >&2
    # The password travels through a pipe and a psql variable: no command line, no environment.
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=VERBOSITY=terse --dbname="$database" \
        --file=- >&2 < <(
            printf "ALTER ROLE %s PASSWORD '%s';\n" "$CTP_ROLE" "${ctp_password//\'/\'\'}")
    pg_ctl --pgdata="$staging" --wait --timeout=300 --mode=fast --silent stop >&2
    unset PGHOST PGUSER
    rm -rf -- "$sockets"

    mv --no-target-directory -- "$staging" "$data"
    sync -- "$volume"
    say "created database $database: superuser $user, read-only role $CTP_ROLE"
}

[[ -f "/usr/share/zoneinfo/$timezone" ]] \
    || die "TZ is \"$timezone\"; accepted: a name of the IANA time zone database, for example" \
    "Etc/UTC or Australia/Sydney."
[[ -d "$volume" && -w "$volume" && -x "$volume" ]] \
    || die "the data directory $volume cannot be written by user $(id -u) (it is" \
    "$(stat --format='owned by %u:%g with mode %a' "$volume" 2>/dev/null || echo missing))." \
    "Make its owner $(id -u):$(id -g) with mode 0700."

options=(-c config_file="$CONFIG" -c timezone="$timezone" -c log_timezone="$timezone")

# PostgreSQL's own lock file names a process number, which means nothing to a second container on
# the same directory. This lock is inherited by the server and lasts exactly as long as it runs.
exec 9>"$data.lock"
if ! flock --nonblock 9; then
    say "another container still uses $data: waiting for it"
    flock --timeout 120 9 || die "another container still uses $data after 120 seconds. Two" \
        "servers on one directory would destroy it: stop the other one."
fi

if [[ -s "$data/PG_VERSION" ]]; then
    found=$(<"$data/PG_VERSION")
    [[ "$found" == "$SERVER_VERSION" ]] || die "$data was made by PostgreSQL $found; this image" \
        "has PostgreSQL $SERVER_VERSION. Start the image of version $found, dump the database," \
        "and load the dump into an empty directory. Nothing was changed."
    # What a server that was killed left; its number may be that of any process of this container,
    # and then none would start. Nothing runs on the directory, since the lock is ours.
    rm -f -- "$data/postmaster.pid"
    bash /usr/local/bin/migrate.sh "$data" "${POSTGRES_DB:-key_db}" /etc/keydb/migrations \
        "${options[@]}"
elif [[ -d "$data" && -n "$(ls -A "$data")" ]]; then
    die "$data is not empty but holds no PostgreSQL database (no PG_VERSION). Move its content" \
        "away, or restore the database that belongs there. Nothing was changed."
else
    create_database
fi

trap - INT TERM
shift || true
exec postgres -D "$data" "${options[@]}" "$@"
