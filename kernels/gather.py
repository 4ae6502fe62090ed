"""Scatter, gather and all-gather along a line: segments of n elements dealt out, collected, or collected by everybody.

Nothing is computed: the results are exact. Stages hand on what is not theirs, so a wavelet crosses each link once; cycles are
exact on an idle machine. Views: `segment` (n,) on every PE, `whole` (P, n), of which only its owner is used in scatter and gather.
Both are of one type; f16 goes two elements to a wavelet where n is even.
"""

from __future__ import annotations

from wse.builder import ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Op, Type
from wse.kernels.broadcast import broadcast, broadcast_cycles, broadcast_hops
from wse.kernels.cost import issue_wait, pass_cycles, vector_cycles, wavelets
from wse.kernels.line import SENDER, Line, join, ring_wires, stage_wires
from wse.operands import View
from wse.spec import MachineSpec
from wse.where import kernel_line


def scatter(program: ProgramBuilder, line: Line, segment: View, whole: View) -> None:
    """Give PE i of each line whole[i] of the PE at index 0, in `segment`."""
    length, n, packed = _sizes(line, segment, whole)
    colors = stage_wires(program, line, outward=True)
    for i in range(length):
        pe = program.pes(line.at(i))
        behind = (length - 1 - i) * n
        if i == 0:
            if behind:
                pe.mov(pe.send(colors[0], packed=packed), whole[1:], type=segment.type)
            pe.mov(segment, whole[0], type=segment.type)
        else:
            pe.mov(segment, pe.recv(colors[i - 1], packed=packed), type=segment.type)
            if behind:
                pe.mov(pe.send(colors[i], packed=packed), pe.recv(colors[i - 1], packed=packed), shape=behind, type=segment.type)


def gather(program: ProgramBuilder, line: Line, segment: View, whole: View) -> None:
    """Collect `segment` of PE i of each line as whole[i] at index 0: each sends its own, then what comes from behind."""
    length, n, packed = _sizes(line, segment, whole)
    colors = stage_wires(program, line, outward=False)
    for i in range(length):
        pe = program.pes(line.at(i))
        behind = (length - 1 - i) * n
        if i == 0:
            pe.mov(whole[0], segment, type=segment.type)
            if behind:
                pe.mov(whole[1:], pe.recv(colors[0], packed=packed), type=segment.type)
        else:
            pe.mov(pe.send(colors[i - 1], packed=packed), segment, type=segment.type)
            if behind:
                pe.mov(pe.send(colors[i - 1], packed=packed), pe.recv(colors[i], packed=packed), shape=behind, type=segment.type)


def scatter_cycles(spec: MachineSpec, length: int, n: int, type: Type = Type.F32) -> int:
    """Predicted cycles of `scatter` of n elements per PE: the longer of index 0's sends and the way to the last PE.

    Each PE keeps n and passes the rest on, an issue later; index 0 copies its own when all is sent.
    """
    wait = issue_wait(spec)
    own, n = vector_cycles(spec, Op.MOV, n, type=type), _wavelets(n, type)
    if length == 1:
        return own
    total = wait + (length - 1) * n + own  # of index 0
    begin = wait  # when the PE before begins to send
    for i in range(1, length):
        kept = begin + pass_cycles(spec, 1) + n
        behind = (length - 1 - i) * n
        begin = kept + wait
        total = max(total, begin + behind if behind else kept)
    return total


def gather_cycles(spec: MachineSpec, length: int, n: int, type: Type = Type.F32) -> int:
    """Predicted cycles of `gather` of n elements per PE."""
    wait = issue_wait(spec)
    own, n = vector_cycles(spec, Op.MOV, n, type=type), _wavelets(n, type)
    if length == 1:
        return own
    arrivals = [wait] * (length - 1)  # when segment i + 1 begins to leave its PE, then each PE before it
    for i in range(length - 2, 0, -1):  # PE i: its own at `wait`, then the segments from behind
        free = wait + n + wait
        for k in range(i, length - 1):
            arrivals[k] = max(free, arrivals[k] + pass_cycles(spec, 1))
            free = arrivals[k] + n
    end = own + wait
    for at in arrivals:
        end = max(end, at + pass_cycles(spec, 1)) + n
    return end


def gather_hops(length: int, n: int, type: Type = Type.F32) -> int:
    """Wavelet-hops of `scatter` or `gather` along one line: segment i crosses i links."""
    return _wavelets(n, type) * length * (length - 1) // 2


def allgather(program: ProgramBuilder, line: Line, segment: View, whole: View, ring: bool = False) -> None:
    """Every PE of each line gets all segments, whole[i] from PE i: by gather and broadcast, or around a ring."""
    length, _, packed = _sizes(line, segment, whole)
    if not ring or length == 1:
        gather(program, line, segment, whole)
        broadcast(program, line, whole, type=whole.type)
        return
    colors = ring_wires(program, line, range(length))
    for i in range(length):
        pe = program.pes(line.at(i))
        pe.mov(whole[i], segment, type=segment.type)
        for step in range(length - 1):
            pe.mov(pe.send(colors[i], packed=packed), whole[(i - step) % length], thread=SENDER, type=segment.type)
            pe.mov(whole[(i - step - 1) % length], pe.recv(colors[(i - 1) % length], packed=packed), type=segment.type)
        join(pe, segment, SENDER)


def allgather_cycles(spec: MachineSpec, length: int, n: int, ring: bool = False, type: Type = Type.F32) -> int:
    """Predicted cycles of `allgather` of n elements per PE; of the ring as of an all-reduce's second half."""
    if not ring or length == 1:
        return gather_cycles(spec, length, n, type) + broadcast_cycles(spec, length, wavelets(n * length, type))
    apart = pass_cycles(spec, 1)
    own, n = vector_cycles(spec, Op.MOV, n, type=type), _wavelets(n, type)
    rounds = (length - 1) * (issue_wait(spec) + n + max(n, apart)) + pass_cycles(spec, length - 1) - apart
    return own + rounds + spec.issue_cycles


def allgather_hops(length: int, n: int, ring: bool = False, type: Type = Type.F32) -> int:
    """Wavelet-hops of `allgather` along one line."""
    if ring:
        return _wavelets(n, type) * (length - 1) * 2 * (length - 1)
    return gather_hops(length, n, type) + broadcast_hops(length, wavelets(n * length, type))


def _sizes(line: Line, segment: View, whole: View) -> tuple[int, int, bool | None]:
    """(P, n, how f16 is packed), or `ProgramError` when the views do not fit the line."""
    if len(segment.shape) != 1 or whole.shape != (line.length, *segment.shape):
        raise ProgramError(
            f"segments {segment.shape} of '{segment.name}' and '{whole.name}' {whole.shape} do not fit {line.length} PEs",
            notes=["wanted (n,) and (number of PEs, n)", kernel_line()],
        )
    n = segment.shape[0]
    return line.length, n, None if n % 2 == 0 else False


def _wavelets(n: int, type: Type) -> int:
    """Wavelets of a segment: a pair in each where all segments begin with a whole wavelet."""
    return wavelets(n, type) if n % 2 == 0 else n
