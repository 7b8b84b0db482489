"""Between machines nothing is said that a listener could read: no password, pseudonym or name."""

from __future__ import annotations

import json
from base64 import b64encode

from conftest import CA_ON_A_CLIENT, curl, psql
from shared.documented import command
from shared.machines import Machine, Node, Scenario, wait_for
from shared.studies import Study
from wire import Wire


def secrets(study: Study, passwords: dict[str, str]) -> list[bytes]:
    """What must not be heard, in the forms in which it could be."""
    words = [study.patient_id, study.pseudonym, *passwords.values()]
    words += ["Molecule^Identifiable", "Referring^Physician", "ACC-4711"]
    logins = [b64encode(f"{user}:{password}".encode()) for user, password in passwords.items()]
    logins += [b64encode(f"admin:{passwords['ctp_admin_password']}".encode())]
    return [*(word.encode() for word in words), *logins]


def test_a_listener_hears_what_is_said_in_the_clear(kv: Node, clients: dict[str, Machine]) -> None:
    """The control: without it, silence would show nothing."""
    with Wire(clients["pacs"]) as wire:
        clients["pacs"].shell(f"echo ACC-4711 | nc -u -w 1 {kv.address} 9 || true")
    assert wire.with_words([b"ACC-4711"]), sorted(wire.flows)


def test_nothing_can_be_read_while_a_study_passes_and_the_node_is_proved(
    scenario: Scenario,
    kv: Node,
    cat: Node,
    clients: dict[str, Machine],
    study: Study,
    passwords: dict[str, str],
) -> None:
    pacs, researcher = clients["pacs"], clients["researcher"]
    sent_from = f"/root/{study.pseudonym}"
    pacs.put(study.directory, sent_from)
    query = json.dumps({"Level": "Instance", "Query": {"PatientID": study.pseudonym}})

    def arrived() -> bool:
        status, text = curl(
            researcher,
            f"https://{cat.address}:8042/tools/find",
            *("--data", query),
            login=f"reader:{passwords['reader']}",
        )
        assert status == 200, text
        return len(json.loads(text)) == study.instances

    with Wire(kv) as identified, Wire(cat) as pseudonymous:
        own = {"auscat-ca.pem": CA_ON_A_CLIENT, "kv01": kv.address}
        pacs.run(*command("docs/ctp.md", "echoscu +tla", own))
        sent = pacs.run(
            *("storescu", "+tla", "+cf", CA_ON_A_CLIENT, "-aet", "PACS", "-aec", "CTP"),
            *("--scan-directories", kv.address, "8104", sent_from),
            check=False,
        )
        assert sent.returncode == 0, sent.stdout + sent.stderr
        wait_for("the study is in Orthanc", arrived)
        listed = psql(pacs, kv, "verify-full", "SELECT pseudonym FROM patient")
        assert study.pseudonym in listed.stdout, listed.stderr
        proved = scenario.play("playbooks/verify.yml")
        assert proved.returncode == 0, proved.errors
    words = secrets(study, passwords)
    assert identified.with_words(words) == []
    assert pseudonymous.with_words(words) == []
    # The way between the two machines was used, and both listeners heard it.
    between = [key for key in identified.flows if kv.address in key and cat.address in key]
    assert between and set(between) & set(pseudonymous.flows)
