"""Checks of a linked program before it runs: routes, queues, descriptors. Errors name the PE, the color and the source line."""

from __future__ import annotations

import numpy as np

from wse.errors import ProgramError
from wse.isa import OPPOSITE, PORT_STEP, RECEIVES, SENDS, Col, Done, Kind, Op, Operand, Port
from wse.program import Binding, CodeClass, Program, class_rows


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
                where = f"{what} {end.port.name} at PE {_xy(program, end.pe)}"
                raise ProgramError(f"host port '{end.name}': color {end.color} has no {where}")
    for port, (dx, dy) in PORT_STEP.items():
        for selected, what in ((tx >> port & 1 == 1, "tx"), (rx >> port & 1 == 1, "rx")):
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
            good &= (rx if what == "tx" else tx)[other] >> OPPOSITE[port] & 1 == 1
            if not good.all():
                i = at[np.argmin(good)]
                want = "takes it in from there" if what == "tx" else "sends it there"
                where = f"{what} {port.name} at PE {_xy(program, pe[i])}"
                raise ProgramError(f"color {color[i]} has {where}, but the neighbour there has no route that {want}")


def _verify_code(program: Program) -> None:
    """Every color an instruction sends or receives has a route with the ramp on the right side; every ramp has a core."""
    from_ramp, to_ramp = (ports >> Port.RAMP & 1 == 1 for ports in program.channel_ports())
    has_core = np.zeros(program.width * program.height, bool)
    has_core[program.core_pe] = True
    for ramp in (from_ramp, to_ramp):
        lost = program.channel_pe[ramp & ~has_core[program.channel_pe]]
        if len(lost):
            color = program.channel_color[ramp][np.argmax(program.channel_pe[ramp] == lost[0])]
            raise ProgramError(f"color {color} uses the ramp of PE {_xy(program, lost[0])}, which has no code")
    for index, cls in enumerate(program.classes):
        members = program.core_pe[program.core_class == index]
        _verify_bindings(program, cls, members)
        for fifo in cls.fifos:
            for task in {fifo.on_push, fifo.on_pop} - {-1}:
                _verify_activation(program, cls, members, task, program.source_lines[fifo.line])
        seen: set[tuple[Kind, int]] = set()
        for row in program.code[class_rows(program.code, cls.task_entry)]:
            task = int(row[Col.TASK])
            activates = row[Col.OP] == Op.ACTIVATE or row[Col.DONE] == Done.ACTIVATE
            line = program.source_lines[row[Col.LINE]]
            if activates:
                _verify_activation(program, cls, members, task, line)
            for operand in (Col.D, Col.A, Col.B):
                kind, base = Kind(row[operand + Operand.KIND]), int(row[operand + Operand.BASE])
                if kind not in RECEIVES | SENDS or (kind, base) in seen:
                    continue
                seen.add((kind, base))
                channels = program.channels_at(members, base)
                sends = kind in SENDS
                good = (channels >= 0) & np.append(from_ramp if sends else to_ramp, False)[channels]
                if not good.all():
                    verb = "sends" if sends else "receives"
                    raise ProgramError(
                        f"PE {_xy(program, members[np.argmin(good)])} {verb} color {base}, which has no such route there",
                        notes=[line],
                        help=f"route color {base} with {'rx' if sends else 'tx'} RAMP on this PE",
                    )


def _verify_activation(program: Program, cls: CodeClass, members: np.ndarray, task: int, line: str) -> None:
    """A task that something activates has code, and is not a data task."""
    if task >= len(cls.task_entry) or cls.task_entry[task] < 0:
        raise ProgramError(
            f"PE {_xy(program, members[0])} activates task {task}, which has no code there", notes=[line],
            help=f"write it with pes(rect, task={task})",
        )  # fmt: skip
    if any(binding.task == task for binding in cls.bindings):
        raise ProgramError(
            f"PE {_xy(program, members[0])} activates task {task}, which is bound to a color", notes=[line],
            help="a data task runs when a wavelet arrives; block() and unblock() hold it back",
        )  # fmt: skip


def _verify_bindings(program: Program, cls: CodeClass, members: np.ndarray) -> None:
    """Every data task has code, a color of its own that comes in over the ramp, and no instruction that receives it."""
    code = program.code[class_rows(program.code, cls.task_entry)]
    to_ramp = program.channel_ports()[1] >> Port.RAMP & 1 == 1
    colors: dict[int, Binding] = {}
    tasks: dict[int, Binding] = {}
    for binding in cls.bindings:
        task, color, line = binding.task, binding.color, program.source_lines[binding.line]
        channels = program.channels_at(members, color)
        routed = (channels >= 0) & np.append(to_ramp, False)[channels]
        at = _xy(program, members[np.argmin(routed)])
        if color in colors or task in tasks:
            other = colors.get(color) or tasks[task]
            raise ProgramError(
                f"PE {at} binds color {color} to task {task}, but color {other.color} is bound to task {other.task} there",
                notes=[line, f"the other: {program.source_lines[other.line]}"],
                help="bind each color to one task, and each task to one color",
            )  # fmt: skip
        colors[color] = tasks[task] = binding
        if task >= len(cls.task_entry) or cls.task_entry[task] < 0:
            raise ProgramError(f"PE {at} binds color {color} to task {task}, which has no code there", notes=[line])
        if not routed.all():
            raise ProgramError(
                f"PE {at} binds color {color} to task {task}, but has no route that brings it to the core", notes=[line],
                help=f"route color {color} with tx RAMP on this PE",
            )  # fmt: skip
        for operand in (Col.A, Col.B):
            receives = np.isin(code[:, operand + Operand.KIND], list(RECEIVES)) & (code[:, operand + Operand.BASE] == color)
            if receives.any():
                raise ProgramError(
                    f"PE {at} binds color {color} to task {task} and also receives it in an instruction",
                    notes=[line, f"the instruction: {program.source_lines[code[np.argmax(receives), Col.LINE]]}"],
                    help="take the wavelet from the task's register, or receive all of the color in instructions",
                )  # fmt: skip


def _xy(program: Program, pe: int) -> str:
    x, y = program.xy(pe)
    return f"({x},{y})"

