#!/bin/bash
# Healthy: the server accepts connections over TCP, and CTP's role can read its view. While the
# database is being created the server listens on no port, so it is not healthy before its time.
set -eu
pg_isready --quiet --host=127.0.0.1 --port=5432 --timeout=3
export PGCONNECT_TIMEOUT=3 PGOPTIONS='-c statement_timeout=3s'
exec psql --no-psqlrc --quiet --tuples-only --output=/dev/null \
    --username=ctp_key_db_select --dbname="${POSTGRES_DB:-key_db}" \
    --command='SELECT pseudonym FROM ctp_patient LIMIT 1'
