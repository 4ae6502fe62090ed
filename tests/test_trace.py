"""Traces say what the counters and the reference machine say, change nothing, keep to what was asked for, and survive their files."""

from __future__ import annotations

import json
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.machine import ReferenceMachine
from reference.programs import FEATURES, Case, random_case
from test_decode import wse
from test_parity import COMMON, SEEDS, settings

from wse.builder import ProgramBuilder
from wse.errors import ConfigError, ProgramError, UnsupportedError
from wse.isa import Port, Stall, Status
from wse.kernels.line import Line
from wse.kernels.reduce import reduce
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec
from wse.trace import CATEGORIES, Selection
from wse.trace.files import estimate_bytes, read_trace, write_trace
from wse.trace.selection import parse_selection

ALL = tuple(CATEGORIES)


def run_case(machine: Machine | ReferenceMachine, case: Case) -> list[Status]:
    statuses = []
    for run in case.runs:
        for name, values in run.feeds:
            machine.feed(name, values)
        statuses.append(Status(machine.run(run.await_outputs, machine.cycles + run.num_cycles)))
        if statuses[-1] == Status.FAULT:
            break
    return statuses


def traced_case(case: Case, selection: Selection) -> tuple[Machine, list[dict]]:
    machine = Machine(case.program, refuse_hangs=False)
    machine.trace(selection)
    run_case(machine, case)
    return machine, list(machine.traced().events())


def durations(events: list[dict], *kinds: str) -> dict:
    total: Counter = Counter()
    for event in events:
        if event["kind"] in kinds and event["end"] is not None:
            total[event["row"]] += event["end"] - event["cycle"]
    return total


@settings(COMMON, max_examples=150, derandomize=True)
@given(SEEDS, st.booleans())
def test_a_trace_says_what_the_reference_counts_and_changes_nothing(seed: int, plain: bool) -> None:
    case = random_case(seed, features=() if plain else FEATURES)
    untraced, reference = Machine(case.program, refuse_hangs=False), ReferenceMachine(case.program)
    statuses = run_case(untraced, case)
    machine, events = traced_case(case, Selection(ALL))
    before, after = untraced.snapshot(), machine.snapshot()
    assert machine.cycles == untraced.cycles and before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    if Status.FAULT in statuses or run_case(reference, case) != statuses or reference.cycles != machine.cycles:
        return  # a faulting cycle, or the limit between the end of all activity and its detection: not specified alike
    counted, program = reference.snapshot(), case.program
    assert [event["cycle"] for event in events] == sorted(event["cycle"] for event in events)
    assert all(event["cycle"] < machine.cycles for event in events)
    elapsed = durations(events, "operation", "branch", "control")
    late = {e["row"] for e in events if e["kind"] in ("branch", "control") and e["end"] > machine.cycles}
    assert [elapsed[row] for row in range(len(program.code))] == counted["row_elapsed"].tolist(), late
    sent, waited, stalls = Counter(), Counter(), Counter()
    for event in events:
        pe = event["pe"][1] * program.width + event["pe"][0]
        if event["kind"] == "send":
            sent[pe, event["color"]] += 1
            waited[pe, event["color"]] += event["waited"]
        elif event["kind"] == "wait":
            stalls[pe, event["for"]] += event["end"] - event["cycle"]
    channels = list(zip(program.channel_pe.tolist(), program.channel_color.tolist(), strict=True))
    assert [sent[channel] for channel in channels] == counted["sent"].tolist()
    assert [waited[channel] for channel in channels] == counted["wait"].tolist()
    for reason, column in (("data", Stall.DATA), ("room", Stall.ROOM)):
        assert [stalls[pe, reason] for pe in program.core_pe.tolist()] == counted["stall"][:, column].tolist()
    for port in program.host_out:
        arrived = [e for e in events if e["kind"] == "host_out" and e["port"] == port.name and e["arrives"] <= machine.cycles]
        assert [e["bits"] for e in arrived] == counted[f"out:{port.name}"].tolist()
        assert [e["arrives"] for e in arrived] == counted[f"out_cycle:{port.name}"].tolist()


@settings(COMMON, max_examples=60, derandomize=True)
@given(SEEDS, st.integers(0, 60), st.integers(1, 80), st.integers(1, 40))
def test_what_is_collected_is_the_part_asked_for_and_the_earliest_that_fits(seed: int, first: int, num: int, most: int) -> None:
    case = random_case(seed, features=FEATURES)
    machine, _ = traced_case(case, Selection(ALL))
    if machine.fault:
        return
    rect = Rect(0, 0, (case.program.width + 1) // 2, case.program.height)
    part = Selection(("operation", "fabric"), rect, (first, first + num))
    wanted = list(machine.traced().filter(part).events())
    assert traced_case(case, part)[1] == wanted
    few = Selection(part.events, part.pes, part.cycles, most)
    small, kept = traced_case(case, few)
    header = small.traced().header
    assert len(kept) + header.dropped == len(wanted) and len(kept) <= most
    if header.dropped:
        assert kept == [event for event in wanted if event["cycle"] < header.complete_before]
        assert f"{header.dropped:,} records were dropped" in header.warning()
    else:
        assert kept == wanted and header.complete_before is None and header.warning() is None


def chain(num: int = 4, wavelets: int = 5) -> ProgramBuilder:
    builder = ProgramBuilder(load_spec("toy"), num, 1)
    row = Line(Rect(0, 0, num, 1), "x")
    y = builder.pes(row.rect).array("y", np.ones((1, num, wavelets)))
    reduce(builder, row, y)
    return builder


def test_a_trace_can_be_switched_on_and_off_in_the_middle() -> None:
    whole, machine = Machine(chain().link()), Machine(chain().link())
    whole.trace(Selection(("fabric",)))
    whole.check(whole.run())
    machine.run(max_cycles=10)
    with pytest.raises(ProgramError, match="nothing is being traced"):
        machine.traced()
    machine.trace(Selection(("fabric",)))
    machine.check(machine.run())
    expected = [event for event in whole.traced().events() if event["cycle"] >= 10]
    assert expected and [event for event in machine.traced().events() if event["cycle"] >= 10] == expected
    machine.trace(None)
    with pytest.raises(ProgramError):
        machine.traced()


def test_parts_that_nothing_connects_are_traced_to_the_end_of_the_run() -> None:
    builder = ProgramBuilder(load_spec("toy"), 3, 2)
    for y, num in ((0, 3), (1, 40)):
        builder.route(Rect(0, y, 1, 1), y, Port.RAMP, [Port.EAST])
        builder.route(Rect(1, y, 1, 1), y, Port.WEST, [Port.EAST])
        builder.route(Rect(2, y, 1, 1), y, Port.WEST, [Port.RAMP])
        first, last = builder.pes(Rect(0, y, 1, 1)), builder.pes(Rect(2, y, 1, 1))
        first.mov(first.send(y), 1.0, shape=num)
        last.mov(last.zeros("z", 1), last.recv(y))  # what else is sent stays on its way
    machine = Machine(builder.link(), refuse_hangs=False)
    machine.trace(Selection(("fabric",), max_records=1000))
    machine.run(max_cycles=200)
    counts = Counter(event["pe"][1] * 3 + event["pe"][0] for event in machine.traced().events())
    assert [counts[pe] for pe in range(6)] == machine.counters().sent.tolist()


def test_files_come_back_and_damage_is_told(tmp_path) -> None:
    machine = Machine(chain().link())
    machine.trace(Selection(ALL))
    machine.run(max_cycles=15)
    trace = machine.traced([("row", Rect(0, 0, 4, 1))])
    path = tmp_path / "t.jsonl"
    write_trace(trace, path)
    lines = path.read_text().splitlines()
    header = json.loads(lines[0])
    assert header["schema"] == "wse-trace" and header["num_records"] == len(lines) - 1 and header["dropped"] == 0
    assert all(line.startswith('{"cycle":') and list(json.loads(line))[:3] == ["cycle", "pe", "kind"] for line in lines[1:])
    assert estimate_bytes(trace, path) == sum(len(line) + 1 for line in lines[1:])
    again = read_trace(path)
    assert list(again.events()) == list(trace.events())
    assert again.header.regions == trace.header.regions and again.header.end_cycle == 15
    (tmp_path / "cut.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ConfigError, match="damaged: it has"):
        list(read_trace(tmp_path / "cut.jsonl").events())
    (tmp_path / "odd.jsonl").write_text(lines[0] + "\n{}\n")
    with pytest.raises(ConfigError, match="line 2 is no record"):
        list(read_trace(tmp_path / "odd.jsonl").events())
    (tmp_path / "not.jsonl").write_text("hello\n")
    with pytest.raises(ConfigError, match="not a trace"):
        read_trace(tmp_path / "not.jsonl")
    with pytest.raises(ConfigError, match="what format"):
        write_trace(trace, tmp_path / "t.json")
    with pytest.raises(ConfigError, match="cannot read"):
        read_trace(tmp_path / "none.jsonl")


def test_a_perfetto_file_has_the_tracks_and_slices_of_the_trace(tmp_path) -> None:
    pb = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    machine = Machine(chain().link())
    machine.trace(Selection(ALL))
    machine.check(machine.run())
    trace = machine.traced([("row", Rect(0, 0, 4, 1))])
    write_trace(trace, tmp_path / "t.pftrace")
    packets = pb.Trace.FromString((tmp_path / "t.pftrace").read_bytes()).packet
    facts = {entry.name: entry.string_value or entry.int_value for p in packets for entry in p.chrome_events.metadata}
    assert facts["wse time unit"] == "1 ns shown is 1 cycle" and facts["wse records dropped"] == 0
    tracks = {p.track_descriptor.uuid: p.track_descriptor for p in packets if p.HasField("track_descriptor")}

    def path(uuid: int) -> tuple[str, ...]:
        return (*path(tracks[uuid].parent_uuid), tracks[uuid].name) if uuid else ()

    paths = {path(uuid) for uuid in tracks}
    region = "row (0,0)-(3,0)"
    assert {(region,), *((region, f"PE ({x},0)") for x in range(4))} <= paths
    assert (region, "PE (0,0)", "ramp in") in paths and (region, "PE (3,0)", "ramp out") in paths
    assert {lane for (*_, lane) in paths if len(_) == 2} <= {"main", "microthread 1", "ramp in", "ramp out", "router"}
    names = {entry.iid: entry.name for p in packets for entry in p.interned_data.event_names}
    slices, stacks, flows, last = Counter(), {}, Counter(), 0
    for packet in packets:
        if not packet.HasField("track_event"):
            continue
        shown = packet.track_event
        assert packet.timestamp >= last and shown.track_uuid in tracks
        last = packet.timestamp
        stack = stacks.setdefault(shown.track_uuid, [])
        if shown.type == pb.TrackEvent.TYPE_SLICE_BEGIN:
            stack.append((packet.timestamp, names[shown.name_iid]))
            flows.update(("out", flow) for flow in shown.flow_ids)
            flows.update(("in", flow) for flow in shown.terminating_flow_ids)
        elif shown.type == pb.TrackEvent.TYPE_SLICE_END:
            begun, name = stack.pop()
            slices[path(shown.track_uuid), name, begun, packet.timestamp] += 1
    assert not any(stacks.values())
    wanted = Counter(
        ((region, f"PE ({x},0)", "main"), f"{e['op']} {e['line']}", e["cycle"], e["end"])
        for e in trace.events()
        if e["kind"] == "operation" and e["thread"] == 0
        for x in [e["pe"][0]]
    )
    assert wanted and wanted <= slices
    sent = sum(machine.counters().sent[case] for case in range(len(machine.program.channel_pe)))
    outs = {flow for kind, flow in flows if kind == "out"}
    assert len(outs) == sum(1 for e in trace.events() if e["kind"] == "send" and e["source"] == e["pe"]) and sent > len(outs)
    assert outs == {flow for kind, flow in flows if kind == "in"}


def test_without_perfetto_the_message_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "perfetto.protos.perfetto.trace", None)
    machine = Machine(chain().link())
    machine.trace(Selection())
    machine.check(machine.run())
    with pytest.raises(UnsupportedError, match="perfetto") as caught:
        write_trace(machine.traced(), tmp_path / "t.pftrace")
    assert "wse[trace]" in caught.value.help and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("events", "pes", "cycles", "message"),
    [
        ("task,fabirc", None, None, "no category of events 'fabirc'"),
        ("", None, None, "would be empty"),
        (None, "0:4", None, "wants x0:x1,y0:y1"),
        (None, "0:4,3:3", None, "is empty"),
        (None, "0:,0:1", None, "wants both ends"),
        (None, None, "9:3", "is empty"),
        (None, None, "a:b", "wants a range"),
        (None, None, "-3:4", "wants a range"),
    ],
)
def test_bad_selections_are_one_clear_error(events, pes, cycles, message) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_selection(events, pes, cycles)


def test_selections_are_read_as_written() -> None:
    assert parse_selection("fabric,task", "1:4,2", ":50") == Selection(("fabric", "task"), Rect(1, 2, 3, 1), (0, 50))
    assert parse_selection(None, None, "7:", 5) == Selection(cycles=(7, None), max_records=5)
    with pytest.raises(ConfigError, match="the mesh is"):
        Machine(chain().link()).trace(Selection(pes=Rect(2, 0, 4, 1)))


def test_the_command_line_writes_looks_into_converts_and_filters(tmp_path) -> None:
    path, part, shown = tmp_path / "t.jsonl", tmp_path / "part.jsonl", tmp_path / "t.pftrace"
    options = ["--trace", str(path), "--trace-events", "task,operation,fabric", "--trace-pes", "0:4,0:2", "--trace-max", "5000"]
    done = wse("run", "kjv", "-n", "1", "--no-check", *options)
    assert done.returncode == 0, done.stderr
    assert "records were dropped" in done.stderr and "MB to write" in done.stderr
    facts = json.loads(wse("trace", "info", str(path), "--json").stdout)
    assert facts["pes"] == "(0,0)-(3,1)" and 0 < facts["num_records"] <= 5000 and facts["dropped"] > 0
    assert sum(facts["kinds"].values()) == facts["num_records"]
    assert wse("trace", "filter", str(path), "--events", "fabric", "--pes", "1,0", "-o", str(part)).returncode == 0
    events = list(read_trace(part).events())
    assert events and all(event["kind"] == "send" and event["pe"] == [1, 0] for event in events)
    assert wse("trace", "convert", str(path), "-o", str(shown)).returncode == 0 and shown.stat().st_size > 0
    refused = wse("trace", "filter", str(path), "--events", "host", "-o", str(part))
    assert refused.returncode == 2 and "has no events of host" in refused.stderr
    contradiction = wse("run", "kjv", "--trace-events", "task")
    assert contradiction.returncode == 2 and "--trace FILE" in contradiction.stderr
