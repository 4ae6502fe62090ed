"""Summary of a run: everything the report shows, as a plain dictionary with units in its keys.

Cycles are exact under the machine's rules and nothing here depends on the host's speed, so the same model, settings and seed
give the same bytes of JSON.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import Any

import numpy as np

from wse.bound import Bound, mean_bounds, token_bounds
from wse.compiler.compile import Compiled
from wse.compiler.cost import ceil_div
from wse.compiler.lower import CACHE_ARRAYS, TABLE_ARRAYS, WEIGHT_ARRAYS
from wse.crosscheck import TokenCheck
from wse.isa import TYPE_BYTES, OpClass, Port, Stall, Switch
from wse.machine import Counters
from wse.opcost import BETWEEN, block_op_cycles, cost_by_op
from wse.prediction import Prediction, predict
from wse.program import Program, Rect
from wse.provenance import SCHEMA
from wse.runner import Session, Token

NOT_MODELLED = ("clock, power and thermal limits", "host link latency")

STALL_NAMES = {stall: "backpressure" if stall is Stall.ROOM else stall.name.lower() for stall in Stall}

NUM_TOP = 5


def summarize(session: Session, prompt: list[int], tokens: list[Token], text: str, check: TokenCheck) -> dict[str, Any]:
    """The summary of a session that was fed `prompt` and generated `tokens`, at least one."""
    compiled = session.compiled
    spec, program = compiled.spec, compiled.program
    counters, prefill = session.machine.counters(), session.prompt_counters
    assert prefill is not None
    first = tokens[0].cycle
    num_positions, num_decoded = len(prompt) + len(tokens) - 1, len(tokens) - 1
    intervals = [b.cycle - a.cycle for a, b in itertools.pairwise(tokens)]
    tpot = float(np.mean(intervals)) if intervals else None
    decoded = range(len(prompt), num_positions) if num_decoded else range(num_positions - 1, num_positions)
    bounds = mean_bounds(compiled, decoded)
    lower = sum(bound.cycles for bound in bounds)
    prompt_lower = sum(bound.cycles for bound in token_bounds(compiled, len(prompt) - 1))
    if first < prompt_lower or (tpot is not None and tpot < lower):
        raise AssertionError(f"measured {first} and {tpot} cycles, below the bounds {prompt_lower:.0f} and {lower:.0f}")
    hops = channel_hops(program, counters)
    # the cost model knows no logits that leave
    predicted = predict(compiled, range(num_positions)) if compiled.head == "greedy" else None
    predicted_tpot = predict(compiled, decoded).total.cycles if predicted and num_decoded else None
    phases = {"prefill": (prefill, len(prompt)), "decode": (counters - prefill, num_decoded)}
    links = link_wavelets(program, counters)
    return {
        "schema": SCHEMA,
        "model": compiled.model.name,
        "parameters": compiled.model.num_parameters,
        "arch": spec.name,
        "mesh": [program.width, program.height],
        "num_pes": len(program.core_pe),
        "dtype": compiled.dtype,
        "context": compiled.context,
        "max_context_fit": max_context_fit(compiled),
        "kv_bytes_per_token": sum(op.cache_bytes(1) for op in compiled.graph.ops),
        "prompt_tokens": prompt,
        "generated_tokens": [token.id for token in tokens],
        "text": text,
        "check": asdict(check),
        "clock_hz": spec.clock_hz,
        "cycles_total": counters.cycles,
        "ttft_cycles": first,
        "ttft_s_at_clock": first / spec.clock_hz,
        "tpot_cycles": tpot,
        "cycles_per_token": tpot,
        "tokens_per_s_at_clock": None if tpot is None else spec.clock_hz / tpot,
        "lower_bound_cycles": lower,
        "lower_bound_ratio": None if tpot is None else tpot / lower,
        "ttft_lower_bound_cycles": prompt_lower,
        "predicted_cycles_per_token": predicted_tpot,
        "predicted_hops_per_token": predicted and predicted.total.hops,
        "hops_total": int(hops.sum()),
        "wavelets": int(counters.sent.sum()),
        "hops_per_token": float(hops.sum() / num_positions),
        "wavelets_per_token": float(counters.sent.sum() / num_positions),
        "flops_per_token": float(counters.flops.sum() / num_positions),
        "instructions_per_token": float(counters.instructions.sum() / num_positions),
        "sram_read_bytes_per_token": float(counters.sram_read_bytes.sum() / num_positions),
        "sram_write_bytes_per_token": float(counters.sram_write_bytes.sum() / num_positions),
        "phases": {name: _phase(compiled, counted, num) for name, (counted, num) in phases.items() if num},
        "pe_active_frac": float(counters.busy.sum() / (counters.cycles * len(program.core_pe))),
        **_pe_cycles(program, counters),
        "blocks": _blocks(compiled, counters, num_positions, bounds, predicted),
        "ops": _ops(compiled, counters, num_positions, predicted),
        "busiest_pes": _busiest_pes(compiled, counters),
        "busiest_links": _busiest_links(compiled, counters, links),
        "link_util_max": float(links.max() / counters.cycles),
        "link_util_avg": float(links[links > 0].mean() / counters.cycles),
        **_sram(compiled),
        "defects": _defects(compiled),
        "not_modelled": [*([] if spec.bank_conflicts else ["SRAM bank conflicts (bank_conflicts = 0)"]), *NOT_MODELLED],
    }


def _defects(compiled: Compiled) -> dict[str, Any] | None:
    """What is dead on the mesh, and what blocks skip for it; None when nothing is."""
    placement = compiled.placement
    if placement.defects is None:
        return None
    skipping = zip(placement.names, placement.footprints, placement.skipped_columns, placement.skipped_rows, strict=True)
    return {
        **placement.defects.facts(), "digest": placement.defects.digest,
        "skipped": [
            {"name": name, "x": area.x, "y": area.y, "columns": list(columns), "rows": list(rows)} for name, area, columns, rows in skipping
        ],
    }  # fmt: skip


def channel_hops(program: Program, counters: Counters) -> np.ndarray:
    """Links crossed, int64 (num_channels,): wavelets times the tx ports that are links."""
    return _port_wavelets(program, counters)[:, : Port.RAMP].sum(axis=1)


def link_wavelets(program: Program, counters: Counters) -> np.ndarray:
    """Wavelets carried by each directed link over all colors, int64 (num_pes, 4)."""
    load = np.zeros((program.width * program.height, int(Port.RAMP)), np.int64)
    np.add.at(load, program.channel_pe, _port_wavelets(program, counters)[:, : Port.RAMP])
    return load


def _port_wavelets(program: Program, counters: Counters) -> np.ndarray:
    """Wavelets of each channel through each port, int64 (num_channels, len(Port)); the ports of a switch were counted apart."""
    through = counters.sent[:, None] * (program.channel_tx[:, None] >> np.arange(len(Port)) & 1)
    through[program.switches[:, Switch.CHANNEL]] = counters.switch_sent
    return through


def max_context_fit(compiled: Compiled) -> int:
    """Positions that a layer's PEs would have SRAM for, in the rectangles they have now; the model's own limit is another matter."""
    config, program, spec = compiled.model.config, compiled.program, compiled.spec
    group, most = config.n_heads // config.n_kv_heads, []
    for block, rect in zip(compiled.blocks, compiled.placement.footprints, strict=True):
        inside = program.inside(program.core_pe, rect)
        classes = [program.classes[k] for k in np.unique(program.core_class[inside])]
        used = [4 * cls.sram_words + cls.code_bytes for cls in classes if CACHE_ARRAYS[0] in cls.symbols]
        if used:
            slot_bytes = 4 * (2 * config.head_size // block.slices + group)  # a key, a value, and a score per query head
            slots = ceil_div(compiled.context, block.height) + (spec.data_bytes - max(used)) // slot_bytes
            most.append(slots * block.height)
    return min(most)


def _phase(compiled: Compiled, counted: Counters, num_tokens: int) -> dict[str, Any]:
    """Prompt or generation alone: cycles, speed and traffic per token."""
    cycles = counted.cycles / num_tokens
    return {
        "tokens": num_tokens,
        "cycles": counted.cycles,
        "cycles_per_token": cycles,
        "tokens_per_s_at_clock": compiled.spec.clock_hz / cycles,
        "hops_per_token": int(channel_hops(compiled.program, counted).sum()) / num_tokens,
        "wavelets_per_token": int(counted.sent.sum()) / num_tokens,
    }


def _pe_cycles(program: Program, counters: Counters) -> dict[str, int]:
    """Every cycle of every PE that has code, in one class: busy by kind of work, stalled by reason, idle."""
    total = counters.cycles * len(program.core_pe)
    parts = {f"busy_{op.name.lower()}_cycles": int(counters.busy[:, op].sum()) for op in OpClass}
    parts |= {f"stall_{name}_cycles": int(counters.stall[:, stall].sum()) for stall, name in STALL_NAMES.items()}
    return {"pe_cycles": total, **parts, "idle_cycles": total - sum(parts.values())}


def _blocks(
    compiled: Compiled, counters: Counters, num_tokens: int, bounds: tuple[Bound, ...], predicted: Prediction | None
) -> list[dict[str, Any]]:
    """Per block: its rectangle, its PEs' cycles per token, hops inside it, what of that was predicted, and what its lower bound is made of.

    `cycles_per_token` is the time in the block's ops, the mean over its PEs: from having the input to when the output can leave.
    """
    program, rects = compiled.program, compiled.placement.footprints
    hops, busy = channel_hops(program, counters), counters.busy.sum(axis=1)
    elapsed = block_op_cycles(program, counters.row_elapsed, rects, num_tokens)
    result = []
    for i, (block, rect, bound) in enumerate(zip(compiled.blocks, rects, bounds, strict=False)):
        cores, channels = (program.inside(pe, rect) for pe in (program.core_pe, program.channel_pe))
        result.append({
            "name": block.name, "rect": str(rect), "num_pes": block.num_pes,
            "cycles_per_token": sum(cycles for op, cycles in elapsed[i].items() if op not in BETWEEN),
            "predicted_cycles_per_token": predicted and predicted.block_cycles(i),
            "busy_cycles_per_token": float(busy[cores].mean() / num_tokens),
            "busiest_pe_cycles_per_token": float(busy[cores].max() / num_tokens),
            "hops_per_token": float(hops[channels].sum() / num_tokens),
            "predicted_hops_per_token": predicted and predicted.hops_inside[i],
            **{f"stall_{name}_cycles": int(counters.stall[cores, stall].sum()) for stall, name in STALL_NAMES.items()},
            "lower_bound_cycles": bound.cycles, "lower_bound_arithmetic_cycles": bound.arithmetic,
            "lower_bound_distance_cycles": bound.distance, "lower_bound_transfer_cycles": bound.transfer,
            "lower_bound_last_op_cycles": bound.last, "bound_by": bound.bound_by,
        })  # fmt: skip
    return result


def _ops(compiled: Compiled, counters: Counters, num_tokens: int, predicted: Prediction | None) -> list[dict[str, Any]]:
    """Cost by op, with the cycles that were predicted; None for an op the cost model counts elsewhere."""
    expected = predicted.op_cycles([block.num_pes for block in compiled.blocks]) if predicted else {}
    records = cost_by_op(compiled.program, counters.row_busy, counters.row_elapsed, num_tokens)
    return [{**record, "predicted_cycles_per_token": expected.get(record["op"])} for record in records]


def _block_at(compiled: Compiled, x: int, y: int) -> str:
    """Name of the block on a PE; "" between blocks."""
    here = Rect(x, y, 1, 1)
    return next((b.name for b, rect in zip(compiled.blocks, compiled.placement.footprints, strict=True) if rect.contains(here)), "")


def _busiest_pes(compiled: Compiled, counters: Counters) -> list[dict[str, Any]]:
    busy = counters.busy.sum(axis=1)
    result = []
    for k in np.argsort(-busy, kind="stable")[:NUM_TOP]:
        x, y = compiled.program.xy(compiled.program.core_pe[k])
        active = float(busy[k] / counters.cycles)
        result.append({"pe": [x, y], "block": _block_at(compiled, x, y), "busy_cycles": int(busy[k]), "active_frac": active})
    return result


def _busiest_links(compiled: Compiled, counters: Counters, links: np.ndarray) -> list[dict[str, Any]]:
    result = []
    for i in np.argsort(-links.ravel(), kind="stable")[:NUM_TOP]:
        x, y = compiled.program.xy(i // 4)
        wavelets = int(links.ravel()[i])
        result.append({
            "pe": [x, y], "port": Port(i % 4).name, "block": _block_at(compiled, x, y), "wavelets": wavelets,
            "util_frac": wavelets / counters.cycles,
        })  # fmt: skip
    return result


def _sram(compiled: Compiled) -> dict[str, Any]:
    """The map of the PE with the least free SRAM."""
    spec, program = compiled.spec, compiled.program
    used = np.array([4 * cls.sram_words + cls.code_bytes for cls in program.classes])
    core = int(np.argmax(used[program.core_class]))
    cls = program.classes[program.core_class[core]]
    sizes = dict.fromkeys(("weights", "kv_cache", "activations"), 0)
    arrays = []
    for symbol in cls.symbols.values():
        if symbol.name in (*WEIGHT_ARRAYS.values(), *TABLE_ARRAYS):
            kind = "weights"
        else:
            kind = "kv_cache" if symbol.name in CACHE_ARRAYS else "activations"
        size = ceil_div(symbol.num_elements * TYPE_BYTES[symbol.type], 4) * 4
        sizes[kind] += size
        arrays.append({
            "name": symbol.name, "kind": kind, "address": symbol.address, "bytes": size, "shape": list(symbol.shape),
            "type": symbol.type.name.lower(),
        })  # fmt: skip
    x, y = program.xy(program.core_pe[core])
    taken = int(used.max()) + spec.sram_reserved_bytes
    return {
        "sram_bytes": spec.sram_bytes,
        "sram_peak_bytes": taken,
        "sram_peak_pe": [x, y],
        "sram_peak_block": _block_at(compiled, x, y),
        "sram_peak_map": {
            **{f"{kind}_bytes": size for kind, size in sizes.items()}, "code_bytes": cls.code_bytes,
            "reserved_bytes": spec.sram_reserved_bytes, "free_bytes": spec.sram_bytes - taken,
        },
        "sram_peak_arrays": arrays,
    }  # fmt: skip
