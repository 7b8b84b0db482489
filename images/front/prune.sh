#!/bin/sh
# Remove the days that are older than the site keeps them. rotatelogs runs it with each new day.
exec find /logs -maxdepth 1 -name 'access-*.log' -mtime "+${FRONT_AUDIT_DAYS}" -delete
