#!/bin/sh
# Start slapd on the machine that runs this: StartTLS at 389, LDAPS at 636.
setsid slapd -f /root/people/slapd.conf -h "ldap:/// ldaps:///" -d stats >> /var/log/slapd.log 2>&1 &
