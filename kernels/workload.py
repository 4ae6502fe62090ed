"""Workload: a published number, the programs that measure it here, and what is known of the difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from wse.machine import Machine
from wse.program import Program
from wse.spec import MachineSpec, load_spec


@dataclass(frozen=True)
class Workload:
    """One published number, for preset `arch` with `settings` on top.

    `programs` builds what is run; `value` turns the machines that ran into `unit`. `is_long`: minutes, or gigabytes, on a host; then
    `predict` may say in seconds what `value` would be. `role`: whether the number set a constant of the preset ("calibrates") or tests
    the machine ("validates").
    """

    name: str
    arch: str
    published: float
    unit: str
    source: str
    role: Literal["calibrates", "validates"]
    programs: Callable[[MachineSpec], list[Program]]
    value: Callable[[list[Machine]], float] = lambda machines: float(machines[0].cycles)
    differs: str = ""
    settings: dict[str, int] = field(default_factory=dict)
    is_long: bool = False
    predict: Callable[[MachineSpec], float] | None = None

    @property
    def spec(self) -> MachineSpec:
        """The machine it was published for."""
        return load_spec(self.arch, **self.settings)

    def run(self) -> list[Machine]:
        """The machines after the programs have run to their ends, for `value`. Raises their errors."""
        machines = []
        for program in self.programs(self.spec):
            machine = Machine(program)
            machine.check(machine.run())
            machines.append(machine)
        return machines
