#!/usr/bin/env python3
"""How fast a series goes from the PACS through CTP into Orthanc, as deployed and by default.

Needs the machines of the Molecule scenario rsna_ctp with the real CTP::

    CTP_DISTRIBUTION=... molecule converge --scenario-name rsna_ctp
    CTP_DISTRIBUTION=... python benchmarks/ctp.py [--objects 200] [--rounds 3] [--scenario NAME]

What 16 senders send faster than it leaves waits on the test host's volume of 400 MB: 400 objects
fit, 1,000 did not. Where it is full, senders are turned away, and the measurement fails.

Then the deployed node alone with mixed traffic: objects of three SOP classes in three transfer
syntaxes in turn, as when a CT, an MR and a PET scanner send at the same time, against as many
objects of the same sizes of one class in one syntax. Both have one sender and 16.

"default" is the same CTP and the same Orthanc on the same machine as they come: CTP's own example
script and intervals, the PACS connected to CTP and CTP to Orthanc directly, Orthanc with its own
PDU length and socket options. Both are measured in turn in one run, after both were warm, since
machines are shared: read the ratio, not the seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "molecule"))

from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RLELossless,
)
from shared.machines import Machine, Node, Scenario, wait_for
from shared.streams import Rest, ct_slices, page

SCENARIO = Path(__file__).resolve().parents[1] / "molecule" / "rsna_ctp"
DEFAULT_DICOM, DEFAULT_WEB = 18104, 18042
WARM_UP = 400
"""Objects that both take before anything is measured."""
DEFAULT_CONFIG = """\
<Configuration>
  <Server port="9090"/>
  <Pipeline name="default">
    <DicomImportService name="import" class="org.rsna.ctp.stdstages.DicomImportService"
      port="8104" root="roots/import" quarantine="quarantines/import"/>
    <DicomAnonymizer name="anonymizer" class="org.rsna.ctp.stdstages.DicomAnonymizer"
      script="scripts/DicomAnonymizer.script" root="roots/anonymizer"
      quarantine="quarantines/anonymizer"/>
    <DicomExportService name="export" class="org.rsna.ctp.stdstages.DicomExportService"
      url="dicom://ORTHANC:CTP@bench-orthanc:4242" root="roots/export"
      quarantine="quarantines/export"/>
  </Pipeline>
</Configuration>
"""
DEFAULT_ORTHANC = {
    "Name": "default",
    "RemoteAccessAllowed": True,
    "AuthenticationEnabled": True,
    "RegisteredUsers": {"admin": "admin"},
    "NodeGuard": {
        "Marks": {
            "IdentityRemoved": True,
            "Methods": [],
            "Codes": [],
            "PseudonymPrefixes": [],
        },
        "Roles": {"admin": "admin"},
    },
    "MaximumPduLength": 16384,
}


def start_default(node: Node) -> None:
    """Start CTP and Orthanc as they come, beside the deployed ones, on a network of their own."""
    stop_default(node)
    images = {
        name: node.tasks(f"auscat_{name}")[0]["Config"]["Image"] for name in ("ctp", "orthanc")
    }
    (mount,) = (
        mount
        for mount in node.tasks("auscat_ctp")[0]["Mounts"]
        if mount["Destination"] == "/opt/ctp"
    )
    node.shell(
        f"""
        docker network create bench >/dev/null
        mkdir -p /root/bench/ctp /root/bench/db
        cp -r {mount["Source"]}/. /root/bench/ctp/
        cat > /root/bench/ctp/config.xml <<'END'\n{DEFAULT_CONFIG}END
        cat > /root/bench/orthanc.json <<'END'\n{json.dumps(DEFAULT_ORTHANC)}\nEND
        chmod -R a+rwX /root/bench
        docker run --detach --name bench-orthanc --network bench --env TCP_NODELAY=0 \
          --publish {DEFAULT_WEB}:8042 --volume /root/bench/db:/var/lib/orthanc/db \
          --volume /root/bench/orthanc.json:/run/secrets/orthanc.json:ro \
          {images["orthanc"]} >/dev/null
        docker run --detach --name bench-ctp --network bench --user 0 \
          --publish {DEFAULT_DICOM}:8104 \
          --volume /root/bench/ctp:/bench --workdir /bench --entrypoint java {images["ctp"]} \
          -Djava.awt.headless=true -Xmx512m -jar libraries/CTP.jar >/dev/null
        """
    )


def stop_default(node: Node) -> None:
    """Remove what `start_default` made."""
    node.shell(
        "docker rm --force bench-ctp bench-orthanc >/dev/null 2>&1 || true;"
        " docker network rm bench >/dev/null 2>&1 || true; rm -rf /root/bench"
    )


KINDS = (
    (CTImageStorage, "CT"),
    (MRImageStorage, "MR"),
    (PositronEmissionTomographyImageStorage, "PT"),
)
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless)


def mixed(images: list[Dataset]) -> list[Dataset]:
    """Give each object another class than the one before it, and each three another syntax."""
    series = [images[0].SeriesInstanceUID, *(f"2.25.{uuid.uuid4().int}" for _ in KINDS[1:])]
    for index, image in enumerate(images):
        kind, syntax = index % len(KINDS), SYNTAXES[index // len(KINDS) % len(SYNTAXES)]
        image.SOPClassUID, image.Modality = KINDS[kind]
        image.SeriesInstanceUID, image.SeriesNumber = series[kind], kind + 1
        if syntax == RLELossless:
            image.compress(RLELossless, generate_instance_uid=False)
        image.file_meta.TransferSyntaxUID = syntax
    return images


def write_series(pacs: Machine, images: list[Dataset], parts: int) -> str:
    """Put objects on the PACS, in as many directories as there are senders.

    Their names sort as the objects come. Each sender has its own class to begin with.
    """
    target = f"/root/{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as directory:
        for index, image in enumerate(images):
            part = Path(directory) / str(index % parts)
            part.mkdir(exist_ok=True)
            image.save_as(part / f"{index:06d}.dcm", enforce_file_format=True)
        pacs.put(Path(directory), target)
    return target


def measure(
    pacs: Machine, address: str, port: int, orthanc: Rest, objects: int, series: str, parts: int
) -> float:
    """Return the seconds from the first connection until Orthanc has all objects."""
    before = int(orthanc.ask("/statistics")["CountInstances"])
    started = time.monotonic()
    pacs.shell(
        f"senders=; for part in $(seq 0 {parts - 1}); do dcmsend --aetitle PACS --call CTP"
        f' --decompress-never {address} {port} {series}/$part/* & senders="$senders $!"; done;'
        # One that is turned away, as when the disk is full, does not come again.
        " for sender in $senders; do wait $sender || exit; done",
        timeout=600,
    )
    wait_for(
        f"Orthanc has {objects} objects more",
        lambda: int(orthanc.ask("/statistics")["CountInstances"]) >= before + objects,
        600,
    )
    return time.monotonic() - started


def main() -> None:
    """Measure, and print one row for each number of senders."""
    parser = argparse.ArgumentParser(description="Measure ingest through CTP into Orthanc.")
    parser.add_argument("--objects", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenario", default=SCENARIO.name)
    arguments = parser.parse_args()
    scenario = Scenario(SCENARIO.parent / arguments.scenario)
    node, pacs = scenario.node("node"), scenario.client("pacs")
    password = node.variables["orthanc_registered_users"]["admin"]
    deployed = page(node, 8042, "admin", password)
    default = Rest(f"http://{node.address}:{DEFAULT_WEB}", "admin", "admin")

    keys = Path(tempfile.mkstemp(suffix=".csv")[1])
    keys.write_text("patient_id,pseudonym\nBENCH,ANON-BENCH\n")
    loaded = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert loaded.returncode == 0, loaded.errors
    start_default(node)
    try:
        wait_for("the default Orthanc answers", lambda: bool(answers(default)), 60)
        wait_for("the default CTP listens", lambda: pacs.connects(node.address, DEFAULT_DICOM), 60)
        both = ("default", DEFAULT_DICOM, default), ("deployed", 8104, deployed)
        for _, port, api in both:
            # A node runs for weeks; Java compiles what it runs for its first thousand objects.
            series = write_series(pacs, ct_slices("BENCH", WARM_UP), 16)
            measure(pacs, node.address, port, api, WARM_UP, series, 16)
            pacs.run("rm", "-rf", series)
        print("senders  default objects/s  deployed objects/s  ratio")
        for parts in (1, 16):
            rates: dict[str, list[float]] = {"default": [], "deployed": []}
            for _ in range(arguments.rounds):
                for name, port, api in both:
                    series = write_series(pacs, ct_slices("BENCH", arguments.objects), parts)
                    seconds = measure(
                        pacs, node.address, port, api, arguments.objects, series, parts
                    )
                    pacs.run("rm", "-rf", series)
                    rates[name].append(arguments.objects / seconds)
            slow, fast = (statistics.median(rates[name]) for name in ("default", "deployed"))
            print(f"{parts:7d}  {slow:17.1f}  {fast:18.1f}  {fast / slow:5.1f}", flush=True)
    finally:
        stop_default(node)
    print("senders  uniform objects/s  mixed objects/s  ratio")
    for parts in (1, 16):
        rates = {"uniform": [], "mixed": []}
        for _ in range(arguments.rounds):
            for name in rates:
                images = ct_slices("BENCH", arguments.objects)
                if name == "mixed":
                    images = mixed(images)
                series = write_series(pacs, images, parts)
                seconds = measure(
                    pacs, node.address, 8104, deployed, arguments.objects, series, parts
                )
                pacs.run("rm", "-rf", series)
                rates[name].append(arguments.objects / seconds)
        one, several = (statistics.median(rates[name]) for name in ("uniform", "mixed"))
        print(f"{parts:7d}  {one:17.1f}  {several:15.1f}  {several / one:5.2f}", flush=True)


def answers(orthanc: Rest) -> bool:
    """Tell whether an Orthanc answers."""
    try:
        return bool(orthanc.ask("/system"))
    except OSError:
        return False


if __name__ == "__main__":
    main()
