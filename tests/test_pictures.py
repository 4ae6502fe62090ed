"""What pictures, the terminal and notebooks show is what was counted."""

import base64
import dataclasses
import io
import re
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from rich.console import Console
from runs import made_up_run

from wse.compiler.place import Placement
from wse.errors import ConfigError, UnsupportedError
from wse.program import Rect
from wse.view.metrics import METRICS, coarse, find_metric, values
from wse.view.notebook import heat_png
from wse.view.plot import plot, save_plot
from wse.view.tables import BUSY, STALL
from wse.view.terminal import print_mesh


@pytest.fixture(scope="module")
def run():
    return made_up_run(20, 12, num_intervals=2, seed=5)


def without_code(run, x, y):
    """The same run, but PE (x, y) has neither code nor routes."""
    there = (run.pes["x"] == x) & (run.pes["y"] == y)
    routed = (run.links["x"] == x) & (run.links["y"] == y)
    pes, links = ({n: c[~gone] for n, c in t.items()} for t, gone in ((run.pes, there), (run.links, routed)))
    return dataclasses.replace(run, pes=pes, links=links)


def test_metrics_are_shares_of_the_cycles_that_were_counted(run):
    at = 3 * 20 + 7
    busy, stall = (sum(int(run.pes[name][at]) for name in names) for names in (BUSY, STALL))
    assert values(run, find_metric("active"))[3, 7] == pytest.approx(100 * busy / run.cycles)
    assert values(run, find_metric("stall"))[3, 7] == pytest.approx(100 * stall / run.cycles)
    assert values(run, find_metric("idle"))[3, 7] == pytest.approx(100 - 100 * (busy + stall) / run.cycles)
    mine = (run.links["x"] == 7) & (run.links["y"] == 3)
    loads = [run.links["sent"][mine & (run.links["tx"] == 1 << port)].sum() for port in range(4)]
    assert values(run, find_metric("link_load"))[3, 7] == pytest.approx(100 * max(loads) / run.cycles)
    assert values(run, find_metric("sram"))[3, 7] == 30_400 + 3000 + 4176
    assert values(run, find_metric("instructions"))[3, 7] == pytest.approx(1000 * run.pes["instructions"][at] / run.cycles)


def test_every_metric_has_a_value_where_there_is_code_and_none_elsewhere(run):
    bare = without_code(run, 4, 5)
    for metric in METRICS:
        grid = values(bare, metric)
        assert np.isnan(grid[5, 4]) and np.isnan(grid).sum() == 1 and np.nanmin(grid) >= 0, metric.id
    assert len({metric.id for metric in METRICS}) == len(METRICS)


def test_tiles_are_means_of_their_pes_and_leave_out_those_without():
    grid = np.array([[1, 3, 5], [np.nan, 2, np.nan], [4, 4, np.nan]])
    np.testing.assert_array_equal(coarse(grid, 2), [[2, 5], [4, np.nan]])
    np.testing.assert_array_equal(coarse(grid, 1), grid)


def test_the_terminal_shows_the_mesh_with_its_scale(run):
    text = io.StringIO()
    print_mesh(without_code(run, 0, 0), find_metric("sram"), Console(file=text, force_terminal=True, color_system="truecolor", width=80))
    lines = text.getvalue().splitlines()
    assert "SRAM in use, 20x12 PEs" in lines[0] and len(lines) == 2 + 6
    assert "▄" in lines[1] and lines[1].count("▀") == 19  # the PE without code is left blank above
    assert len(set(re.findall(r"38;2;(\d+;\d+;\d+)", lines[2]))) == 4  # one for each class
    assert "0 to 4.358e+04 B" in lines[-1]


@pytest.mark.parametrize("size", [(750, 994), (3, 1), (1, 1)])
def test_the_terminal_fits_any_mesh_into_its_width(size):
    text = io.StringIO()
    big = made_up_run(*size, num_intervals=1, blocks=1, colors=1)
    print_mesh(big, find_metric("active"), Console(file=text, color_system=None, width=60, height=40))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 60 and 3 <= len(lines) <= 40
    assert ("tiles of 16x16 PEs" in lines[0]) == (size == (750, 994))
    assert set("".join(lines[1:-1])) & set("░▒▓█")


def test_pictures_are_files_of_their_kind_and_show_every_block(run, tmp_path):
    save_plot(run, find_metric("active"), tmp_path / "a.png")
    save_plot(run, find_metric("active"), tmp_path / "a.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    ax = plot(run, find_metric("link_load"))
    assert [label.get_text() for label in ax.texts] == [name for name, _ in run.blocks]
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(np.asarray(shown), values(run, find_metric("link_load")))
    with pytest.raises(ConfigError, match=r"\.png or \.svg"):
        save_plot(run, find_metric("active"), tmp_path / "a.bmp")


def test_a_missing_matplotlib_is_said_with_what_helps(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UnsupportedError, match="matplotlib") as error:
        plot(run, find_metric("active"))
    assert "wse[plot]" in error.value.help


def test_a_notebook_shows_runs_and_placements_as_well_formed_drawings(run):
    named = dataclasses.replace(run, summary={**run.summary, "model": "a < b & c"})
    placement = Placement(8, 4, (Rect(0, 0, 4, 4), Rect(4, 0, 4, 2)), ("layer 0", "<final>"))
    for shown, words in ((named, "a < b & c"), (placement, "2 blocks on 8x4 PEs")):
        tree = ET.fromstring(shown._repr_html_())
        assert words in "".join(tree.itertext())
    assert "(4,0)-(7,1)" in placement._repr_html_()


def test_the_heat_of_a_notebook_is_a_png_with_the_levels_in_it():
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    levels = np.array([[0.0, 0.5, 1.0], [np.nan, 1.0, 0.0]])
    image = imread(io.BytesIO(heat_png(levels)))
    assert image.shape == (2, 3, 4)
    np.testing.assert_array_equal(image[..., 3], [[1, 1, 1], [0, 1, 1]])
    brightness = image[0, :, :3].sum(axis=1)
    assert (np.diff(brightness) < 0).all() and (image[0, 2] == image[1, 1]).all()


def test_the_drawing_of_a_run_holds_that_png(run):
    data = re.search(r"base64,([^\"]+)", run._repr_html_())[1]
    assert base64.b64decode(data).startswith(b"\x89PNG")
