"""Routing: cheapest paths, detours where routers are full, colors that never meet, refusals that name the router."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wse.compiler.path import find_path
from wse.compiler.place import Placement
from wse.compiler.route import FIRST_NET_COLOR, report_routes, route
from wse.errors import DoesNotFitError
from wse.isa import OPPOSITE, PORT_STEP, Port
from wse.program import Rect


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_path_is_as_cheap_as_networkx_says(data):
    width, height = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    cost, link_cost = rng.integers(0, 4, (height, width), np.int32), rng.integers(0, 3, (height, width, 4), np.int32)
    pes = [(x, y) for x in range(width) for y in range(height)]
    start, end = data.draw(st.sampled_from(pes)), data.draw(st.sampled_from(pes))
    closed = set(data.draw(st.lists(st.sampled_from(pes), max_size=12))) - {start}
    graph = nx.DiGraph()
    graph.add_nodes_from(pes)
    for x, y in pes:
        for port, (dx, dy) in PORT_STEP.items():
            there = (x + dx, y + dy)
            if there in graph and (there not in closed or there == end) and ((x, y) not in closed):
                graph.add_edge((x, y), there, weight=1 + int(cost[there[1], there[0]]) + int(link_cost[y, x, port]))
    path = find_path(cost, link_cost, start, end, closed, np.zeros((height, width), bool))
    if not nx.has_path(graph, start, end):
        assert path == []
        return
    assert path[0] == start and path[-1] == end and not closed & set(path[1:-1])
    total = sum(graph.edges[a, b]["weight"] for a, b in itertools.pairwise(path))
    assert total == nx.shortest_path_length(graph, start, end, weight="weight")


def check(nets, placement):
    """Every lane is one connected tree from its source; colors of lanes that meet differ."""
    seen = {}
    for net in nets:
        for lane, start in zip(net.lanes, net.exits, strict=True):
            reached, order = set(), [start]
            while order:
                pe = order.pop()
                assert pe not in reached, "a lane meets itself"
                reached.add(pe)
                for port in lane.hops[pe][1] - {Port.RAMP}:
                    there = (pe[0] + PORT_STEP[port][0], pe[1] + PORT_STEP[port][1])
                    if 0 <= there[0] < placement.width and 0 <= there[1] < placement.height:
                        assert lane.hops[there][0] == OPPOSITE[port]
                        order.append(there)
            assert reached == set(lane.hops)
            for pe in lane.hops:
                assert (pe, lane.color) not in seen
                seen[pe, lane.color] = lane


IN_THE_WAY = Placement(24, 11, (Rect(1, 5, 2, 1), Rect(18, 5, 2, 1), Rect(9, 5, 2, 1)), ("a", "b", "c"))
"""a -> b runs straight through c, whose results run straight through b: three colors, or two with detours."""


@pytest.mark.parametrize(("num_net_colors", "detour"), [(8, 2), (3, 2), (2, 6)])
def test_nets_make_detours_where_colors_are_short(num_net_colors, detour):
    nets = route(IN_THE_WAY, 8, FIRST_NET_COLOR + num_net_colors)
    check(nets, IN_THE_WAY)
    assert {lane.color - FIRST_NET_COLOR for net in nets for lane in net.lanes} == set(range(min(num_net_colors, 3)))
    report = report_routes(nets)
    assert report.detour_links == detour and max(report.routers_by_colors) <= num_net_colors
    assert sum(report.routers_by_colors.values()) == len({pe for net in nets for lane in net.lanes for pe in lane.hops})


def test_too_few_colors_name_the_router_and_the_nets():
    with pytest.raises(DoesNotFitError) as error:
        route(IN_THE_WAY, 8, FIRST_NET_COLOR + 1)
    text = error.value.render()
    assert "colors, 1 are left" in text and "the fullest router, of PE (" in text and " -> " in text


def test_a_trunk_goes_round_its_own_tail():
    """Entering at the far side, the straight way would run down the entry's own column."""
    placement = Placement(12, 12, (Rect(0, 0, 2, 2), Rect(4, 4, 1, 5)), ("a", "b"), (-1, int(Port.SOUTH)), (int(Port.SOUTH), -1))
    nets = route(placement, 8, 24)
    check(nets, placement)
    assert nets[1].entries == tuple((4, y) for y in range(4, 9))


def test_two_trunks_do_not_share_a_link_when_a_short_detour_avoids_it():
    placement = Placement(20, 9, (Rect(0, 0, 1, 3), Rect(8, 1, 1, 2), Rect(1, 4, 1, 1), Rect(8, 5, 1, 2)), tuple("abcd"))
    nets = route(placement, 8, 24)
    check(nets, placement)
    assert report_routes(nets).most_shared == 1


def test_a_full_wafer_is_routed_in_arrays():
    rects = tuple(Rect(x, y, 5, 4) for x, y in [(0, 0), (700, 900), (10, 700), (600, 20), (300, 400)])
    nets = route(Placement(750, 994, rects, tuple("abcde")), 8, 24)
    check(nets, Placement(750, 994, rects, tuple("abcde")))
