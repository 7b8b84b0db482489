"""What a run tests, and what it says of that in its first and last lines."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from . import scenarios
from .distribution import Distribution
from .scenarios import LONG, STOCK_CTP, USUAL


@dataclass(frozen=True)
class Request:
    """What the command line asks for: see tools/test.sh --help."""

    every: bool = False
    ci: bool = False
    #: Paths that have changed; None: everything runs.
    changed: Collection[str] | None = None
    since: str = ""
    named: tuple[str, ...] = ()


@dataclass
class Plan:
    """What a run tests."""

    stock: Distribution
    #: OHIF's build, which the scenario clients shows in a browser.
    viewer: Distribution | None = None
    scenarios: list[str] = field(default_factory=list)
    style: bool = True
    units: bool = True
    #: The long scenario whose turn it is.
    turn: str = ""
    #: Scenarios and steps that do not run, with the reason.
    left_out: dict[str, str] = field(default_factory=dict)
    #: What the run is limited to, for its first and last lines.
    limit: str = ""

    def facts(self, passed: Collection[str] | None = None) -> list[str]:
        """Say what is tested, or what was.

        Args:
            passed: the scenarios that ran to their end; None before the run.
        """
        tense = "is" if passed is None else "was"
        tested = [name for name in self.scenarios if passed is None or name in passed]
        lines = [self.limit] if self.limit else []
        lines.append(self._stock(tense, tested))
        if self.viewer and self.viewer.path and "clients" in tested:
            lines.append(f"The viewer {tense} tested: {self.viewer.path} (scenario clients).")
        elif self.viewer:
            why = "scenario clients did not run to its end"
            if "clients" not in self.scenarios:
                why = "scenario clients is not part of this run"
            why = why if self.viewer.path else self.viewer.where
            lines.append(f"The viewer {tense} NOT tested: {why} (molecule/README.md).")
        long = [name for name in tested if name in LONG]
        missing = [name for name in LONG if name not in long]
        turn = f" ({self.turn} in turn: it ran longest ago)" if self.turn in long else ""
        if long:
            lines.append(f"Long scenarios tested: {', '.join(long)}{turn}.")
        if missing:
            lines.append(f"Long scenarios NOT tested: {', '.join(missing)} (make test-all).")
        lines += [f"Left out: {name}: {why}." for name, why in self.left_out.items()]
        return lines

    def _stock(self, tense: str, tested: list[str]) -> str:
        used = ", ".join(name for name in STOCK_CTP if name in tested)
        if self.stock.path and used:
            where = f"{self.stock.path}, {self.stock.where}"
            return f"Stock CTP {tense} tested: {where} (scenario {used})."
        why = self.stock.where
        if self.stock.path:
            planned = any(name in self.scenarios for name in STOCK_CTP)
            did = "did not run to its end" if planned else "is not part of this run"
            why = f"scenario {', '.join(STOCK_CTP)} {did}"
        return f"Stock CTP {tense} NOT tested: {why} (docs/ctp.md)."


def make(request: Request, stock: Distribution, turn: Callable[[], str]) -> Plan:
    """Choose the scenarios of a run.

    Args:
        request: what is asked for.
        stock: where stock CTP is.
        turn: gives the long scenario whose turn it is; called in CI only.
    """
    plan = Plan(stock)
    wanted = [*USUAL, *(STOCK_CTP if stock.path else ()), *(LONG if request.every else ())]
    if request.named:
        plan.scenarios = [name for name in scenarios.PLACED if name in request.named]
        plan.style = plan.units = False
        plan.limit = f"Only the scenarios that were named: {', '.join(plan.scenarios)}."
    elif request.changed is not None:
        selection = scenarios.select(request.changed, request.every)
        if not stock.path:
            for name in STOCK_CTP:
                if selection.scenarios.pop(name, None):
                    selection.left_out[name] = stock.where
        plan.scenarios = [name for name in scenarios.PLACED if name in selection.scenarios]
        plan.style = bool(request.changed)
        plan.units = bool(selection.units)
        plan.left_out = {f"scenario {name}": why for name, why in selection.left_out.items()}
        if not plan.style:
            plan.left_out["style and types"] = "nothing has changed"
        if not plan.units:
            plan.left_out["unit tests"] = "nothing that they test has changed"
        plan.limit = (
            f"Only what the change of {len(request.changed)} files since {request.since[:12]} "
            "needs: "
            + (
                ", ".join(f"{n} ({selection.scenarios[n]})" for n in plan.scenarios)
                or "no scenario"
            )
            + "."
        )
    else:
        plan.scenarios = wanted
    if request.ci and not request.every and not request.named:
        plan.turn = turn()
        if plan.turn not in plan.scenarios:
            plan.scenarios.append(plan.turn)
            plan.left_out.pop(f"scenario {plan.turn}", None)
    return plan
