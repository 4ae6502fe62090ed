"""Traces for ui.perfetto.dev: protobuf `TrackEvent` packets, one cycle shown as one nanosecond.

Tracks: region -> PE -> {main, microthread k, ramp in, ramp out, router}. Operations lie inside the tasks that issued them, waits
inside operations; a flow leads from the ramp out of a PE to the first ramp in that a wavelet reaches.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wse.errors import UnsupportedError
from wse.files import open_new
from wse.program import Rect
from wse.trace.records import Event, Header, Trace

CHUNK = 4000  # packets that are serialised at a time
_SEQUENCE = 1
_MAIN, _RAMP_IN, _RAMP_OUT, _ROUTER, _HOST = 0, 100, 101, 102, 103
_LANES = {_MAIN: "main", _RAMP_IN: "ramp in", _RAMP_OUT: "ramp out", _ROUTER: "router", _HOST: "host"}


def sample_bytes(events: Iterable[Event]) -> int:
    """Size of these records in a file. Raises `UnsupportedError` when perfetto is not installed."""
    pb = _protos()
    return sum(len(pb.Trace(packet=[packet]).SerializeToString()) for packet in _Packets(pb, None, ()).slices(events))


def write(trace: Trace, path: Path) -> None:
    """Write `trace` to `path`, whole or not at all. Raises `ConfigError`; `UnsupportedError` when perfetto is not installed."""
    pb = _protos()
    packets = _Packets(pb, trace.header, trace.header.regions)
    with open_new(path) as file:
        chunk = [packets.metadata()]
        for packet in packets.slices(trace.events()):
            chunk.append(packet)
            if len(chunk) >= CHUNK:
                file.write(pb.Trace(packet=chunk).SerializeToString())
                chunk = []
        file.write(pb.Trace(packet=chunk).SerializeToString())


def check_installed() -> None:
    """Raise `UnsupportedError` when perfetto is not installed."""
    _protos()


def _protos() -> Any:
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2
    except ImportError:
        raise UnsupportedError(
            "writing a Perfetto trace needs the package perfetto, which is not installed",
            help="pip install 'wse[trace]', or write FILE.jsonl",
        ) from None
    return perfetto_trace_pb2


class _Packets:
    """Packets of one file: every name and every track is described in the packet before its first use."""

    def __init__(self, pb: Any, header: Header | None, regions: Iterable[tuple[str, Rect]]):
        self._pb, self._header = pb, header
        self._regions = tuple(regions)
        self._tracks: dict[tuple[Any, ...], int] = {}
        self._names: dict[str, int] = {}
        self._notes: dict[str, int] = {}
        self._started = False

    def metadata(self) -> Any:
        """What the numbers are."""
        header, packet = self._header, self._packet(0)
        assert header is not None
        facts = {
            "time unit": "1 ns shown is 1 cycle", "cycles executed": header.end_cycle, "events": ", ".join(header.selection.events),
            "PEs": str(header.rect), "records": header.num_records, "records dropped": header.dropped,
        }  # fmt: skip
        if header.dropped:
            facts["complete before cycle"] = header.complete_before
        for name, value in facts.items():
            entry = packet.chrome_events.metadata.add(name=f"wse {name}")
            if isinstance(value, int):
                entry.int_value = value
            else:
                entry.string_value = str(value)
        return packet

    def slices(self, events: Iterable[Event]) -> Iterator[Any]:
        """Begins and ends in the order of time; of one cycle, ends before begins, inner ends first, outer begins first."""
        open_slices: list[tuple[int, int, int]] = []  # (end, -number, track): of those that end together, the last begun first
        for number, event in enumerate(events):
            for track, name, begins, ends in self._shown(event):
                while open_slices and open_slices[0][0] <= begins:
                    yield self._end(heapq.heappop(open_slices))
                yield from self._describe(track)
                if ends == begins:
                    yield self._event(begins, track, self._pb.TrackEvent.TYPE_INSTANT, name, event)
                else:
                    yield self._event(begins, track, self._pb.TrackEvent.TYPE_SLICE_BEGIN, name, event)
                    if ends is not None:
                        heapq.heappush(open_slices, (ends, -number, self._tracks[track]))
        while open_slices:
            yield self._end(heapq.heappop(open_slices))

    def _shown(self, event: Event) -> Iterator[tuple[tuple[Any, ...], str, int, int | None]]:
        """(track, name, begin, end) of what is shown of a record."""
        kind, cycle, pe = event["kind"], event["cycle"], tuple(event["pe"])
        if kind == "send":
            lanes = [_RAMP_OUT] if event["source"] == event["pe"] else []
            lanes += [_RAMP_IN] if "RAMP" in event["ports"] else []
            name = f"color {event['color']} to {'+'.join(port.lower() for port in event['ports'])}"
            for lane in lanes or [_ROUTER]:
                yield (pe, lane), name, cycle, cycle + 1
        elif kind in ("host_in", "host_out"):
            yield (pe, _HOST), f"{event['port']} {'in' if kind == 'host_in' else 'out'}", cycle, cycle + 1
        elif kind == "task":
            yield (pe, _MAIN), f"task {event['task']}", cycle, event["end"]
        elif kind == "wait":
            colors = ", ".join(map(str, event["colors"]))
            yield (pe, event["thread"]), f"wait for {event['for']}" + (f", color {colors}" if colors else ""), cycle, event["end"]
        else:
            yield (pe, event.get("thread", _MAIN)), f"{event['op']} {event['line']}", cycle, event["end"]

    def _describe(self, track: tuple[Any, ...]) -> Iterator[Any]:
        """Descriptors of a track and of what it is in, when they are new."""
        if track in self._tracks:
            return
        parent: tuple[Any, ...] | None
        if len(track) == 1:
            name, parent, rank = track[0], None, len(self._tracks)
        elif isinstance(track[1], Rect):
            x, y = track[0]
            name, parent, rank = f"PE ({x},{y})", (self._region(x, y),), y * 10_000 + x
        else:
            (x, y), lane = track
            name, parent, rank = _LANES.get(lane, f"microthread {lane}"), ((x, y), Rect(x, y, 1, 1)), lane
        if parent is not None:
            yield from self._describe(parent)
        self._tracks[track] = uuid = len(self._tracks) + 1
        packet = self._packet(0)
        descriptor = packet.track_descriptor
        descriptor.uuid, descriptor.name, descriptor.sibling_order_rank = uuid, name, rank
        descriptor.child_ordering = self._pb.TrackDescriptor.EXPLICIT
        if parent is not None:
            descriptor.parent_uuid = self._tracks[parent]
        yield packet

    def _region(self, x: int, y: int) -> str:
        for name, rect in self._regions:
            if rect.contains(Rect(x, y, 1, 1)):
                return f"{name} {rect}"
        return "PEs"

    def _packet(self, cycle: int) -> Any:
        packet = self._pb.TracePacket(timestamp=cycle, trusted_packet_sequence_id=_SEQUENCE)
        if not self._started:
            packet.sequence_flags = self._pb.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
            self._started = True
        else:
            packet.sequence_flags = self._pb.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        return packet

    def _event(self, cycle: int, track: tuple[Any, ...], type: int, name: str, event: Event) -> Any:
        packet = self._packet(cycle)
        shown = packet.track_event
        shown.type, shown.track_uuid = type, self._tracks[track]
        shown.name_iid = self._intern(self._names, name, packet.interned_data.event_names)
        for key in ("elements", "of", "bits", "waited"):
            if event.get(key) is not None:
                note = shown.debug_annotations.add(name_iid=self._intern(self._notes, key, packet.interned_data.debug_annotation_names))
                if isinstance(event[key], int):
                    note.int_value = event[key]
                else:
                    note.string_value = event[key]
        if event["kind"] == "send" and event["source"] is not None and track[1] != _ROUTER:
            x, y = event["source"]
            flow = event["number"] << 32 | y << 20 | x << 8 | event["color"]
            (shown.flow_ids if track[1] == _RAMP_OUT else shown.terminating_flow_ids).append(flow & (1 << 64) - 1)
        return packet

    def _end(self, slice: tuple[int, int, int]) -> Any:
        packet = self._packet(slice[0])
        packet.track_event.type, packet.track_event.track_uuid = self._pb.TrackEvent.TYPE_SLICE_END, slice[2]
        return packet

    @staticmethod
    def _intern(known: dict[str, int], name: str, entries: Any) -> int:
        if name not in known:
            known[name] = len(known) + 1
            entries.add(iid=known[name], name=name)
        return known[name]
