#!/bin/sh
# Start slapd and glewlwyd on the machine that runs this; what they need lies in /root/people.
set -eu

rm -rf /var/lib/people /var/lib/provider
mkdir -p /var/lib/people /var/lib/provider
slapadd -f /root/people/slapd.conf -l /root/people/people.ldif
sh /root/people/slapd.sh

python3 - << 'END'
import re, sqlite3
sql = open("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3", encoding="utf-8").read()
sqlite3.connect("/var/lib/provider/database").executescript(sql)
text = open("/etc/glewlwyd/glewlwyd.conf", encoding="utf-8").read()
values = {
    "external_url": f'"https://{open("/root/people/address").read().strip()}:4593"',
    "use_secure_connection": "true",
    "secure_connection_key_file": '"/root/people/tls.key"',
    "secure_connection_pem_file": '"/root/people/tls.crt"',
    "secure_connection_ca_file": '"/root/people/ca.pem"',
    "cookie_secure": "1",
    "log_mode": '"console"',
}
for name, value in values.items():
    text = re.sub(rf"(?m)^#?\s*{name}\s*=.*$", f"{name}={value}", text)
database = 'database = { type = "sqlite3" path = "/var/lib/provider/database" };'
text = re.sub(r"(?m)^@include .*$", database, text)
open("/var/lib/provider/glewlwyd.conf", "w", encoding="utf-8").write(text)
END
setsid glewlwyd --config-file=/var/lib/provider/glewlwyd.conf > /var/log/glewlwyd.log 2>&1 &
