"""Checks of a linked program before it runs: routes, queues, descriptors. Errors name the PE, the color and the source line."""

from __future__ import annotations

import numpy as np

from wse.errors import ProgramError
from wse.isa import OPPOSITE, PORT_STEP, Col, Done, Kind, Op, Operand, Port
from wse.program import Program


def verify(program: Program) -> None:
    """Raise `ProgramError` for the first rule of the machine that `program` breaks."""
    _verify_host_ports(program)
    _verify_routes(program)
    _verify_code(program)


def _verify_host_ports(program: Program) -> None:
    for what, ports in (("input", program.host_in), ("output", program.host_out)):
        names = [port.name for port in ports]
        for port in ports:
            x, y = program.xy(port.pe)
            if names.count(port.name) > 1:
                raise ProgramError(f"two host {what}s are named '{port.name}'")
            if port.port == Port.RAMP or _inside(program, x, y, port.port):
                raise ProgramError(f"host {what} '{port.name}' at PE ({x},{y}) port {port.port.name} does not lead off the mesh")


def _inside(program: Program, x: int, y: int, port: Port) -> bool:
    dx, dy = PORT_STEP[port]
    return 0 <= x + dx < program.width and 0 <= y + dy < program.height


def _verify_routes(program: Program) -> None:
    """Every tx port meets the opposite rx port of a neighbour, every rx port a tx port, edges only host ports."""
    pe, color, rx, tx = program.channel_pe, program.channel_color, program.channel_rx, program.channel_tx
    num_colors = program.spec.num_colors
    key = pe * num_colors + color
    inputs = {(port.pe, port.color, port.port) for port in program.host_in}
    outputs = {(port.pe, port.color, port.port) for port in program.host_out}
    for ports, found, what in ((program.host_in, rx, "rx"), (program.host_out, tx, "tx")):
        for end in ports:
            at = np.flatnonzero(key == end.pe * num_colors + end.color)
            there = len(at) and (found[at[0]] == end.port if what == "rx" else found[at[0]] >> end.port & 1)
            if not there:
                where = f"{what} {end.port.name} at PE {_xy(program, end.pe)}"
                raise ProgramError(f"host port '{end.name}': color {end.color} has no {where}")
    for port, (dx, dy) in PORT_STEP.items():
        for selected, what in ((tx >> port & 1 == 1, "tx"), (rx == port, "rx")):
            at = np.flatnonzero(selected)
            x, y = pe[at] % program.width + dx, pe[at] // program.width + dy
            inside = (x >= 0) & (x < program.width) & (y >= 0) & (y < program.height)
            for i in at[~inside]:
                if (int(pe[i]), int(color[i]), port) not in (outputs if what == "tx" else inputs):
                    raise ProgramError(
                        f"color {color[i]} {what} {port.name} at PE {_xy(program, pe[i])} leads off the mesh",
                        help="declare a host port there with input() or output()",
                    )
            at, x, y = at[inside], x[inside], y[inside]
            there = (y * program.width + x) * num_colors + color[at]
            other = np.minimum(np.searchsorted(key, there), len(key) - 1)
            good = key[other] == there
            good &= (rx[other] == OPPOSITE[port]) if what == "tx" else (tx[other] >> OPPOSITE[port] & 1 == 1)
            if not good.all():
                i = at[np.argmin(good)]
                want = "takes it in from there" if what == "tx" else "sends it there"
                where = f"{what} {port.name} at PE {_xy(program, pe[i])}"
                raise ProgramError(f"color {color[i]} has {where}, but the neighbour there has no route that {want}")


def _verify_code(program: Program) -> None:
    """Every color an instruction sends or receives has a route with the ramp on the right side; every ramp has a core."""
    num_colors = program.spec.num_colors
    key = program.channel_pe * num_colors + program.channel_color
    has_core = np.zeros(program.width * program.height, bool)
    has_core[program.core_pe] = True
    for ramp in (program.channel_rx == Port.RAMP, program.channel_tx >> Port.RAMP & 1 == 1):
        lost = program.channel_pe[ramp & ~has_core[program.channel_pe]]
        if len(lost):
            color = program.channel_color[ramp][np.argmax(program.channel_pe[ramp] == lost[0])]
            raise ProgramError(f"color {color} uses the ramp of PE {_xy(program, lost[0])}, which has no code")
    for index, cls in enumerate(program.classes):
        members = program.core_pe[program.core_class == index]
        seen: set[tuple[Kind, int]] = set()
        for row in _rows(program, cls.task_entry):
            task = int(row[Col.TASK])
            activates = row[Col.OP] == Op.ACTIVATE or row[Col.DONE] == Done.ACTIVATE
            if activates and (task >= len(cls.task_entry) or cls.task_entry[task] < 0):
                line = program.source_lines[row[Col.LINE]]
                raise ProgramError(f"PE {_xy(program, members[0])} activates task {task}, which has no code there", notes=[line])
            for operand in (Col.D, Col.A, Col.B):
                kind, base = Kind(row[operand + Operand.KIND]), int(row[operand + Operand.BASE])
                if kind < Kind.FABRIC_IN or (kind, base) in seen:
                    continue
                seen.add((kind, base))
                where = np.minimum(np.searchsorted(key, members * num_colors + base), max(len(key) - 1, 0))
                if len(key):
                    good = key[where] == members * num_colors + base
                    out = kind == Kind.FABRIC_OUT
                    good &= program.channel_rx[where] == Port.RAMP if out else program.channel_tx[where] >> Port.RAMP & 1 == 1
                else:
                    good = np.zeros(len(members), bool)
                if not good.all():
                    verb = "sends" if kind == Kind.FABRIC_OUT else "receives"
                    raise ProgramError(
                        f"PE {_xy(program, members[np.argmin(good)])} {verb} color {base}, which has no such route there",
                        notes=[program.source_lines[row[Col.LINE]]],
                        help=f"route color {base} with {'rx' if kind == Kind.FABRIC_OUT else 'tx'} RAMP on this PE",
                    )


def _rows(program: Program, entries: tuple[int, ...]) -> list[np.ndarray]:
    """All instructions of a class's tasks."""
    rows = []
    for entry in entries:
        while entry >= 0 and program.code[entry, Col.OP] != Op.END:
            rows.append(program.code[entry])
            entry += 1
    return rows


def _xy(program: Program, pe: int) -> str:
    x, y = program.xy(pe)
    return f"({x},{y})"

