"""Races: values that depend on time. A program is run with timings drawn from seeds, and what it computes is compared.

What a Kahn network computes is the same whatever the timing (design section 2.3). Data tasks on several colors and threads that touch the
same memory can be otherwise: that shows as a difference, if the timings drawn bring it out. No difference is no proof: what is drawn is how
late each operation starts; hops, ramps and arbitration keep to the rules, and what the host feeds comes as `drive` feeds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from wse.errors import TimeDependentError
from wse.isa import SENDS, Col, Kind, Operand, Type
from wse.machine import Machine
from wse.program import NUMPY_TYPE, Program
from wse.sanitize import Sanitizer


def check_timing(program: Program, drive: Callable[[Machine], None], seeds: Iterable[int] = (1, 2, 3)) -> None:
    """Run `program` with its own timing and with one from each of `seeds` (not 0); `drive` feeds and runs a machine.

    Compared are the values at host outputs, as many as came in both runs, and, where all programs have ended, every array. Raises
    `TimeDependentError` with the first that differs, and what `drive` raises.
    """
    plain = Machine(program, sanitize=Sanitizer())
    drive(plain)
    for seed in seeds:
        other = Machine(program, sanitize=Sanitizer(seed))
        drive(other)
        _compare(plain, other, f"with timing seed {seed}")


def _compare(plain: Machine, other: Machine, how: str) -> None:
    program = plain.program
    ends = f"the runs ended in cycles {plain.cycles} and {other.cycles}"
    for port in program.host_out:
        mine, theirs = (machine.output(port.name, Type.I32)[0].view(np.uint32) for machine in (plain, other))
        num = min(len(mine), len(theirs))
        for i in np.flatnonzero(mine[:num] != theirs[:num])[:1]:
            raise TimeDependentError(
                f"value {i} at output '{port.name}' of PE {program.where(port.pe)} depends on time: "
                f"{mine[i]:#010x}, {how} {theirs[i]:#010x}",
                notes=[*_lines(program, None, port.color), ends],
            )
    if not (plain.has_ended and other.has_ended):
        return
    for k, pe in enumerate(program.core_pe):
        cls = program.classes[program.core_class[k]]
        for symbol in cls.symbols.values():
            raw = [machine.read(*program.xy(pe), symbol.name).reshape(-1) for machine in (plain, other)]
            bits = [np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1) for values in raw]
            for i in np.flatnonzero((bits[0] != bits[1]).any(axis=1))[:1]:
                index = ", ".join(str(n) for n in np.unravel_index(i, symbol.shape))
                size = np.dtype(NUMPY_TYPE[symbol.type]).itemsize
                raise TimeDependentError(
                    f"array '{symbol.name}'[{index}] of PE {program.where(pe)} depends on time: {raw[0][i]}, {how} {raw[1][i]}",
                    notes=[*_lines(program, (symbol.address, symbol.address + symbol.num_elements * size), -1), ends],
                )


def _lines(program: Program, addresses: tuple[int, int] | None, color: int) -> list[str]:
    """The source lines whose instructions write to these byte addresses, or send this color."""
    kinds, base = program.code[:, Col.D + Operand.KIND], program.code[:, Col.D + Operand.BASE]
    if addresses is None:
        rows = np.isin(kinds, list(SENDS)) & (base == color)
    else:
        rows = (kinds == Kind.MEM) & (base >= addresses[0]) & (base < addresses[1])
    lines = sorted({program.source_lines[line] for line in program.code[rows, Col.LINE]})
    what = f"sends color {color}" if addresses is None else "may write it"
    return [f"{what}: {line}" for line in lines[:8]]
