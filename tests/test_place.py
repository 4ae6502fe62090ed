"""Placers: legal, stable for a seed, never below the bound, constraints kept, refusals with the reason and what would help."""

import json
import math
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_model import SPEC

from wse.compiler.constraints import RELATIONS, Constraints, Relation, Span, parse_constraints, read_constraints, touching
from wse.compiler.model import ModelConfig
from wse.compiler.partition import Partitioner
from wse.compiler.place import Placement, read_placement
from wse.compiler.placers import PLACERS, Search, find_placement
from wse.compiler.placers.problem import Problem, make_problem
from wse.compiler.route import FIRST_NET_COLOR, report_routes, route
from wse.errors import ConfigError, DoesNotFitError, WseError
from wse.program import Rect

QUICK = Search(seed=3, starts=2, moves=4_000)
SMALL = SPEC.replace(sram_bytes=4096 + 4176 + 3000)
CONSTRAINED = ("greedy", "spectral", "anneal")


def small_problem(mesh=(30, 30), split="layer", layers=3, objective="both", constraints=None, spec=SMALL, config=None):
    config = config or ModelConfig(24, 40, layers, 3, 3, 8, 37, 32)
    return make_problem(Partitioner(config, spec, "f32", 16), mesh, split, objective, constraints)


configs = st.builds(
    lambda dim, hidden, layers, kv, group, half, vocab: ModelConfig(dim, hidden, layers, kv * group, kv, 2 * half, vocab, 32),
    st.integers(4, 40), st.integers(4, 60), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 6), st.integers(5, 60),
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    config=configs, placer=st.sampled_from(["snake", "greedy", "spectral", "anneal"]), split=st.sampled_from(["layer", "half"]),
    objective=st.sampled_from(["both", "cycles", "hops"]), width=st.integers(4, 40), height=st.integers(4, 40), seed=st.integers(0, 9),
)  # fmt: skip
def test_a_placer_returns_a_legal_placement_the_same_for_a_seed_or_refuses(config, placer, split, objective, width, height, seed):
    search = Search(seed=seed, starts=2, moves=2_000)
    try:
        problem = small_problem((width, height), split, objective=objective, config=config)
        placement = find_placement(problem, placer, search)
    except DoesNotFitError:
        return
    problem.verify(placement)
    assert find_placement(problem, placer, search) == placement
    cost = problem.cost(placement)
    assert problem.weigh(cost) >= problem.lower_bound * (1 - 1e-9)
    assert cost.hops >= problem.bounds.hops * (1 - 1e-9) and cost.cycles >= problem.bounds.cycles * (1 - 1e-9)
    check_routes(placement, config.dim)


def check_routes(placement: Placement, dim: int) -> None:
    """Every net reaches every PE it must, no color has two routes in one router, and links lead where a router takes them."""
    nets = route(placement, dim, SPEC.num_colors)
    taken = {}
    for net in nets:
        assert all(pe in {pe for lane in net.lanes for pe in lane.hops} for pe in (*net.exits, *net.entries))
        for lane in net.lanes:
            assert FIRST_NET_COLOR <= lane.color < SPEC.num_colors
            for pe, hop in lane.hops.items():
                assert taken.setdefault((pe, lane.color), id(lane)) == id(lane), "two lanes of one color meet"
                assert hop[1]
    for net, rect in zip(nets, placement.rects, strict=False):
        if net.kind == 0:  # straight into the rows
            reached = {pe for lane in net.lanes for pe, (_, tx) in lane.hops.items() if 4 in tx}
            rows = len(net.lanes)
            assert reached == {(x, y) for x in range(rect.x, rect.x + rect.width) for y in range(rect.y, rect.y + rows)}


@pytest.mark.parametrize("split", ["layer", "half"])
def test_a_model_of_135_million_parameters_is_placed_and_routed_within_5_per_cent_of_the_bound_in_a_minute(split):
    """The shape of SmolLM2-135M, 100 x 100 PEs, 128 positions."""
    config = ModelConfig(576, 1536, 30, 9, 3, 64, 49152, 8192)
    started = time.perf_counter()
    problem = make_problem(Partitioner(config, SPEC, "f16", 128), (100, 100), split, "hops")
    placement = find_placement(problem, "anneal", Search(starts=2, moves=200_000))
    nets = route(placement, config.dim, SPEC.num_colors)
    assert time.perf_counter() - started <= 60
    assert placement.about["gap_frac"] <= 0.05
    assert max(report_routes(nets).routers_by_colors) <= SPEC.num_colors - FIRST_NET_COLOR
    snake = find_placement(problem, "snake", Search())
    assert problem.cost(placement).hops < problem.cost(snake).hops


def test_anneal_is_no_worse_than_any_other_and_exact_no_worse_than_anneal():
    pytest.importorskip("ortools")
    problem = small_problem((14, 14), layers=2, objective="hops")
    value = {name: problem.weigh(problem.cost(find_placement(problem, name, Search(starts=4, moves=60_000)))) for name in PLACERS}
    assert value["anneal"] <= min(value["snake"], value["greedy"], value["spectral"]) + 1e-12
    exact = find_placement(problem, "exact", Search(time_budget=60))
    assert exact.about["proved_optimal"] and value["exact"] <= value["anneal"] + 1e-9
    assert problem.lower_bound <= exact.about["proved_bound"] + 1e-6


def test_the_exact_model_costs_a_placement_as_the_problem_does():
    """With everything pinned the solver has one answer, whose cost must be the problem's."""
    pytest.importorskip("ortools")
    problem = small_problem((40, 40), layers=3)
    for seed in range(3):
        rects = find_placement(problem, "anneal", Search(seed=seed, starts=1, moves=200)).rects
        names = dict(zip(problem.names, rects, strict=True))
        pins = Constraints(pins={n: (r.x, r.y) for n, r in names.items()}, shapes={n: (r.width, r.height) for n, r in names.items()})
        placement = find_placement(small_problem((40, 40), layers=3, constraints=pins), "exact", Search())
        assert placement.rects == rects and placement.about["proved_optimal"]
        assert placement.about["proved_bound"] == pytest.approx(placement.about["objective_value"], rel=1e-5)


def test_without_ortools_the_exact_placer_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ortools.sat.python", None)
    with pytest.raises(WseError, match="OR-tools") as error:
        find_placement(small_problem(), "exact", QUICK)
    assert error.value.exit_code == 6 and "wse[search]" in error.value.help


# --- constraints ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("placer", CONSTRAINED)
def test_constraints_are_kept(placer):
    entries = [
        {"block": "layer 1", "at": [5, 7]},
        {"block": "layer 0", "rows": "10..", "columns": "..20"},
        {"block": "layer 2", "same_column_as": "layer 1"},
        {"block": "final", "next_to": "layer 2"},
        {"keep_out": [0, 0, 3, 30]},
    ]
    names = small_problem().names
    problem = small_problem(constraints=parse_constraints(entries, names, "test"))
    placement = find_placement(problem, placer, QUICK)
    where = dict(zip(names, placement.rects, strict=True))
    assert (where["layer 1"].x, where["layer 1"].y) == (5, 7)
    assert where["layer 0"].y >= 10 and where["layer 0"].x + where["layer 0"].width <= 21
    assert where["layer 2"].x == 5
    assert touching(where["final"], where["layer 2"])
    assert all(rect.x >= 3 for rect in placement.rects)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_random_constraints_are_kept_or_refused(data):
    names = small_problem().names
    spans = {n: Span(a, a + d) for n, a, d in data.draw(st.lists(
        st.tuples(st.sampled_from(names), st.integers(0, 20), st.integers(3, 12)), max_size=2, unique_by=lambda t: t[0]))}  # fmt: skip
    pins = {n: (x, y) for n, x, y in data.draw(st.lists(
        st.tuples(st.sampled_from(names), st.integers(0, 25), st.integers(0, 25)), max_size=2, unique_by=lambda t: t[0]))}  # fmt: skip
    keep_out = tuple(Rect(x, y, 4, 5) for x, y in data.draw(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=2)))
    pairs = st.tuples(st.sampled_from(RELATIONS), st.sampled_from(names[:2]), st.sampled_from(names[2:]))
    relations = tuple(Relation(*relation) for relation in data.draw(st.lists(pairs, max_size=1)))
    wishes = Constraints(pins=pins, spans=spans, relations=relations, keep_out=keep_out)
    try:
        problem = small_problem(constraints=wishes)
        placement = find_placement(problem, data.draw(st.sampled_from(CONSTRAINED)), QUICK)
    except DoesNotFitError as error:
        assert error.message
        return
    assert wishes.broken(placement) is None


def test_the_snake_refuses_constraints_it_cannot_keep():
    with pytest.raises(ConfigError, match="snake"):
        find_placement(small_problem(constraints=Constraints(pins={"layer 0": (3, 3)})), "snake", QUICK)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"block": "layer 9", "at": [0, 0]}, "did you mean"),
        ({"block": "layer 1", "rows": "5..3"}, "ends before it begins"),
        ({"block": "layer 1", "rowz": "3"}, "did you mean 'rows'"),
        ({"block": "layer 1", "at": [1]}, "2 whole numbers"),
        ({"block": "layer 1", "input": "up"}, "one of north"),
        ({"keep_out": [0, 0, 0, 4]}, "empty"),
    ],
)
def test_a_constraint_that_makes_no_sense_is_named(entry, words):
    with pytest.raises(ConfigError) as error:
        parse_constraints([entry], small_problem().names, "wishes.json")
    assert words in error.value.render() and "wishes.json: constraint 0" in error.value.render()


def test_pinned_blocks_of_a_placement_file_stay(tmp_path):
    problem = small_problem()
    file = tmp_path / "placement.json"
    find_placement(problem, "greedy", QUICK).write(file)
    table = json.loads(file.read_text())
    table["blocks"][1] |= {"pinned": True, "x": 20, "y": 20}
    file.write_text(json.dumps(table))
    wishes = read_constraints(file, problem.names)
    assert wishes.pins == {"layer 1": (20, 20)}
    again = find_placement(small_problem(constraints=wishes), "anneal", QUICK)
    assert again.rects[1] == Rect(20, 20, table["blocks"][1]["width"], table["blocks"][1]["height"])


# --- files ------------------------------------------------------------------------------------------------------------------


def test_a_placement_file_reads_back_as_what_was_written(tmp_path):
    placement = find_placement(small_problem(), "snake", QUICK)
    turned = Placement(30, 30, placement.rects, placement.names, (0, 1, 2, 3), (3, 2, 1, -1), {"by": "hand"})
    turned.write(tmp_path / "p.json")
    assert read_placement(tmp_path / "p.json") == turned
    assert read_placement(tmp_path / "p.json").about == {"by": "hand"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update(schema=1), "schema 1 is not 3"),
        (lambda t: t.pop("mesh"), "mesh"),
        (lambda t: t.update(mesh=[30]), "mesh wants 2 whole numbers"),
        (lambda t: t.update(abuot={}), "unknown key 'abuot'"),
        (lambda t: t.update(about=3), "'about' wants an object, not 3"),
        (lambda t: t["blocks"][0].update(x="far"), r"block 0 \('layer 0'\): x wants a whole number, not 'far'"),
        (lambda t: t["blocks"][0].update(x=1.7), "x wants a whole number, not 1.7"),
        (lambda t: t["blocks"][0].update(x=True), "x wants a whole number, not True"),
        (lambda t: t["blocks"][0].pop("width"), r"block 0 \('layer 0'\) has no width"),
        (lambda t: t["blocks"][0].update(widht=3), "unknown key 'widht'"),
        (lambda t: t["blocks"][0].update(input="inside"), "input wants a side, one of north, east, south, west, not 'inside'"),
        (lambda t: t["blocks"][0].update(pinned="yes"), "pinned wants true or false"),
        (lambda t: t["blocks"][0].update(skipped_rows=3), "skipped_rows wants a list of whole numbers"),
        (lambda t: t["blocks"][0].pop("name"), "block 0 has no name"),
        (lambda t: t["blocks"].append(t["blocks"][0]), "'layer 0' is there twice"),
        (lambda t: t["blocks"].insert(0, 7), "block 0 wants an object"),
        (lambda t: t.update(blocks=3), "'blocks' wants a list"),
    ],
)
def test_a_broken_placement_file_is_refused(tmp_path, change, words):
    file = tmp_path / "p.json"
    find_placement(small_problem(), "snake", QUICK).write(file)
    table = json.loads(file.read_text())
    change(table)
    file.write_text(json.dumps(table))
    with pytest.raises(ConfigError, match=words) as error:
        read_placement(file)
    assert error.value.message.startswith(str(file))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda names: names[:-1], "missing: 'final'"),
        (lambda names: ["layer 7", *names[1:]], "missing: 'layer 0'"),
        (lambda names: ["layer 7", *names[1:]], "not of the model: 'layer 7'"),
        (lambda names: names[::-1], "block 0 of the placement is 'final', the model's is 'layer 0'"),
    ],
)
def test_a_placement_of_other_blocks_says_which_are_missing_or_in_another_order(change, words):
    config = ModelConfig(24, 40, 3, 3, 3, 8, 37, 32)
    names = change(["layer 0", "layer 1", "layer 2", "final"])
    placement = Placement(99, 9, tuple(Rect(9 * i, 0, 9, 9) for i in range(len(names))), tuple(names))
    with pytest.raises(ConfigError) as error:
        placement.blocks(Partitioner(config, SMALL, "f32", 16))
    assert words in error.value.render()


# --- why it did not place -----------------------------------------------------------------------------------------------------


def refusal(problem: Problem) -> str:
    with pytest.raises(DoesNotFitError) as error:
        find_placement(problem, "greedy", QUICK)
    return error.value.render()


def test_too_few_pes_says_how_many_are_needed_and_which_mesh_would_do():
    text = refusal(small_problem((7, 4), layers=3))
    assert "PEs needed, 28 free" in text and "--mesh" in text
    mesh = tuple(int(n) for n in text.split("--mesh ")[1].split()[0].split("x"))
    find_placement(small_problem(mesh, layers=3), "greedy", QUICK)


def test_a_block_too_wide_is_named_with_its_shapes():
    text = refusal(small_problem((2, 200), layers=1))
    assert "block 'layer 0' does not fit: it needs" in text and "its shapes" in text


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"pins": {"layer 0": (29, 29)}}, "outside"),
        ({"pins": {"layer 0": (0, 0), "layer 1": (1, 1)}}, "both pinned, overlap"),
        ({"pins": {"layer 0": (0, 0)}, "keep_out": (Rect(0, 0, 2, 2),)}, "keep-out area"),
        ({"relations": (Relation("same_column_as", "layer 0", "layer 1"),), "pins": {"layer 0": (0, 0), "layer 1": (12, 0)}}, "without"),
    ],
)
def test_the_constraint_in_the_way_is_found_and_dropping_it_helps(wishes, words):
    text = refusal(small_problem(constraints=Constraints(**wishes)))
    assert words in text and "without" in text and "it fits" in text


def test_rows_and_columns_are_grown_before_they_are_given_up():
    text = refusal(small_problem(constraints=Constraints(spans={f"layer {i}": Span(0, 1, 0, 11) for i in range(3)})))
    assert "36 PEs needed, 24 free" in text and "rows 0..1, columns 0..17 for 'layer 0' and 2 more would do" in text


@pytest.mark.parametrize(("layers", "mesh"), [(5, (12, 7)), (7, (12, 9)), (9, (18, 7))])
def test_the_spectral_placer_places_on_a_mesh_with_no_row_of_blocks_to_spare(layers, mesh):
    problem = small_problem(mesh, layers=layers)
    assert max(shape.width * shape.height for shape in problem.shapes[0][:1]) * layers > 0.65 * problem.mesh.num_pes
    find_placement(problem, "spectral", QUICK)


def test_a_search_cut_short_is_legal_all_the_same():
    problem = small_problem((24, 24))
    placement = find_placement(problem, "anneal", Search(time_budget=0.0, moves=10**9))
    problem.verify(placement)


def test_improvements_are_told_as_they_come():
    told = []
    problem = small_problem((24, 24), layers=4, objective="hops")
    find_placement(problem, "anneal", Search(starts=1, moves=50_000, on_best=lambda *best: told.append(best)))
    gaps = [gap for _, gap, _ in told]
    assert all(math.isfinite(gap) and gap >= -1e-9 for gap in gaps)
