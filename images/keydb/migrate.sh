#!/bin/bash
# Brings an existing KeyDB to the schema of this image, before its server accepts connections.
#
# usage: migrate.sh DATA_DIRECTORY DATABASE MIGRATIONS_DIRECTORY [OPTION OF POSTGRES]...
#
# Called by entrypoint.sh, which holds the lock of the directory. A standalone server does the work:
# nobody can connect to it, and it needs neither the name nor the password of the superuser. Each
# migration is one transaction that also notes its number, so one that was killed is done again by the
# next start. A database without the tables of this project is a site's own and is left alone.
set -Eeuo pipefail
umask 077

data=$1 database=$2 migrations=$3
shift 3
options=("$@")

say() { printf 'keydb: %s\n' "$*" >&2; }

# standalone: runs the statements of standard input and prints what the server answers. The first
# error ends it, and with it the transaction.
standalone() {
    postgres --single -j -D "$data" "${options[@]}" -c exit_on_error=on "$database"
}

# What a site may have given to its database or to its superuser, for ordinary sessions.
readonly SETTINGS="
SET default_transaction_read_only = off;

SET search_path = public;
SET statement_timeout = 0;

"
# A setting carries the number out of the block: a query cannot name a table that may be absent.
readonly VERSION="$SETTINGS
DO \$\$
BEGIN
    IF to_regclass('public.patient') IS NOT NULL AND to_regclass('public.ctp_patient') IS NOT NULL
       AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.schema_version')
                   AND attname = 'version' AND atttypid = 'integer'::regtype) THEN
        PERFORM set_config(
            'keydb.schema', (SELECT max(version)::text FROM public.schema_version), false);
    END IF;
END
\$\$;
SELECT 'schema ' || coalesce(nullif(current_setting('keydb.schema', true), ''), 'unknown');
"

if ! answer=$(standalone <<<"$VERSION"); then
    say "error: the schema of database $database in $data could not be read; the lines above say" \
        "why. Where the database does not exist, POSTGRES_DB must be the name that it was created" \
        "with. Nothing was changed."
    exit 1
fi
found=$(sed -nE 's/.*"schema ([0-9]+)".*/\1/p' <<<"$answer")
if [[ -z "$found" ]]; then
    say "database $database has no schema of this project: it is left as it is"
    exit 0
fi

for version in $(printf '%s\n' "$migrations"/*.sql | sed -E 's|.*/(.*)\.sql|\1|' | sort -n); do
    ((version > found)) || continue
    say "bringing database $database from schema $found to $version"
    # Without its last line nothing of the transaction stays: a file that cannot be read to its end
    # does not get that line.
    if ! { printf '%sBEGIN;\n' "$SETTINGS" && cat -- "$migrations/$version.sql" && echo 'COMMIT;'; } \
        | standalone >/dev/null; then
        say "error: database $database could not be brought from schema $found to $version (see" \
            "above). Nothing was changed. Start the image before this one, put right what differs" \
            "from its schema, then start this one again (docs/keydb.md)."
        exit 1
    fi
    found=$version
    say "database $database has schema $found now"
done
