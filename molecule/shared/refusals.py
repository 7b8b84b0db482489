"""Bad input that site.yml refuses. Many cases to a run, since it reports all problems together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from shared.machines import Outcome


@dataclass(frozen=True)
class Case:
    """Bad input, and what the error must say.

    Attributes:
        name: of the case, for the reader.
        variables: win over the inventory. Cases with the same ones share a run in any case.
        says: regular expressions; one problem of those that are reported holds all of them.
        never_says: texts that stand nowhere in what the run prints.
        alone: whether it has a run of its own, because it keeps other problems from being found.
        apart: variables of others beside which it would be no problem, or another one.
    """

    name: str
    variables: dict[str, Any]
    says: Sequence[str]
    never_says: Sequence[str] = ()
    alone: bool = False
    apart: Sequence[str] = ()


@dataclass
class Run:
    """One run for several cases."""

    cases: list[Case] = field(default_factory=list)
    outcome: Outcome | None = None

    def takes(self, case: Case) -> bool:
        """Tell whether a case can join."""
        if any(each.variables == case.variables for each in self.cases):
            return True
        taken = {name for each in self.cases for name in each.variables}
        shunned = {name for each in self.cases for name in each.apart}
        alone = case.alone or any(each.alone for each in self.cases)
        clash = taken & {*case.variables, *case.apart} or shunned & case.variables.keys()
        return not alone and not clash


def shared_out(cases: Sequence[Case]) -> list[Run]:
    """Share cases out to as few runs as a simple rule finds: the first that can take it does."""
    runs: list[Run] = []
    for case in cases:
        run = next((run for run in runs if run.takes(case)), None)
        if run is None:
            run = Run()
            runs.append(run)
        run.cases.append(case)
    return runs


class Refusals:
    """The runs of a list of cases, made when the first of them is asked for, some side by side."""

    def __init__(
        self,
        cases: Sequence[Case],
        play: Callable[[dict[str, Any]], Outcome],
        look: Callable[[], Any],
    ) -> None:
        """Take the cases, a run with extra variables, and what no run may change."""
        self._runs = shared_out(cases)
        self._play = play
        self._look = look

    @cached_property
    def _seen(self) -> tuple[Any, Any]:
        """Make all runs; what the machines were before and after them."""

        def make(run: Run) -> None:
            variables = {name: v for each in run.cases for name, v in each.variables.items()}
            run.outcome = self._play(variables)

        before = self._look()
        # A run that is refused waits for the machine more than it works.
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(make, self._runs))
        return before, self._look()

    def beside(self, case: Case) -> list[Case]:
        """Give the cases that share a run with a case, and the case itself."""
        return next(run.cases for run in self._runs if case in run.cases)

    def check(self, case: Case) -> Outcome:
        """Assert that a case was refused, with its reason, and that nothing was changed."""
        before, after = self._seen
        run = next(run for run in self._runs if case in run.cases)
        outcome = run.outcome
        assert outcome is not None
        assert outcome.returncode != 0, "the bad input was accepted"
        listed = problems(outcome)
        assert [each for each in listed if all(re.search(text, each) for text in case.says)], (
            f"no problem says all of {list(case.says)}: {listed or outcome.errors}"
        )
        # Else one case would stand for another.
        assert len(listed) >= len(run.cases), listed
        for text in case.never_says:
            assert text not in outcome.text
        assert "Traceback" not in outcome.text
        assert outcome.changed_tasks == []
        assert after == before
        return outcome


def problems(outcome: Outcome) -> list[str]:
    """Give the problems of all machines, each once and in one line; else what a run failed of."""
    found: dict[str, None] = {}
    for _, result in outcome.results:
        if result.get("failed"):
            message = str(result.get("msg", ""))
            _, *listed = re.split(r"^- ", message, flags=re.MULTILINE)
            for each in listed or [message]:
                found[" ".join(each.split())] = None
    return list(found)
