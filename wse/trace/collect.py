"""Collecting: switch the engine's trace on, and turn its table into records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from wse.engine.state import NEVER, Chan, Clock, Core, Phase, Sink, Source, State, Thread
from wse.engine.switch import CONTROL_BIT
from wse.engine.trace import Category, Note, Record, Window
from wse.errors import ConfigError
from wse.isa import BRANCHES, RECEIVES, SENDS, Col, Op, Operand, Port
from wse.program import NO_OP, Program, Rect
from wse.trace.records import Event, Header, Trace
from wse.trace.selection import Selection

_PORTS = [[port.name for port in Port if mask >> port & 1] for mask in range(1 << len(Port))]


def switch_on(program: Program, state: State, selection: Selection | None) -> State:
    """The state with an empty table for `selection`, or none. Raises `ConfigError` when it names no PE of the mesh."""
    mesh = Rect(0, 0, program.width, program.height)
    rect = mesh if selection is None or selection.pes is None else selection.pes
    if not mesh.contains(rect) or rect.num_pes < 1:
        raise ConfigError(f"cannot trace PEs {rect}: the mesh is {mesh}")
    for table, column, pe in (
        (state.core, Core.TRACED, program.core_pe),
        (state.chan, Chan.TRACED, program.channel_pe),
        (state.source, Source.TRACED, np.array([port.pe for port in program.host_in], np.int64)),
        (state.sink, Sink.TRACED, np.array([port.pe for port in program.host_out], np.int64)),
    ):
        table[:, column] = program.inside(pe, rect)
    state.clock[Clock.TRACED] = 0 if selection is None else selection.mask
    if selection is None:
        return state._replace(trace=np.zeros((0, len(Record)), np.int64))
    trace = np.zeros((1 + 2 * selection.max_records, len(Record)), np.int64)  # memory that is not used is not taken
    first, last = selection.cycles
    trace[0, [Window.NUM, Window.SETTLED, Window.FIRST]] = 1, 1, first
    trace[0, [Window.LAST, Window.UNTIL]] = NEVER if last is None else last
    return state._replace(trace=trace)


def collect(program: Program, state: State, selection: Selection, regions: Iterable[tuple[str, Rect]] = ()) -> Trace:
    """What has been traced so far, with what is under way."""
    table, head = state.trace[1 : state.trace[0, Window.NUM]], state.trace[0]
    under_way = _under_way(state)
    late = under_way[:, Record.CYCLE] >= head[Window.UNTIL]
    table = np.concatenate([table, under_way[~late]])
    dropped, until = int(head[Window.DROPPED] + np.count_nonzero(late)), int(head[Window.UNTIL])
    if len(table) > selection.max_records:
        until = int(np.partition(table[:, Record.CYCLE], selection.max_records)[selection.max_records])
        kept = table[:, Record.CYCLE] < until
        dropped += int(np.count_nonzero(~kept))
        table = table[kept]
    table = table[np.lexsort((table[:, Record.B], table[:, Record.A], table[:, Record.WHO], table[:, Record.KIND], table[:, Record.CYCLE]))]
    header = Header(
        width=program.width, height=program.height, selection=selection, end_cycle=int(state.clock[Clock.NOW]), num_records=len(table),
        dropped=dropped, complete_before=until if dropped else None, regions=tuple(regions),
    )  # fmt: skip
    source = state.chan[:, Chan.SOURCE].copy()
    return Trace(header, lambda: _events(program, source, table))


def _under_way(state: State) -> np.ndarray:
    """Records, with an END of -1, of the tasks and operations that have not ended; of operations that have, unnoticed, with theirs."""
    clock, core, thread, head = state.clock, state.core, state.thread, state.trace[0]
    rows = []
    if clock[Clock.TRACED] & Category.TASK:
        for k in np.flatnonzero((core[:, Core.RUNNING] == 1) & (core[:, Core.TRACED] == 1)):
            rows.append([core[k, Core.TASK_SINCE], -1, Note.TASK, k, core[k, Core.TASK], 0, 0, 0])
    if clock[Clock.TRACED] & Category.OPERATION:
        owner = np.repeat(np.arange(len(core)), core[:, Core.NUM_THREADS])
        for t in np.flatnonzero((thread[:, Thread.PHASE] != Phase.FREE) & (core[owner, Core.TRACED] == 1)):
            k, op = owner[t], thread[t]
            ended = op[Thread.PHASE] >= Phase.BULK and op[Thread.POS] == op[Thread.NUM] and op[Thread.NEXT] <= clock[Clock.NOW]
            end = op[Thread.NEXT] if ended else -1
            rows.append([op[Thread.ISSUED], end, Note.OPERATION, k, op[Thread.ROW], t - core[k, Core.THREAD], op[Thread.NUM], 0])
    table = np.array(rows, np.int64).reshape(-1, len(Record))
    inside = (table[:, Record.CYCLE] < head[Window.LAST]) & ((table[:, Record.END] < 0) | (table[:, Record.END] > head[Window.FIRST]))
    return table[inside]


def _events(program: Program, source: np.ndarray, table: np.ndarray) -> Iterator[Event]:
    core_pe, channel_pe, channel_color = program.core_pe.tolist(), program.channel_pe.tolist(), program.channel_color.tolist()
    described = [_describe(program, row, of) for row, of in zip(program.code, program.row_ops, strict=True)]
    width = program.width
    for cycle, end, kind, who, a, b, c, d in table.tolist():
        until = None if end < 0 else end
        if kind == Note.SEND:
            pe = channel_pe[who]
            event = {"cycle": cycle, "pe": [pe % width, pe // width], "kind": "send", "color": channel_color[who], "ports": _PORTS[b]}
            event |= {"bits": a & 0xFFFFFFFF, "control": bool(a & CONTROL_BIT), "waited": cycle - d, "number": c}
            event["source"] = list(program.xy(channel_pe[source[who]])) if source[who] >= 0 else None
        elif kind == Note.HOST_IN or kind == Note.HOST_OUT:
            port = (program.host_in if kind == Note.HOST_IN else program.host_out)[who]
            event = {"cycle": cycle, "pe": list(program.xy(port.pe)), "kind": "host_in" if kind == Note.HOST_IN else "host_out"}
            event |= {"port": port.name, "color": port.color, "bits": a & 0xFFFFFFFF}
            if kind == Note.HOST_OUT:
                event["arrives"] = d
        else:
            pe = core_pe[who]
            event = {"cycle": cycle, "pe": [pe % width, pe // width], "kind": "", "end": until}
            if kind == Note.TASK:
                event |= {"kind": "task", "task": a}
            elif kind == Note.OPERATION:
                what = described[a]
                event |= {
                    "kind": "operation",
                    "op": what["op"],
                    "thread": b,
                    "elements": c,
                    "line": what["line"],
                    "row": a,
                    "of": what["of"],
                }
            elif kind == Note.CONTROL:
                what = described[a]
                event |= {"kind": what["kind"], "op": what["op"], "line": what["line"], "row": a}
            else:
                what, reason = described[a], "data" if kind == Note.WAIT_DATA else "room"
                event |= {"kind": "wait", "for": reason, "thread": b, "op": what["op"], "line": what["line"], "colors": what[reason]}
        yield event


def _describe(program: Program, row: np.ndarray, of: int) -> dict[str, object]:
    """What records say of an instruction."""
    op = Op(row[Col.OP])
    name = program.op_names[of]
    return {
        "op": op.name.lower(),
        "kind": "branch" if op in BRANCHES or op is Op.JUMP else "control",
        "line": program.source_lines[row[Col.LINE]],
        "of": None if name == NO_OP else name,
        "data": [int(row[o + Operand.BASE]) for o in (Col.A, Col.B) if row[o + Operand.KIND] in RECEIVES],
        "room": [int(row[Col.D + Operand.BASE])] if row[Col.D + Operand.KIND] in SENDS else [],
    }
