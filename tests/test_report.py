"""The report: figures that add up, bounds that hold, one screen of text."""

import dataclasses
import io
import json

import numpy as np
import pytest
from checkpoints import random_model
from rich.console import Console

from wse.bound import arithmetic_cycles, mean_bounds, token_bounds
from wse.builder import ProgramBuilder
from wse.compiler.compile import PlaceOptions, compile_model
from wse.compiler.cost import TAKE_IN
from wse.compiler.lower import lower
from wse.compiler.placers import Search
from wse.crosscheck import TokenCheck
from wse.errors import DoesNotFitError
from wse.isa import Col, Command, Op, Port
from wse.machine import Machine
from wse.opcost import cost_by_op
from wse.program import Rect, class_rows
from wse.report import WIDTH, print_report
from wse.runner import Session
from wse.spec import load_spec
from wse.summary import channel_hops, link_wavelets, max_context_fit, summarize

SPEC = load_spec("wse2")
CHECK = TokenCheck("equal", "all equal")


def compiled_for(spec, **how):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wse.compiler.compile.load_model", lambda name, **how: random_model())
        return compile_model("random", spec, **{"dtype": "f32", "context": 16, **how})


@pytest.fixture(scope="module", params=[8192, 48 * 1024], ids=["many PEs", "few PEs"])
def session(request):
    return Session(compiled_for(SPEC.replace(sram_bytes=4176 + request.param)))


@pytest.fixture(scope="module")
def summary(session):
    tokens = list(session.generate([1, 2, 3, 4], 6))
    return summarize(session, [1, 2, 3, 4], tokens, "text", CHECK)


# --- ops --------------------------------------------------------------------------------------------------------------


def two_ops():
    """On 3 PEs "norm", of which 2 also run a "qkv" with a reduce; every PE takes in."""
    builder = ProgramBuilder(SPEC, 3, 1)
    with builder.op(TAKE_IN):
        builder.pes(Rect(0, 0, 3, 1)).mov(builder.reg(), 1.0)
    with builder.op("norm"):
        builder.pes(Rect(0, 0, 3, 1)).mov(builder.reg(), 2.0)
    with builder.op("qkv"):
        builder.pes(Rect(0, 0, 2, 1)).mov(builder.reg(), 3.0)
        with builder.op("reduce"):
            builder.pes(Rect(0, 0, 2, 1)).mov(builder.reg(), 4.0)
    return builder.link()


def test_row_counters_are_summed_over_ops_with_their_collectives_and_shares():
    program = two_ops()
    names = [program.op_names[op] for op in program.row_ops]
    busy = np.array([{"norm": 6, "qkv": 4, "qkv/reduce": 2}.get(name, 0) for name in names])
    elapsed = np.array([{TAKE_IN: 500, "norm": 30, "qkv": 40, "qkv/reduce": 20}.get(name, 0) for name in names])
    copies = names.count("norm")  # the code of a class of its own each
    assert copies == 2 and names.count("qkv") == 1
    records = {record["op"]: record for record in cost_by_op(program, busy, elapsed, num_tokens=5)}
    assert records["norm"] == {
        "op": "norm", "busy_pe_cycles": 12, "elapsed_pe_cycles": 60, "collective_pe_cycles": 0,
        "elapsed_cycles_per_token": 60 / (3 * 5), "elapsed_frac": 60 / 120,
    }  # fmt: skip
    assert records["qkv"] == {
        "op": "qkv", "busy_pe_cycles": 6, "elapsed_pe_cycles": 60, "collective_pe_cycles": 20,
        "elapsed_cycles_per_token": 60 / (2 * 5), "elapsed_frac": 60 / 120,
    }  # fmt: skip
    assert records[TAKE_IN]["elapsed_pe_cycles"] == 1000 and records[TAKE_IN]["elapsed_frac"] is None
    assert set(records) == {TAKE_IN, "norm", "qkv"}  # the ends of programs ran nothing


def test_rows_of_a_class_are_those_its_pes_run():
    program = two_ops()
    machine = Machine(program)
    machine.check(machine.run())
    counters = machine.counters()
    for k, cls in enumerate(program.core_class):
        assert len(class_rows(program.code, program.classes[cls].task_entry)) == counters.instructions[k]


def test_every_busy_cycle_belongs_to_an_op(session, summary):
    counters, opcode = session.machine.counters(), session.compiled.program.code[:, Col.OP]
    control = counters.row_busy[(opcode >= Op.JUMP) & (opcode <= Op.END)].sum()  # branches cost cycles, but have no beats
    assert sum(op["busy_pe_cycles"] for op in summary["ops"]) == counters.busy.sum() + control
    named = {op["op"] for op in summary["ops"]}
    layer = {"attn_norm", "qkv", "rope", "attention", "attn_out", "attn_residual", "ffn_norm", "gate_up", "swiglu", "down", "ffn_residual"}
    assert named >= layer | {TAKE_IN, "cache", "pass_on", "next_token", "final_norm", "logits", "argmax"}
    assert sum(op["elapsed_frac"] or 0 for op in summary["ops"]) == pytest.approx(1)
    assert all(op["busy_pe_cycles"] <= op["elapsed_pe_cycles"] for op in summary["ops"])


# --- figures that add up ----------------------------------------------------------------------------------------------


def test_phases_are_the_whole(session, summary):
    prefill, decode = summary["phases"]["prefill"], summary["phases"]["decode"]
    assert (prefill["tokens"], decode["tokens"]) == (4, 5)
    assert prefill["cycles"] == summary["ttft_cycles"] and decode["cycles_per_token"] == summary["tpot_cycles"]
    assert prefill["cycles"] + decode["cycles"] == summary["cycles_total"] == session.machine.cycles
    total = sum(phase["hops_per_token"] * phase["tokens"] for phase in (prefill, decode))
    assert total == pytest.approx(summary["hops_total"])
    assert summary["tokens_per_s_at_clock"] == pytest.approx(SPEC.clock_hz / summary["tpot_cycles"])


def test_hops_are_what_the_links_carried(session, summary):
    program, counters = session.compiled.program, session.machine.counters()
    links = link_wavelets(program, counters)
    assert links.sum() == channel_hops(program, counters).sum() == summary["hops_total"]
    assert summary["busiest_links"][0]["wavelets"] == links.max()
    assert 0 < summary["link_util_avg"] <= summary["link_util_max"] <= 1


def test_hops_through_a_switch_are_counted_at_the_port_they_left_through():
    builder, here = ProgramBuilder(SPEC, 1, 1), Rect(0, 0, 1, 1)
    builder.switch(here, 0, [(Port.RAMP, [Port.EAST]), (Port.RAMP, [Port.WEST])])
    builder.output("east", 0, 0, 0, Port.EAST)
    builder.output("west", 0, 0, 0, Port.WEST)
    pe = builder.pes(here)
    pe.mov(pe.send(0), pe.zeros("a", 5))
    pe.send_control(0, Command.ADVANCE)
    pe.mov(pe.send(0), pe.zeros("b", 3))
    program = builder.link()
    machine = Machine(program)
    machine.check(machine.run({"west": 3}))
    assert [len(machine.output(name)[0]) for name in ("east", "west")] == [5, 3]  # the spent command goes nowhere
    assert link_wavelets(program, machine.counters()).tolist() == [[0, 5, 0, 3]]
    assert channel_hops(program, machine.counters()).tolist() == [8]


def test_every_pe_cycle_is_in_one_class(summary):
    parts = [n for key, n in summary.items() if key.startswith(("busy_", "stall_"))]
    assert sum(parts) + summary["idle_cycles"] == summary["pe_cycles"] and summary["idle_cycles"] >= 0
    assert summary["pe_active_frac"] == pytest.approx(sum(n for k, n in summary.items() if k.startswith("busy_")) / summary["pe_cycles"])


def test_the_sram_map_fills_the_memory(session, summary):
    sizes = summary["sram_peak_map"]
    assert sum(sizes.values()) == summary["sram_bytes"] == session.compiled.spec.sram_bytes
    assert all(size >= 0 for size in sizes.values())
    inside = sizes["weights_bytes"] + sizes["kv_cache_bytes"] + sizes["activations_bytes"]
    assert inside == sum(array["bytes"] for array in summary["sram_peak_arrays"])
    assert {a["name"] for a in summary["sram_peak_arrays"] if a["kind"] == "kv_cache"} <= {"keys", "values"}
    config = session.compiled.model.config
    assert summary["kv_bytes_per_token"] == config.n_layers * 2 * config.kv_dim * 4


def test_the_largest_context_fits_and_one_more_slot_does_not(session):
    c = session.compiled
    most = max_context_fit(c)
    assert most >= c.context
    build = lambda context: lower(c.model, c.spec, c.blocks, c.placement, c.nets, c.dtype, context)  # noqa: E731
    build(most)
    with pytest.raises(DoesNotFitError):
        build(most + 1)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_no_token_takes_fewer_cycles_than_its_bound(session, summary):
    assert summary["lower_bound_cycles"] < summary["tpot_cycles"] and summary["ttft_lower_bound_cycles"] < summary["ttft_cycles"]
    assert summary["lower_bound_ratio"] == pytest.approx(summary["tpot_cycles"] / summary["lower_bound_cycles"])
    for block in summary["blocks"]:
        parts = {part: block[f"lower_bound_{part}_cycles"] for part in ("arithmetic", "distance", "transfer", "last_op")}
        most = max(parts["arithmetic"] - parts["last_op"], parts["distance"]) + max(parts["last_op"], parts["transfer"])
        assert block["lower_bound_cycles"] == most
        # arithmetic is spread evenly: the busiest PE does at least its share
        assert block["busiest_pe_cycles_per_token"] >= parts["arithmetic"]
    decoded = range(4, 9)
    by_token = [sum(bound.cycles for bound in token_bounds(session.compiled, position)) for position in decoded]
    assert sum(bound.cycles for bound in mean_bounds(session.compiled, decoded)) <= np.mean(by_token) + 1e-6


def test_arithmetic_of_each_op_by_hand():
    compiled = compiled_for(SPEC)
    spec = SPEC.replace(fma_lanes=2, add_cycles=3, special_cycles=10)
    c = compiled.model.config  # dim 24, hidden 40, 4 heads of 6 on 2 kv heads, 300 words
    expected = {
        "L0.attn_norm": 2 * 24 * 3 + 10,
        "L0.qkv": (24 + 12 + 12) * 24 / 2,
        "L0.rope": (24 + 12) / 2 * (3 * 2 + 2 / 2) + c.head_size * 10,
        "L0.attention": 2 * 8 * 24 / 2 + 2 * 8 * 4 * 3 + (8 + 1) * 4 * 10,
        "L0.attn_residual": 24 * 3,
        "L0.swiglu": 40 * (3 + 10),
        "L0.down": 40 * 24 / 2,
        "logits": 300 * 24 / 2,
        "argmax": 299 * 3,
    }
    for name, cycles in expected.items():
        assert arithmetic_cycles(spec, compiled.graph.op(name), position=7) == pytest.approx(cycles), name


def test_a_measurement_below_the_bound_is_our_bug_and_not_a_success(session):
    session = Session(session.compiled)
    tokens = list(session.generate([5], 2))
    for impossible in ([0, 0], [tokens[0].cycle, tokens[0].cycle + 1]):
        fake = [dataclasses.replace(token, cycle=cycle) for token, cycle in zip(tokens, impossible, strict=True)]
        with pytest.raises(AssertionError, match="below the bounds"):
            summarize(session, [5], fake, "", CHECK)


# --- predictions ------------------------------------------------------------------------------------------------------


def test_hops_are_as_predicted_to_the_last_one_and_cycles_within_three_per_cent(summary):
    assert summary["predicted_hops_per_token"] == pytest.approx(summary["hops_per_token"], rel=1e-12)
    assert summary["cycles_per_token"] == pytest.approx(summary["predicted_cycles_per_token"], rel=0.03)
    for block in summary["blocks"]:
        assert block["predicted_hops_per_token"] == pytest.approx(block["hops_per_token"], rel=1e-12), block["name"]
        assert block["cycles_per_token"] == pytest.approx(block["predicted_cycles_per_token"], rel=0.06), block["name"]
    ops = {op["op"]: op for op in summary["ops"]}
    for name in ("gate_up", "down", "qkv", "attn_out", "swiglu", "logits"):
        assert ops[name]["elapsed_cycles_per_token"] == pytest.approx(ops[name]["predicted_cycles_per_token"], rel=0.15), name
    assert ops["pass_on"]["predicted_cycles_per_token"] is None  # it is the nets'


def test_what_passes_in_collectives_is_counted_for_every_op_that_has_one(summary):
    ops = {op["op"]: op for op in summary["ops"]}
    along_y = ("attn_norm", "qkv", "attention", "ffn_norm", "gate_up", "logits")  # of blocks with more than one row
    for name in ("attn_out", "down", *(along_y if summary["num_pes"] > 10 else ())):
        assert 0 < ops[name]["collective_pe_cycles"] < ops[name]["elapsed_pe_cycles"], name
    assert not any(ops[name]["collective_pe_cycles"] for name in ("rope", "swiglu", "ffn_residual"))


@pytest.mark.parametrize("placer", ["greedy", "anneal"])
def test_hops_inside_every_rectangle_are_as_predicted_wherever_nets_pass(placer):
    compiled = compiled_for(SPEC.replace(sram_bytes=4176 + 8192), mesh=(60, 60), options=PlaceOptions(placer, search=Search(moves=20_000)))
    session = Session(compiled)
    tokens = list(session.generate([1, 2, 3], 3))
    summary = summarize(session, [1, 2, 3], tokens, "", CHECK)
    assert summary["predicted_hops_per_token"] == pytest.approx(summary["hops_per_token"], rel=1e-12)
    for block in summary["blocks"]:
        assert block["predicted_hops_per_token"] == pytest.approx(block["hops_per_token"], rel=1e-12), block["name"]


def test_logits_that_leave_are_not_predicted(session):
    session = Session(compiled_for(session.compiled.spec, head="logits"), lambda logits: int(logits.argmax()))
    summary = summarize(session, [1], list(session.generate([1], 2)), "", CHECK)
    assert summary["predicted_cycles_per_token"] is None and summary["predicted_hops_per_token"] is None
    assert {block["predicted_cycles_per_token"] for block in summary["blocks"]} == {None}
    assert "predicted" not in printed(summary).partition("cycles per token")[0]


# --- text -------------------------------------------------------------------------------------------------------------


def printed(summary, **console):
    file = io.StringIO()
    print_report(summary, Console(file=file, **console))
    return file.getvalue()


def test_the_report_is_one_plain_screen(summary):
    text = printed(summary)
    lines = text.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= WIDTH
    assert "\x1b" not in text and all(line == line.rstrip() for line in lines)
    words = "TTFT, TPOT, lower bound, prefill, decode, gate_up, final, stall, weights, kv cache, would fit, busiest links, not modelled"
    for word in ("tokens  4 in, 6 out; check equal", f"{summary['ttft_cycles']:,}", *words.split(", ")):
        assert word in text


def test_the_report_has_color_on_a_terminal_and_the_same_words(summary):
    colored = printed(summary, force_terminal=True, width=100, color_system="standard", legacy_windows=False)
    assert "\x1b[" in colored
    narrow = printed(summary, force_terminal=True, width=60, color_system=None)
    assert max(map(len, narrow.splitlines())) <= 60


def test_one_token_has_a_report_too(session):
    fresh = Session(session.compiled)
    one = summarize(fresh, [1, 2], list(fresh.generate([1, 2], 1)), "", CHECK)
    assert one["tpot_cycles"] is None and one["tokens_per_s_at_clock"] is None and "decode" not in one["phases"]
    assert json.loads(json.dumps(one)) == one
    assert "one token alone has none" in printed(one)


def test_blocks_that_are_alike_share_a_row_and_many_are_cut_short(summary):
    blocks = [{**summary["blocks"][0], "name": f"layer {i}", "lower_bound_cycles": 100.0 + i // 2} for i in range(40)]
    text = printed({**summary, "blocks": blocks})
    assert "layer 0 +1" in text and "28 more" in text
