from __future__ import annotations

from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.stack import secret_versions as s


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


def test_what_runs_is_no_new_version_though_another_attempt_made_a_newer_one() -> None:
    ran = s.SecretVersion("auscat_x_v1", "x", 1, s.digest_of("ran"))
    failed = s.SecretVersion("auscat_x_v2", "x", 2, s.digest_of("failed"))
    used = {"auscat_x_v1", "auscat_other_v2"}
    assert s.next_version([ran, failed], "auscat", "x", "ran", used) == (ran, False)
    # The failed one once more: its version is there.
    assert s.next_version([ran, failed], "auscat", "x", "failed", used) == (failed, False)
    third, is_new = s.next_version([ran, failed], "auscat", "x", "third", used)
    assert (third.swarm_name, is_new) == ("auscat_x_v3", True)


def test_an_interrupted_rotation_goes_on_with_the_version_that_it_made() -> None:
    old = s.SecretVersion("auscat_x_v1", "x", 1, s.digest_of("old"))
    new = s.SecretVersion("auscat_x_v2", "x", 2, s.digest_of("new"))
    # Nobody uses the new one yet; some services do; all do.
    for used in ({"auscat_x_v1"}, {"auscat_x_v1", "auscat_x_v2"}, {"auscat_x_v2"}):
        assert s.next_version([old, new], "auscat", "x", "new", used) == (new, False)
    # A value that nothing uses any more is superseded, and its version may be removed any time.
    again, is_new = s.next_version([old, new], "auscat", "x", "old", {"auscat_x_v2"})
    assert (again.swarm_name, is_new) == ("auscat_x_v3", True)


def test_of_two_versions_with_one_value_the_newer_counts() -> None:
    first, third = (
        s.SecretVersion(f"auscat_x_v{number}", "x", number, s.digest_of("same"))
        for number in (1, 3)
    )
    second = s.SecretVersion("auscat_x_v2", "x", 2, s.digest_of("other"))
    versions, used = [first, second, third], {"auscat_x_v1"}
    assert s.next_version(versions, "auscat", "x", "same", used) == (third, False)


def test_versions_sort_by_number_and_other_stacks_are_not_ours() -> None:
    versions = [s.SecretVersion(f"a_x_v{number}", "x", number, "d") for number in (10, 9, 2)]
    read = s.versions_of(inspected(*versions), "auscat")
    assert [version.version for version in read] == [2, 9, 10]
    assert s.versions_of(inspected(*versions, stack="other"), "auscat") == []
