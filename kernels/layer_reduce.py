"""The all-reduce of the published decode layer: a two-tree in which every PE asks for its role as it goes.

As in the source that WaferLLM's authors published (WSE-2): groups of neighbours, whose both ends chain to the group's middle PE; the
middles chain to the middle one of them; that one sends to the lower half of the line, then to the higher. A root adds the higher side
first. One function for all PEs: whether a PE is an end, a root, above or below it are conditions that it comes to at run time.
"""

from __future__ import annotations

import numpy as np

from wse.isa import Op, Type
from wse.kernels.algorithm import Algorithm
from wse.kernels.calls import CalledPes, CalledProgram, ask_cycles, call_wait
from wse.kernels.chains import Chain, chain_wires, phases
from wse.kernels.cost import pass_cycles
from wse.kernels.line import Line, wire
from wse.operands import View
from wse.spec import MachineSpec

Answers = list[tuple[bool, ...]]  # by index along the line: what the PE's conditions come to, in order


def tree_allreduce(program: CalledProgram, line: Line, value: View, groups: int, op: Op = Op.ADD) -> None:
    """Combine f16 `value` of all PEs of each line into `value` on all of them; every PE ends with the same bits.

    Contract as that of `allreduce` with a two-tree of so many groups, but for the order of additions at roots. Raises `ProgramError`.
    """
    inside, between = phases(line.length, Algorithm("two_tree", groups))
    root = between[0][between[1]]
    everyone = program.pes(line.rect)
    with everyone.function():
        everyone.update(1)
        for chains, answers in ((inside, _inside_answers(inside)), ([between], _between_answers(line.length, between))):
            _reduce(program, line, value, op, chains, answers)
        for first, num, source, side in ((0, root + 1, root, True), (root, line.length - root, 0, False)):
            part = line.part(first, num)
            if num > 1:
                color = wire(program, part.spread(source), line.colors)
                sender = program.pes(line.at(root))
                sender.ask(True)
                sender.mov(sender.send(color), value, type=Type.F16)
                receiver = program.pes(line.at(0, root) if side else line.at(root + 1, num - 1))
                receiver.ask(False, side)
                receiver.mov(value, receiver.recv(color), type=Type.F16)


def tree_allreduce_times(spec: MachineSpec, ready: np.ndarray, num: int, groups: int) -> np.ndarray:
    """When each PE is through `tree_allreduce` of `num` wavelets, having reached it at `ready`: (length, lines), cycles, both.

    From the machine's rules, an operation at a time: exact while no queue is full but a root's.
    """
    inside, between = phases(len(ready), Algorithm("two_tree", groups))
    root = between[0][between[1]]
    wait, jump = call_wait(spec), spec.branch_taken_cycles
    times = ready + jump + 3 * spec.issue_cycles
    for chains, answers in ((inside, _inside_answers(inside)), ([between], _between_answers(len(ready), between))):
        times = _reduce_times(spec, times, num, chains, answers)
    begins = []
    for is_there in (root > 0, root < len(ready) - 1):
        if is_there:
            begins.append(times[root] + ask_cycles(spec, True) + wait)
            times[root] = begins[-1] + num
        else:
            begins.append(times[root])
    for i in range(len(ready)):
        if i != root:
            arrival = begins[int(i > root)] + pass_cycles(spec, abs(i - root))
            times[i] = np.maximum(times[i] + ask_cycles(spec, False, i < root) + wait, arrival) + num
    return times + jump


def _inside_answers(chains: list[Chain]) -> Answers:
    """Root of the group (and not its last)? First? Last? Before the root?"""
    answers: Answers = []
    for stops, root in chains:
        last = len(stops) - 1
        for k in range(len(stops)):
            if k == root:
                answers.append((True, k != last))
            else:
                answers.append((False, True) if k == 0 else (False, False, True) if k == last else (False, False, False, k < root))
    return answers


def _between_answers(length: int, chain: Chain) -> Answers:
    """Root of all (and not in the last group)? Root of a group? Of the first? Of the last? Before the root of all?"""
    stops, root = chain
    last = len(stops) - 1
    answers: Answers = [(False, False)] * length
    for k, i in enumerate(stops):
        if k == root:
            answers[i] = (True, k != last)
        else:
            answers[i] = (False, True, *((True,) if k == 0 else (False, True) if k == last else (False, False, k < root)))
    return answers


def _has_others_behind(answer: tuple[bool, ...]) -> bool:
    """Whether code for PEs that answer otherwise comes after it, to be jumped over."""
    return answer[0] or answer[-1]


def _reduce(program: CalledProgram, line: Line, value: View, op: Op, chains: list[Chain], answers: Answers) -> None:
    """Every stage adds what arrives and passes it on."""
    sends: dict[int, int] = {}
    arrives: dict[int, list[int]] = {}  # colors, those of the lower side first
    for source, to, color in chain_wires(program, line, chains):
        sends[source] = color
        arrives.setdefault(to, []).append(color)
    labels = [program.label("condition") for _ in range(max(map(len, answers)) + 1)]
    for first, num in _runs(answers, {*sends, *arrives}):
        pe = program.pes(line.at(first, num))
        pe.ask(*answers[first], labels=labels)
        _stage(pe, value, op, sends.get(first), arrives.get(first, []))
        if _has_others_behind(answers[first]):
            pe.leave(labels[-1])


def _stage(pe: CalledPes, value: View, op: Op, send: int | None, arrives: list[int]) -> None:
    """What a PE does in a phase: pass on its own, or the sum, or add both sides."""
    if send is None:
        for color in reversed(arrives):
            pe.vector(op, value, pe.recv(color), value, type=Type.F16)
    elif arrives:
        pe.vector(op, pe.send(send), pe.recv(arrives[0]), value, type=Type.F16)
    else:
        pe.mov(pe.send(send), value, type=Type.F16)


def _runs(answers: Answers, busy: set[int]) -> list[tuple[int, int]]:
    """(first index, number) of neighbours that do the same: those that only answer, together; all others one by one."""
    runs: list[tuple[int, int]] = []
    for i in range(len(answers)):
        if runs and i not in busy and i - 1 not in busy and answers[i] == answers[i - 1]:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((i, 1))
    return runs


def _reduce_times(spec: MachineSpec, times: np.ndarray, num: int, chains: list[Chain], answers: Answers) -> np.ndarray:
    """When each PE is through `_reduce`: (length, lines)."""
    wait = call_wait(spec)
    times = times + np.array([ask_cycles(spec, *answer) for answer in answers])[:, None]
    for stops, root in chains:
        arrivals = []
        for side in (range(len(stops) - 1, root, -1), range(root)):
            before, begin = None, times[stops[root]]
            for k in side:
                own = times[stops[k]] + wait
                begin = own if before is None else np.maximum(own, begin + pass_cycles(spec, abs(stops[k] - before)))
                before, times[stops[k]] = stops[k], begin + num
            if before is not None:
                arrivals.append(begin + pass_cycles(spec, abs(stops[root] - before)))
        times[stops[root]] = _add_sides(spec, times[stops[root]], arrivals, num)
    leaves = np.array([_has_others_behind(answer) for answer in answers])[:, None]
    return times + leaves * spec.branch_taken_cycles


def _add_sides(spec: MachineSpec, ready: np.ndarray, arrivals: list[np.ndarray], num: int) -> np.ndarray:
    """When roots have added the streams that arrive then, in turn: both come in over one ramp until the second has filled its queue."""
    lost = np.zeros_like(ready)
    if len(arrivals) == 2:
        first, second = arrivals
        full = min(num, spec.core_queue_room)
        late = np.maximum(0, first - second) + np.maximum(0, ready + call_wait(spec) - first)
        lost = np.maximum(0, np.minimum(full, num - np.maximum(0, second - first)) - late)
    for arrival in arrivals:
        ready = np.maximum(ready + call_wait(spec), arrival) + num + lost
        lost = np.zeros_like(ready)
    return ready
