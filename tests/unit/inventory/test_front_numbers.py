"""What the inventory may say of wrong logins at the web server."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).parents[3] / "roles/front"
NUMBERS = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__front_numbers"]


def logins(value: object) -> int:
    templar = Templar(loader=None, variables={"front_wrong_logins": value})
    return int(templar.template(trust_as_template(NUMBERS["logins"])))


@pytest.mark.parametrize("value", [3, "10", 1000])
def test_wrong_logins_that_are_accepted(value: object) -> None:
    assert logins(value) == int(str(value))


@pytest.mark.parametrize("value", [0, 1, 2, 1001, "many"])
def test_so_few_that_the_proof_would_shut_the_node_out_are_refused(value: object) -> None:
    """It tries a wrong login at each page, with the user that the node's programs have."""
    with pytest.raises(AnsibleError, match="Accepted: 3 to 1000"):
        logins(value)
