"""Checks of a linked program before it runs: routes, host ports, defects, code. Errors name the PE, the color and the source line."""

from __future__ import annotations

import numpy as np

from wse.defects import Defects
from wse.errors import ProgramError
from wse.isa import OPPOSITE, PORT_STEP, Col, Port
from wse.program import NO_ROUTE, OFF_MESH, Program
from wse.proof import find_hangs
from wse.verify_code import verify_code


def verify(program: Program, *, refuse_hangs: bool = True) -> None:
    """Raise `ProgramError` for the first rule of the machine that `program` breaks, or (`refuse_hangs`) for a hang that can be proved."""
    _verify_routes(program)
    if program.defects is not None:
        _verify_defects(program, program.defects)
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
    inputs = {(port.pe, port.color, port.port) for port in program.host_in}
    outputs = {(port.pe, port.color, port.port) for port in program.host_out}
    for ports, found, what in ((program.host_in, rx, "rx"), (program.host_out, tx, "tx")):
        for end in ports:
            channel = int(program.channels_at(np.array(end.pe), end.color))
            if channel == NO_ROUTE or not found[channel] >> end.port & 1:
                where = f"{what} {end.port.name} at PE {program.where(end.pe)}"
                raise ProgramError(
                    f"host port '{end.name}': color {end.color} has no {where}",
                    notes=[program.source_lines[end.line]],
                    help=f"route color {end.color} there with {what} {end.port.name}",
                )
    for port in PORT_STEP:
        for selected, what in ((tx >> port & 1 == 1, "tx"), (rx >> port & 1 == 1, "rx")):
            at = np.flatnonzero(selected)
            there = program.across(at, port)
            for i in at[there == OFF_MESH]:
                if (int(pe[i]), int(color[i]), port) not in (outputs if what == "tx" else inputs):
                    raise ProgramError(
                        f"color {color[i]} {what} {port.name} at PE {program.where(pe[i])} leads off the mesh",
                        notes=[program.source_lines[program.channel_line[i]]],
                        help="declare a host port there with input() or output()",
                    )
            at, there = at[there != OFF_MESH], there[there != OFF_MESH]
            good = (there != NO_ROUTE) & ((rx if what == "tx" else tx)[there] >> OPPOSITE[port] & 1 == 1)
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


def _verify_defects(program: Program, defects: Defects) -> None:
    """Nothing runs on a dead PE, what passes one goes straight on, and nothing crosses what is closed; see `wse/defects.py`."""
    dead, closed = defects.dead.ravel(), defects.closed.reshape(-1, 4)
    for at in np.flatnonzero(dead[program.core_pe])[:1]:
        entries = program.classes[program.core_class[at]].task_entry
        line = next((program.code[entry, Col.LINE] for entry in entries if entry >= 0), 0)
        raise ProgramError(f"PE {program.where(program.core_pe[at])} is dead and cannot run code", notes=[program.source_lines[line]],
                           help=_AROUND)  # fmt: skip
    for end in (*program.host_in, *program.host_out):
        if dead[end.pe] or closed[end.pe, end.port]:
            raise ProgramError(f"host port '{end.name}' of color {end.color} is at PE {program.where(end.pe)}, which is dead there",
                               help="put host ports at PEs that work")  # fmt: skip
    pe, color = program.channel_pe, program.channel_color
    rx, tx = program.channel_ports()
    straight = np.zeros(len(pe), bool)
    for port in PORT_STEP:
        straight |= (rx == 1 << port) & (tx == 1 << OPPOSITE[port])
    crossing = np.zeros(len(pe), bool)
    for port in PORT_STEP:
        crossing |= ((rx | tx) >> port & 1 == 1) & closed[pe, port]
    for bad, what in ((dead[pe] & ~straight, "is dead and passes wavelets only straight on"), (crossing, "has a dead link there")):
        if bad.any():
            i = np.argmax(bad)
            ports = [" and ".join(port.name for port in Port if int(mask[i]) >> port & 1) for mask in (rx, tx)]
            raise ProgramError(
                f"color {color[i]} goes from {ports[0]} to {ports[1]} at PE {program.where(pe[i])}, which {what}",
                notes=[program.source_lines[program.channel_line[i]]],
                help=_AROUND,
            )


_AROUND = "skip its row or column with a frame, or place and route around it"
