"""Checks of a linked program before it runs: routes, host ports, then its code. Errors name the PE, the color and the source line."""

from __future__ import annotations

import numpy as np

from wse.errors import ProgramError
from wse.isa import OPPOSITE, PORT_STEP
from wse.program import Program
from wse.proof import find_hangs
from wse.verify_code import verify_code


def verify(program: Program, *, refuse_hangs: bool = True) -> None:
    """Raise `ProgramError` for the first rule of the machine that `program` breaks, or (`refuse_hangs`) for a hang that can be proved."""
    _verify_routes(program)
    verify_code(program)
    if refuse_hangs:
        for finding in find_hangs(program):
            if finding.proven:
                raise finding.error()


def suspicions(program: Program) -> list[str]:
    """What looks wrong with a verified program but need not be: one line each, for people who ask."""
    return [f"{finding.message} ({'; '.join(finding.notes)})" for finding in find_hangs(program) if not finding.proven]


def _verify_routes(program: Program) -> None:
    """Every tx port (of any position) meets the opposite rx port of a neighbour, every rx port a tx port, edges only host ports."""
    pe, color = program.channel_pe, program.channel_color
    rx, tx = program.channel_ports()
    num_colors = program.spec.num_colors
    key = pe * num_colors + color
    inputs = {(port.pe, port.color, port.port) for port in program.host_in}
    outputs = {(port.pe, port.color, port.port) for port in program.host_out}
    for ports, found, what in ((program.host_in, rx, "rx"), (program.host_out, tx, "tx")):
        for end in ports:
            at = np.flatnonzero(key == end.pe * num_colors + end.color)
            if not len(at) or not found[at[0]] >> end.port & 1:
                where = f"{what} {end.port.name} at PE {program.where(end.pe)}"
                raise ProgramError(
                    f"host port '{end.name}': color {end.color} has no {where}",
                    notes=[program.source_lines[end.line]],
                    help=f"route color {end.color} there with {what} {end.port.name}",
                )
    for port, (dx, dy) in PORT_STEP.items():
        for selected, what in ((tx >> port & 1 == 1, "tx"), (rx >> port & 1 == 1, "rx")):
            at = np.flatnonzero(selected)
            x, y = pe[at] % program.width + dx, pe[at] // program.width + dy
            inside = (x >= 0) & (x < program.width) & (y >= 0) & (y < program.height)
            for i in at[~inside]:
                if (int(pe[i]), int(color[i]), port) not in (outputs if what == "tx" else inputs):
                    raise ProgramError(
                        f"color {color[i]} {what} {port.name} at PE {program.where(pe[i])} leads off the mesh",
                        notes=[program.source_lines[program.channel_line[i]]],
                        help="declare a host port there with input() or output()",
                    )
            at, x, y = at[inside], x[inside], y[inside]
            there = (y * program.width + x) * num_colors + color[at]
            other = np.minimum(np.searchsorted(key, there), len(key) - 1)
            good = key[other] == there
            good &= (rx if what == "tx" else tx)[other] >> OPPOSITE[port] & 1 == 1
            if not good.all():
                i = at[np.argmin(good)]
                want = "takes it in from there" if what == "tx" else "sends it there"
                where = f"{what} {port.name} at PE {program.where(pe[i])}"
                side = "rx" if what == "tx" else "tx"
                raise ProgramError(
                    f"color {color[i]} has {where}, but the neighbour there has no route that {want}",
                    notes=[program.source_lines[program.channel_line[i]]],
                    help=f"route color {color[i]} with {side} {OPPOSITE[port].name} on that neighbour",
                )
