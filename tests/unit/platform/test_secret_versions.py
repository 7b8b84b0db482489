from __future__ import annotations

from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils import secret_versions as s


def inspected(*versions: s.SecretVersion, stack: str = "auscat") -> list[dict[str, Any]]:
    return [
        {
            "Spec": {
                "Name": version.swarm_name,
                "Labels": {
                    s.LABEL_STACK: stack,
                    s.LABEL_NAME: version.name,
                    s.LABEL_VERSION: str(version.version),
                    s.LABEL_DIGEST: version.digest,
                },
            }
        }
        for version in versions
    ]


def test_a_digest_knows_its_value_and_no_other() -> None:
    digest = s.digest_of("correct horse")
    assert s.carries(digest, "correct horse")
    assert not s.carries(digest, "correct Horse")
    assert not s.carries("sha256$x$y", "correct horse")


def test_equal_values_have_unequal_digests() -> None:
    assert s.digest_of("same") != s.digest_of("same")


def test_versions_count_upwards_and_an_unchanged_value_makes_none() -> None:
    first, is_new = s.next_version([], "auscat", "keydb_pass", "one")
    assert (first.swarm_name, is_new) == ("auscat_keydb_pass_v1", True)
    same, is_new = s.next_version([first], "auscat", "keydb_pass", "one")
    assert (same, is_new) == (first, False)
    second, is_new = s.next_version([first], "auscat", "keydb_pass", "two")
    assert (second.swarm_name, is_new) == ("auscat_keydb_pass_v2", True)
    third, is_new = s.next_version([first, second], "auscat", "keydb_pass", "one")
    assert (third.swarm_name, is_new) == ("auscat_keydb_pass_v3", True)


def test_versions_sort_by_number_and_other_stacks_are_not_ours() -> None:
    versions = [s.SecretVersion(f"a_x_v{number}", "x", number, "d") for number in (10, 9, 2)]
    read = s.versions_of(inspected(*versions), "auscat")
    assert [version.version for version in read] == [2, 9, 10]
    assert s.versions_of(inspected(*versions, stack="other"), "auscat") == []
