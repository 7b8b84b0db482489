"""A thousand wrong logins: slowed down, written down, and nobody else notices.

It comes last, since the researcher's machine is kept waiting for a while afterwards.
"""

from __future__ import annotations

import json
from pathlib import Path

from conftest import curl, status_from_here
from shared.machines import Machine, Node

# One after another, as a program would that guesses; it ends after so many seconds at the latest.
GUESS = r"""
import base64, http.client, json, ssl, sys, time
address, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
context, begin, said = ssl.create_default_context(cafile="/root/ca.pem"), time.monotonic(), {}
for number in range(count):
    if time.monotonic() - begin > seconds:
        said["not tried"] = count - number
        break
    login = base64.b64encode(f"reader:guess-{number}".encode()).decode()
    try:
        connection = http.client.HTTPSConnection(address, 8042, context=context, timeout=20)
        connection.request("GET", "/system", headers={"Authorization": f"Basic {login}"})
        status = str(connection.getresponse().status)
        connection.close()
    except OSError as error:
        status = type(error).__name__
    said[status] = said.get(status, 0) + 1
print(json.dumps(said))
"""


def test_a_thousand_wrong_logins(
    cat: Node, ca: Path, clients: dict[str, Machine], passwords: dict[str, str]
) -> None:
    researcher = clients["researcher"]
    url = f"https://{cat.address}:8042/system"
    right = f"reader:{passwords['reader']}"
    assert curl(researcher, url, login=right)[0] == 200
    counted = json.loads(
        researcher.output("python3", "-c", GUESS, cat.address, "1000", "60", timeout=200)
    )
    assert "200" not in counted, counted
    # Not every guess was judged: after some, the address had to wait.
    assert counted.get("401", 0) < 1000, counted
    # From elsewhere, the same user gets in meanwhile.
    assert status_from_here(cat, ca, right) == "200"
    logged = cat.shell("cat /srv/auscat/front/logs/* | grep -c 10.213.95.32 || true")
    assert int(logged) > 0
    guesses = cat.shell("grep -rlF guess- /srv/auscat/front /var/log || true")
    assert guesses == "", "a password that was tried is written down"
