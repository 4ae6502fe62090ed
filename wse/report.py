"""The report of a run: one screen of text, and the same as a plain dictionary with units in its keys."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from wse.compiler.compile import Compiled
from wse.isa import OpClass, Port, Stall
from wse.machine import Counters
from wse.runner import Session, Token

NOT_MODELLED = (
    "SRAM bank conflicts", "f16 arithmetic and packed wavelets", "switches and run-time routes", "data and control tasks",
    "clock, power and thermal limits", "defects", "host link latency",
)  # fmt: skip


def summarize(session: Session, prompt: list[int], tokens: list[Token], text: str) -> dict[str, Any]:
    """Everything the report shows. Cycles are exact under the machine's rules; nothing depends on the host's speed."""
    compiled = session.compiled
    spec, program = compiled.spec, compiled.program
    counters = session.machine.counters()
    first = tokens[0].cycle
    decode = [b.cycle - a.cycle for a, b in itertools.pairwise(tokens)]
    per_token = float(np.mean(decode)) if decode else float(first)
    num_positions = len(prompt) + len(tokens) - 1
    hops = channel_hops(program.channel_tx, counters)
    lower = lower_bound_cycles(compiled)
    data_bytes = np.array([4 * cls.sram_words + cls.code_bytes for cls in program.classes])
    fullest = int(np.argmax(data_bytes[program.core_class]))
    cls = program.classes[program.core_class[fullest]]
    return {
        "schema": 1,
        "model": compiled.model.name,
        "parameters": compiled.model.num_parameters,
        "arch": spec.name,
        "mesh": [program.width, program.height],
        "dtype": compiled.dtype,
        "context": compiled.context,
        "prompt_tokens": prompt,
        "generated_tokens": [token.id for token in tokens],
        "text": text,
        "cycles_total": counters.cycles,
        "ttft_cycles": first,
        "cycles_per_token": per_token,
        "clock_hz": spec.clock_hz,
        "tokens_per_s_at_clock": spec.clock_hz / per_token,
        "lower_bound_cycles": lower,
        "lower_bound_ratio": per_token / lower,
        "hops_total": int(hops.sum()),
        "hops_per_token": float(hops.sum() / num_positions),
        "wavelets_per_token": float(counters.sent.sum() / num_positions),
        "flops_per_token": float(counters.flops.sum() / num_positions),
        "instructions_per_token": float(counters.instructions.sum() / num_positions),
        "busy_pe_cycles": {op.name.lower(): int(counters.busy[:, op].sum()) for op in OpClass},
        "stall_pe_cycles": {stall.name.lower(): int(counters.stall[:, stall].sum()) for stall in Stall},
        "pe_active_frac": float(counters.busy.sum() / max(1, counters.cycles * len(program.core_pe))),
        "blocks": _blocks(compiled, counters),
        "busiest_pes": _busiest_pes(compiled, counters),
        "busiest_links": _busiest_links(compiled, counters),
        "sram_peak_bytes": int(data_bytes.max()) + spec.sram_reserved_bytes,
        "sram_peak_pe": list(program.xy(program.core_pe[fullest])),
        "sram_peak_map": {s.name: {"address": s.address, "shape": list(s.shape), "type": s.type.name} for s in cls.symbols.values()},
        "sram_peak_code_bytes": cls.code_bytes,
        "not_modelled": list(NOT_MODELLED),
    }


def lower_bound_cycles(compiled: Compiled) -> int:
    """No token can take fewer cycles: per block the arithmetic of its weights spread evenly over its PEs, and one
    wavelet per element of the vector it takes in; then the hops from the host through all blocks and back."""
    spec, config = compiled.spec, compiled.model.config
    cycles = 0
    for block in compiled.blocks:
        macs = sum(op.num_weights() for op in block.ops(compiled.graph) if op.kind.name == "GEMV")
        cycles += max(macs * spec.fma_cycles // (spec.fma_lanes * block.width * block.height), config.dim)
    return int(cycles + sum(rect.width for rect in compiled.placement.rects) * spec.hop_cycles)


def channel_hops(channel_tx: np.ndarray, counters: Counters) -> np.ndarray:
    """Links crossed, per channel: wavelets times tx ports that are links."""
    links = sum((channel_tx >> port) & 1 for port in Port if port != Port.RAMP)
    return counters.sent * links


def _blocks(compiled: Compiled, counters: Counters) -> list[dict[str, Any]]:
    """Per block: its rectangle, busy and stalled PE-cycles, and hops inside it."""
    program = compiled.program
    hops = channel_hops(program.channel_tx, counters)
    result = []
    for block, rect in zip(compiled.blocks, compiled.placement.rects, strict=True):
        cores, channels = (_inside(pe, program.width, rect) for pe in (program.core_pe, program.channel_pe))
        result.append({
            "name": block.name, "rect": str(rect), "busy_pe_cycles": int(counters.busy[cores].sum()),
            "busiest_pe_cycles": int(counters.busy[cores].sum(axis=1).max()),
            "stall_data_pe_cycles": int(counters.stall[cores, Stall.DATA].sum()), "hops": int(hops[channels].sum()),
        })  # fmt: skip
    return result


def _inside(pe: np.ndarray, width: int, rect: Any) -> np.ndarray:
    x, y = pe % width, pe // width
    return (x >= rect.x) & (x < rect.x + rect.width) & (y >= rect.y) & (y < rect.y + rect.height)


def _busiest_pes(compiled: Compiled, counters: Counters) -> list[dict[str, Any]]:
    busy = counters.busy.sum(axis=1)
    top = np.argsort(-busy, kind="stable")[:5]
    return [{"pe": list(compiled.program.xy(compiled.program.core_pe[k])), "busy_cycles": int(busy[k])} for k in top]


def _busiest_links(compiled: Compiled, counters: Counters) -> list[dict[str, Any]]:
    """Links by wavelets carried, summed over colors."""
    program = compiled.program
    load = np.zeros((program.width * program.height, 4), np.int64)
    for port in Port:
        if port != Port.RAMP:
            np.add.at(load[:, port], program.channel_pe, counters.sent * ((program.channel_tx >> port) & 1))
    top = np.argsort(-load.ravel(), kind="stable")[:5]
    return [
        {"pe": list(program.xy(i // 4)), "port": Port(i % 4).name, "wavelets": int(load.ravel()[i]),
         "utilisation_frac": float(load.ravel()[i] / counters.cycles)}
        for i in top
    ]  # fmt: skip


def render(summary: dict[str, Any]) -> str:
    """The summary as one screen of text."""
    s = summary
    rows = [
        ("model", f"{s['model']}, {s['parameters']:,} parameters, {s['dtype']}, context {s['context']}"),
        ("machine", f"{s['arch']}, {s['mesh'][0]}x{s['mesh'][1]} PEs, {len(s['blocks'])} blocks"),
        ("tokens", f"{len(s['prompt_tokens'])} in, {len(s['generated_tokens'])} out, {s['cycles_total']:,} cycles in all"),
        ("first token", f"{s['ttft_cycles']:,} cycles"),
        ("per token", f"{s['cycles_per_token']:,.0f} cycles, {s['tokens_per_s_at_clock']:,.0f} tokens/s at {s['clock_hz'] / 1e6:.0f} MHz"),
        ("lower bound", f"{s['lower_bound_cycles']:,} cycles; measured is {s['lower_bound_ratio']:.2f} times that"),
        ("traffic", f"{s['hops_per_token']:,.0f} hops, {s['wavelets_per_token']:,.0f} wavelets sent per token"),
        ("work", f"{s['flops_per_token']:,.0f} flops, {s['instructions_per_token']:,.0f} instructions per token"),
        ("PEs active", f"{100 * s['pe_active_frac']:.1f} % of PE-cycles"),
        ("fullest PE", f"{tuple(s['sram_peak_pe'])}: {s['sram_peak_bytes']:,} B of SRAM, {s['sram_peak_code_bytes']:,} B of it code"),
    ]
    for block in sorted(s["blocks"], key=lambda b: -b["busiest_pe_cycles"])[:3]:
        rows.append((block["name"], f"{block['rect']}: busiest PE {block['busiest_pe_cycles']:,} cycles, {block['hops']:,} hops"))
    for link in s["busiest_links"][:3]:
        where = f"{tuple(link['pe'])} {link['port']}"
        rows.append(("link", f"{where}: {link['wavelets']:,} wavelets, busy {100 * link['utilisation_frac']:.1f} %"))
    rows.append(("not modelled", "; ".join(s["not_modelled"])))
    return "\n".join(f"{name:>13}  {text}" for name, text in rows)
