"""What stock CTP reads: rendered from variables, fail-closed."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import config as ctp_config


def settings(**changes: Any) -> dict[str, Any]:
    given = {
        "ctp_distribution": "/root/CTP-installer.jar",
        "ctp_pipelines": [{"name": "orthanc"}],
        "ctp_deidentification": {},
        "ctp_pixel_rules": [],
        "ctp_pseudonym_prefixes": ["ANON-"],
        "ctp_issuers": [""],
        "ctp_heap_mib": 512,
        "ctp_memory_mib": 1024,
        "ctp_minimum_free_mib": 1024,
        "auscat_largest_object_mib": 200,
        "ctp_account_days": 90,
        "ctp_account_quiet_minutes": 5,
        "ctp_sync_before_acknowledge": True,
        "ctp_stop_seconds": 60,
        "ctp_orthanc_hostname": "orthanc",
        "ctp_orthanc_port": 4242,
        "ctp_orthanc_aet": "ORTHANC",
        "ctp_aet": "CTP",
        "ctp_keydb_query": "",
        "ctp_forwarded": False,
        "ctp_admin_password_has_colon": False,
    }
    return {**given, **changes}


def stages(text: str) -> list[ElementTree.Element]:
    return [stage for pipeline in ElementTree.fromstring(text) for stage in pipeline]


def test_the_defaults_are_sound() -> None:
    assert ctp_config.problems(settings()) == []


def test_every_stage_has_a_quarantine_and_a_root_of_its_own() -> None:
    pipelines = [
        {"name": "a", "called_aets": ["A"], "parallel": 2},
        {"name": "b", "called_aets": ["B"]},
    ]
    found = stages(ctp_config.config_xml(settings(ctp_pipelines=pipelines)))
    assert len(found) == 3 * 4
    for attribute in ("root", "quarantine"):
        assert len({stage.get(attribute) for stage in found}) == len(found)
        assert all(str(stage.get(attribute)).startswith("/ctp_temp/") for stage in found)


def test_the_filter_stands_between_anonymizer_and_export() -> None:
    found = [stage.tag for stage in stages(ctp_config.config_xml(settings()))]
    assert found == ["DicomImportService", "DicomAnonymizer", "DicomFilter", "DicomExportService"]


def test_ctp_is_reached_over_loopback_alone_and_asks_for_a_login() -> None:
    root = ElementTree.fromstring(ctp_config.config_xml(settings()))
    server = root.find("Server")
    assert server is not None
    assert server.get("requireAuthentication") == "yes"
    (importer,) = root.iter("DicomImportService")
    assert importer.get("ip") == "127.0.0.1"
    (exporter,) = root.iter("DicomExportService")
    assert exporter.get("url") == "dicom://ORTHANC:CTP@127.0.0.1:8301"


@pytest.mark.parametrize(
    ("pipelines", "flavour", "expected"),
    [
        ([{"name": "a"}], "rsna", [([], [], 1)]),
        (
            [
                {"name": "a", "called_aets": ["A"], "calling_aets": ["PACS"], "parallel": 3},
                {"name": "b", "called_aets": ["B"]},
            ],
            "rsna",
            [(["A"], ["PACS"], 3), (["B"], [], 1)],
        ),
        # How many pipelines the image has is not known.
        ([{"name": "a", "called_aets": ["A"], "parallel": 3}, {}], "auscat", [(["A"], [], 1)]),
        # Said by name elsewhere.
        ([{"name": "a", "parallel": "many"}, "b"], "rsna", []),
        ("a", "rsna", []),
    ],
)
def test_what_the_gate_is_told(
    pipelines: Any, flavour: str, expected: list[tuple[list[str], list[str], int]]
) -> None:
    assert [
        (each["called_aets"], each["calling_aets"], each["parallel"])
        for each in ctp_config.gate_pipelines(pipelines, flavour)
    ] == expected


@pytest.mark.parametrize("value", [-1, 3601, "long", True])
def test_no_wait_without_end(value: Any) -> None:
    assert ctp_config.hold_seconds("120") == 120
    with pytest.raises(ctp_config.CtpConfigurationError, match="Accepted: 0 to 3600"):
        ctp_config.hold_seconds(value)


def test_the_export_follows_orthanc() -> None:
    changed = settings(
        ctp_orthanc_hostname="192.0.2.7",
        ctp_orthanc_port=11112,
        ctp_orthanc_aet="ARCHIVE",
        ctp_aet="ME",
    )
    assert "dicom://ARCHIVE:ME@" in ctp_config.config_xml(changed)
    (pipeline,) = ctp_config.supervisor(changed)["pipelines"]
    assert pipeline["export"] == {
        "listen_port": 8301,
        "host": "192.0.2.7",
        "port": 11112,
        "greeting_port": 0,
        "tls_names": [],
    }


def test_the_way_to_orthanc_on_the_same_machine_is_by_the_forwarder() -> None:
    other = {"name": "other", "export": {"host": "192.0.2.7", "port": 4242}}
    changed = settings(ctp_forwarded=True, ctp_pipelines=[{"name": "orthanc"}, other])
    ports = [
        each["export"]["greeting_port"] for each in ctp_config.supervisor(changed)["pipelines"]
    ]
    assert ports == [4243, 0]
    (here,) = ctp_config.supervisor(settings(ctp_orthanc_hostname="cv01"))["pipelines"]
    assert here["export"]["greeting_port"] == 0


def test_a_pipeline_in_parallel_shares_ae_titles_and_script() -> None:
    pipelines = [{"name": "orthanc", "parallel": 3, "called_aets": ["CTP"]}]
    found = ctp_config.supervisor(settings(ctp_pipelines=pipelines))["pipelines"]
    assert [each["name"] for each in found] == ["orthanc-1", "orthanc-2", "orthanc-3"]
    assert len({each["import_port"] for each in found}) == 3
    assert {each["script"] for each in found} == {"orthanc.anonymizer.script"}
    assert [each["called_aets"] for each in found] == [["CTP"]] * 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, False), ({"longitudinal": "full"}, False), ({"longitudinal": "shifted"}, True)],
)
def test_the_shift_is_asked_of_keydb_only_where_dates_are_shifted(
    options: dict[str, Any], expected: bool
) -> None:
    for changed in (
        settings(ctp_deidentification=options),
        settings(ctp_pipelines=[{"name": "a", "deidentification": options}]),
    ):
        assert ctp_config.supervisor(changed)["date_shift"] is expected


def test_all_files_are_rendered_and_none_holds_a_secret_or_an_identifier_in_the_log() -> None:
    found = ctp_config.files(settings())
    assert sorted(found) == [
        "config.xml",
        "log4j.properties",
        "orthanc.anonymizer.script",
        "orthanc.filter.script",
        "supervisor.json",
    ]
    assert json.loads(found["supervisor.json"])["engine"] == "ctp"
    # "Illegal UID value: Doe^Jane", "Illegal PN: …"; exceptions over a command, with what is in it.
    for logger in ("rsna.ctp.stdstages.anonymizer = OFF", "dcm4cheri.data = ERROR"):
        assert f"\nlog4j.logger.org.{logger}\n" in found["log4j.properties"]
    assert "\nlog4j.logger.org.dcm4cheri.util = ERROR\n" in found["log4j.properties"]


def test_the_preset_of_each_pipeline_is_told() -> None:
    given = settings(
        ctp_deidentification={"preset": "radiotherapy", "retain_device_model": False},
        ctp_descriptor_words=["ACCRONYM", "trial2"],
        ctp_pipelines=[
            {"name": "orthanc", "called_aets": ["A"]},
            {"name": "b", "called_aets": ["B"], "deidentification": {"preset": "strict"}},
        ],
    )
    assert ctp_config.said(given) == [
        {
            "pipeline": "orthanc",
            "preset": "radiotherapy",
            "changes": "retain_device_model: false, 2 words of the site",
        },
        {"pipeline": "b", "preset": "strict", "changes": "2 words of the site"},
    ]
    assert ctp_config.supervisor(given)["deidentification"][1] == "b: strict, 2 words of the site"
    assert ctp_config.supervisor(given)["date_shift"] is True
    files = ctp_config.files(given)
    for pipeline, words in (("orthanc", "radiotherapy with changes"), ("b", "only listed values")):
        assert words in files[f"{pipeline}.anonymizer.script"]
        assert words in files[f"{pipeline}.filter.script"]
    # Words of the site stand in the script of descriptions and of labels alone.
    assert files["orthanc.anonymizer.script"].count("CCRONYM") == 7
    assert "CCRONYM" not in files["b.anonymizer.script"]
    assert ctp_config.said(settings(ctp_deidentification={"preset": "some"})) == []


def test_the_standin_is_announced_to_the_supervisor() -> None:
    assert ctp_config.supervisor(settings(ctp_distribution="standin"))["engine"] == "standin"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ctp_pipelines": []}, "ctp_pipelines is []"),
        ({"ctp_pipelines": "orthanc"}, "ctp_pipelines is 'orthanc'"),
        ({"ctp_pipelines": [{"name": "../etc"}]}, "ctp_pipelines[0].name is '../etc'"),
        ({"ctp_pipelines": [{"name": "a", "colour": 1}]}, "the unknown key 'colour'"),
        ({"ctp_pipelines": [{"name": "a", "parallel": 0}]}, "parallel is 0. Accepted: 1 to 8"),
        ({"ctp_pipelines": [{"name": "a", "calling_aets": "PACS"}]}, "calling_aets is 'PACS'"),
        ({"ctp_pipelines": [{"name": "a", "called_aets": ["x" * 17]}]}, "of 1 to 16 characters"),
        (
            {"ctp_pipelines": [{"name": "a", "export": {"called_aet": "A:B"}}]},
            "export.called_aet is 'A:B'",
        ),
        ({"ctp_pipelines": [{"name": "a", "export": {"port": 0}}]}, "export.port is 0"),
        (
            {"ctp_pipelines": [{"name": "a", "called_aets": ["A"]}] * 2},
            "2 pipelines called 'a'",
        ),
        (
            {
                "ctp_pipelines": [
                    {"name": "a", "called_aets": ["A"]},
                    {"name": "b", "called_aets": ["A"]},
                ]
            },
            "'A' of the pipeline 'b' belongs to 'a' already",
        ),
        ({"ctp_deidentification": {"x": 1}}, "the unknown option 'x'"),
        (
            {"ctp_deidentification": {"longitudinal": True}},
            "ctp_deidentification.longitudinal is True",
        ),
        (
            {"ctp_deidentification": {"clean_descriptors": "yes"}},
            "clean_descriptors is 'yes'. Accepted: true or false",
        ),
        (
            {"ctp_deidentification": {"roi_names": "all"}},
            "ctp_deidentification.roi_names is 'all'. Accepted: standard, listed, kept",
        ),
        (
            {"ctp_deidentification": {"site_roi_names": "Darm"}},
            "ctp_deidentification.site_roi_names is 'Darm'. Accepted: a list of at most 1000 names",
        ),
        (
            {"ctp_deidentification": {"site_roi_names": ["Darm"] * 1001}},
            "ctp_deidentification.site_roi_names has 1001 names. Accepted: a list",
        ),
        (
            {
                "ctp_pipelines": [
                    {"name": "a", "deidentification": {"site_roi_names": ["Doe^Jane"]}}
                ]
            },
            "ctp_pipelines[0].deidentification.site_roi_names contains 'Doe^Jane'. Accepted:",
        ),
        (
            {"ctp_deidentification": {"site_roi_names": ["Darm"]}},
            "ctp_deidentification.site_roi_names has names, and roi_names is standard",
        ),
        (
            {
                "ctp_deidentification": {"roi_names": "listed"},
                "ctp_pipelines": [
                    {"name": "a", "deidentification": {"preset": "strict", "site_roi_names": ["D"]}}
                ],
            },
            "ctp_pipelines[0].deidentification.site_roi_names has names, and roi_names is standard",
        ),
        (
            {"ctp_deidentification": {"uid_root": "abc"}},
            "ctp_deidentification.uid_root is 'abc'. Accepted: a UID of at most 23 characters",
        ),
        (
            {"ctp_pipelines": [{"name": "a", "deidentification": {"uid_root": 2.25}}]},
            "ctp_pipelines[0].deidentification.uid_root is 2.25. Accepted: a UID",
        ),
        (
            {"ctp_pipelines": [{"name": "a", "deidentification": []}]},
            "ctp_pipelines[0].deidentification is []. Accepted: a mapping of",
        ),
        (
            {"ctp_deidentification": {"preset": "research"}},
            "ctp_deidentification.preset is 'research'. Accepted: strict, radiotherapy",
        ),
        (
            {"ctp_deidentification": {"preset": ["strict"]}},
            "ctp_deidentification.preset is ['strict']. Accepted: strict, radiotherapy",
        ),
        (
            {"ctp_pipelines": [{"name": "a", "deidentification": {"preset": True}}]},
            "ctp_pipelines[0].deidentification.preset is True",
        ),
        (
            {"ctp_deidentification": {"retain_device_model": 1}},
            "retain_device_model is 1. Accepted: true or false",
        ),
        (
            {"ctp_deidentification": {"descriptor_words": ["A"]}},
            "the unknown option 'descriptor_words'",
        ),
        ({"ctp_descriptor_words": "MPRAGE"}, "ctp_descriptor_words is 'MPRAGE'. Accepted: a list"),
        (
            {"ctp_descriptor_words": ["FLT3"]},
            "ctp_descriptor_words is ['FLT3'], and clean_descriptors is false in every pipeline",
        ),
        (
            {
                "ctp_descriptor_words": ["FLT3"],
                "ctp_deidentification": {"preset": "radiotherapy"},
                "ctp_pipelines": [
                    {"name": "a", "deidentification": {"clean_descriptors": False}},
                ],
            },
            "Accepted: words beside clean_descriptors: true, or none. Set it in ctp_de",
        ),
        ({"ctp_descriptor_words": ["AB"] * 501}, "Accepted: a list of at most 500 words"),
        ({"ctp_descriptor_words": [1950]}, "ctp_descriptor_words contains 1950. Accepted: 2 to 32"),
        ({"ctp_descriptor_words": ["1950"]}, "contains '1950'. Accepted: 2 to 32 letters"),
        ({"ctp_descriptor_words": ["A1950"]}, "contains 'A1950'. Accepted: at most two digits"),
        ({"ctp_descriptor_words": ["CT CHEST"]}, "contains 'CT CHEST'. Accepted: 2 to 32"),
        ({"ctp_descriptor_words": ["(A|B)*"]}, "contains '(A|B)*'. Accepted: 2 to 32 letters"),
        ({"ctp_descriptor_words": ["Keep"]}, "contains 'Keep'. Accepted: none of the words keep"),
        ({"ctp_issuers": []}, "ctp_issuers is []. Accepted: a list of at least one"),
        ({"ctp_issuers": "HOSP-A"}, "ctp_issuers is 'HOSP-A'"),
        ({"ctp_issuers": ["A|B"]}, "ctp_issuers contains 'A|B'. Accepted: up to 64"),
        ({"ctp_issuers": [" A"]}, "ctp_issuers contains ' A'"),
        ({"ctp_issuers": ["", 7]}, "ctp_issuers contains 7"),
        ({"ctp_pixel_rules": [{"action": "clean"}]}, "ctp_pixel_rules[0] has no manufacturer"),
        ({"ctp_pseudonym_prefixes": "ANON-"}, "ctp_pseudonym_prefixes is 'ANON-'"),
        ({"ctp_pseudonym_prefixes": ['"+true']}, "ctp_pseudonym_prefixes contains"),
        ({"ctp_heap_mib": 900}, "ctp_heap_mib is 900"),
        ({"ctp_admin_password_has_colon": True}, "ctp_admin_password contains a colon"),
    ],
)
def test_problems_name_variable_value_and_accepted(changes: dict[str, Any], words: str) -> None:
    text = "\n".join(ctp_config.problems(settings(**changes)))
    assert words in text
    assert "Accepted" in text
    with pytest.raises(ctp_config.CtpConfigurationError):
        ctp_config.files(settings(**changes))


def test_regions_are_told_to_the_supervisor_and_blanked_nowhere_else() -> None:
    rule = {
        "manufacturer": "ACME",
        "model": "Echo 3",
        "sop_class": "UltrasoundImageStorage",
        "rows": 600,
        "columns": 800,
        "action": "blank",
        "regions": [{"x": 0, "y": 1, "width": 800, "height": 60}],
    }
    given = settings(ctp_pixel_rules=[rule, {**rule, "action": "clean", "regions": None}])
    del given["ctp_pixel_rules"][1]["regions"]
    files = ctp_config.files(given)
    told = json.loads(files["supervisor.json"])["pixel_regions"]
    expected = {**rule, "sop_class": "1.2.840.10008.5.1.4.1.1.6.1"}
    del expected["action"]
    assert told == [expected]
    script, alone = files["orthanc.anonymizer.script"], ctp_config.rules(given)
    for text, holds_all in ((script, False), (alone["anonymizer.script"], True)):
        assert "113101" in text
        assert ("PIXELS_ENCODED" not in text) == holds_all
    plain = ctp_config.files(settings(ctp_pixel_rules=[{**given["ctp_pixel_rules"][1]}]))
    assert "113101" not in plain["orthanc.anonymizer.script"]
    assert json.loads(plain["supervisor.json"])["pixel_regions"] == []


@pytest.mark.parametrize(
    "name",
    [
        *("", " Darm", "Darm ", "a  b", "D" * 65, 12, None, ["Darm"], "Darm\n", "Darm\\Doe"),
        *("Doe^Jane", "Doe, Jane", "Doe=Jane", "jane@example.org", "Heart:1", "PTV;1", "12 (3)"),
        *("Heart_12345", "Darm 1.2.65", "PTV_02-01-1950", "1950 01 02 x", "a1b2c3d4e5f6g7"),
        *("Bolus Dr Mayer", "Frau Doe", "ROI 3", "roi", "ROI_12", "Darm\u200b", "Ko\u0308rper"),
        *("PTV \uff10\uff12.\uff10\uff11", "Darm\u0661"),
    ],
)
def test_a_name_that_a_site_may_not_list(name: Any) -> None:
    (problem,) = ctp_config.problems(
        settings(ctp_deidentification={"roi_names": "listed", "site_roi_names": [name]})
    )
    assert f"site_roi_names contains {name!r}. Accepted: " in problem


def test_names_that_a_site_may_list_are_in_its_script_alone() -> None:
    names = ["Dünndarm", "Hot spot", "95% (iso)", "PTV+5", "Rektum", "L. Niere [neu]"]
    own = {"roi_names": "listed", "site_roi_names": names}
    pipelines = [
        {"name": "a", "called_aets": ["A"], "deidentification": own},
        {"name": "b", "called_aets": ["B"]},
        {"name": "c", "called_aets": ["C"], "deidentification": {"roi_names": "kept"}},
    ]
    files = ctp_config.files(settings(ctp_pipelines=pipelines))
    assert ["Rektum" in files[f"{each}.anonymizer.script"] for each in "abc"] == [
        True,
        False,
        False,
    ]
    kept = "ROI names as they came"
    for kind in ("anonymizer", "filter"):
        assert [kept in files[f"{each}.{kind}.script"] for each in "abc"] == [False, False, True]
    # Docker takes no more in one config.
    assert max(map(len, files.values())) < 500 * 1024
    most = {"roi_names": "listed", "site_roi_names": [f"Ä{'x' * 59} {n}" for n in range(1000)]}
    files = ctp_config.files(settings(ctp_deidentification={**most, "preset": "radiotherapy"}))
    assert max(len(text.encode()) for text in files.values()) < 500 * 1024
    # Each for itself is accepted; together they are more than that.
    rule = {"manufacturer": "M" * 62, "action": "clean", "rows": 600, "columns": 800}
    rules = [{**rule, "model": f"{'m' * 60}{number}"} for number in range(100)]
    much = settings(
        ctp_deidentification={**most, "preset": "radiotherapy"},
        ctp_pixel_rules=rules,
        ctp_descriptor_words=[f"{'w' * 30}{chr(97 + n % 26)}" for n in range(500)],
    )
    with pytest.raises(
        ctp_config.CtpConfigurationError, match=r"ctp_pixel_rules has 100 entries.*"
    ) as raised:
        ctp_config.files(much)
    assert "Accepted: 512000" in str(raised.value)


def test_orthanc_and_keydb_over_tls() -> None:
    changed = settings(
        ctp_keydb_tls_name="kv01",
        ctp_orthanc_tls_names=["cv01", "10.20.1.20"],
        ctp_tls_trusted="/etc/auscat/tls/ca.pem",
        ctp_pipelines=[
            {"name": "orthanc", "called_aets": ["CTP"]},
            {"name": "other", "called_aets": ["OTHER"], "export": {"host": "192.0.2.9"}},
        ],
    )
    found = ctp_config.supervisor(changed)
    assert found["keydb"]["tls_name"] == "kv01"
    assert found["trusted"] == "/etc/auscat/tls/ca.pem"
    ours, other = (each["export"]["tls_names"] for each in found["pipelines"])
    assert ours == ["cv01", "10.20.1.20"]
    assert other == [], "somebody else's receiver is no Orthanc of this node"


@pytest.mark.parametrize("mode", ["accepted", "required"])
def test_tls_at_the_gate(mode: str) -> None:
    assert ctp_config.dicom_tls(mode, ["PACS"], "rsna", "own_ca") == mode
    assert ctp_config.dicom_tls("none", [], "standin", "none") == "none"
    for arguments, expected in (
        (("none", ["PACS"], "rsna", "own_ca"), "ctp_dicom_tls_required_for is"),
        ((mode, [], "standin", "own_ca"), "ctp_flavour is standin"),
        ((mode, [], "rsna", "none"), "auscat_tls is none"),
    ):
        with pytest.raises(ctp_config.CtpConfigurationError, match=expected):
            ctp_config.dicom_tls(*arguments)
