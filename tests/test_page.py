"""The page of a run in a real browser: it loads without a word in the console, and what one does changes what is shown."""

import dataclasses
import json
import re
import statistics

import numpy as np
import pytest
from browser import open_browser, until, visit
from runs import made_up_run

from wse.defects import Defects
from wse.errors import DoesNotFitError
from wse.view import payload
from wse.view.page import SCRIPTS, build_page, bundle
from wse.view.payload import narrow, squeeze

MB = 1_000_000

# after the handlers of the next click are done and its frame is painted, window.latency is how long that took
TIME_A_CLICK = """
window.latency = null;
addEventListener("pointerup", () => {
  const start = performance.now();
  new MutationObserver((_, observer) => {
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.latency = performance.now() - start; }));
  }).observe(document.getElementById("panel"), { childList: true });
}, { capture: true, once: true });
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def write(path, runs):
    path.write_text(build_page(runs))
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Made-up runs as pages; noise is the worst case for their size."""
    folder = tmp_path_factory.mktemp("pages")
    small, other = made_up_run(20, 12, noise=False), made_up_run(20, 12, seed=1)
    return {
        "small": write(folder / "small.html", {"small": other}),
        "two": write(folder / "two.html", {"A: one": small, "B: two": other}),
        "unlike": write(folder / "unlike.html", {"A: one": small, "B: wide": made_up_run(40, 8, num_intervals=7)}),
        "hundred": write(folder / "hundred.html", {"hundred": made_up_run(100, 100, colors=10, free_rows=60)}),
        "wafer": write(folder / "wafer.html", {"wafer": made_up_run(750, 994, colors=2)}),
    }


def pixels(driver, index=0):
    """What a mesh's canvas shows."""
    return driver.execute_script(f"return document.querySelectorAll('canvas.mesh')[{index}].toDataURL()")


def text(driver, selector):
    return driver.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def choose(driver, select, value):
    script = "const node = document.getElementById(arguments[0]); node.value = arguments[1]; node.dispatchEvent(new Event('change'))"
    driver.execute_script(script, select, value)


def click(driver, across, down, index=0):
    """A real click on a mesh, at parts of its width and height."""
    from selenium.webdriver import ActionChains

    canvas = driver.find_elements("css selector", "canvas.mesh")[index]
    size = canvas.size
    ActionChains(driver).move_to_element_with_offset(
        canvas, round(size["width"] * (across - 0.5)), round(size["height"] * (down - 0.5))
    ).click().perform()


def selected(driver):
    """Which PE the panel is about."""
    x, y = re.match(r"PE \((\d+), (\d+)\)", text(driver, "#panel")).groups()
    return int(x), int(y)


def complaints(driver):
    return [entry["message"] for entry in driver.get_log("browser")]


@pytest.mark.parametrize("name", ["small", "two", "unlike", "hundred", "wafer"])
def test_a_page_loads_without_a_complaint_in_both_themes(driver, pages, name):
    visit(driver, pages[name])
    light = pixels(driver)
    driver.find_element("id", "theme").click()
    assert pixels(driver) != light
    for metric in driver.execute_script("return [...document.getElementById('metric').options].map((option) => option.value)"):
        choose(driver, "metric", metric)
    assert complaints(driver) == []


def test_defects_are_drawn_and_a_click_shows_logical_and_physical_coordinates(driver, pages, tmp_path):
    run = made_up_run(20, 12, seed=1)
    name, rect = run.blocks[1]
    defects = {
        **Defects(20, 12, pes=((rect.x + 1, 4),), routers=((19, 11),), links=(((0, 0), (1, 0)),)).facts(), "digest": "made up",
        "skipped": [{"name": name, "x": rect.x, "y": rect.y, "columns": [rect.x + 1], "rows": []}],
    }  # fmt: skip
    visit(driver, pages["small"])
    without = pixels(driver)
    visit(driver, write(tmp_path / "dead.html", {"small": dataclasses.replace(run, summary=run.summary | {"defects": defects})}))
    assert pixels(driver) != without
    assert "2 dead PEs (×), 1 dead links (bars); blocks skip 1 columns and 0 rows" in text(driver, "#panel")

    def about(x, y):
        driver.find_element("css selector", "canvas.mesh").send_keys(Keys.ESCAPE)
        click(driver, 0.5, 0.5)
        here = selected(driver)
        for key, steps in ((Keys.ARROW_LEFT, here[0] - x), (Keys.ARROW_UP, here[1] - y)):
            back = {Keys.ARROW_LEFT: Keys.ARROW_RIGHT, Keys.ARROW_UP: Keys.ARROW_DOWN}[key]
            for _ in range(abs(steps)):
                driver.find_element("css selector", "canvas.mesh").send_keys(key if steps > 0 else back)
        assert selected(driver) == (x, y)
        return text(driver, "#panel")

    from selenium.webdriver.common.keys import Keys

    assert f"logical ({rect.x + 1}, 4), physical ({rect.x + 2}, 4)" in about(rect.x + 2, 4)
    dead = about(rect.x + 1, 4)
    assert "passes wavelets straight on" in dead and f"column {rect.x + 1} skipped by the block" in dead
    assert "nothing passes" in about(19, 11)
    assert "dead link (0, 0) to (1, 0)" in about(0, 0)
    assert complaints(driver) == []


def test_a_page_asks_nothing_of_any_network(driver, pages):
    visit(driver, pages["two"])
    assert driver.execute_script("return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length") == 0
    assert not re.search(r'(src|href)="(?!data:)', pages["two"].read_text())


def test_the_scrubber_play_and_keys_move_in_time(driver, pages):
    from selenium.webdriver.common.keys import Keys

    visit(driver, pages["small"])
    whole, legend = pixels(driver), text(driver, "#legend")
    scrubber = driver.find_element("id", "scrubber")
    scrubber.send_keys(Keys.ARROW_RIGHT)
    assert "interval 2 of 64" in text(driver, "#when")
    second = pixels(driver)
    assert second != whole and text(driver, "#legend") != legend
    driver.find_element("tag name", "body").send_keys(".")
    assert "interval 3 of 64" in text(driver, "#when") and pixels(driver) not in (whole, second)
    driver.find_element("id", "play").click()
    until(lambda: "interval 5 of 64" in text(driver, "#when"), "play does not go on")
    driver.find_element("id", "play").click()
    driver.find_element("id", "whole").click()
    assert pixels(driver) == whole and text(driver, "#legend") == legend


def test_a_click_shows_the_counters_and_the_memory_map_of_that_pe(driver, pages):
    from selenium.webdriver.common.keys import Keys

    visit(driver, pages["small"])
    run = made_up_run(20, 12, seed=1)
    before = text(driver, "#panel")
    assert "Whole mesh" in before
    click(driver, 0.5, 0.5)
    panel = text(driver, "#panel")
    x, y = selected(driver)
    assert abs(x - 10) <= 1 and abs(y - 6) <= 1
    at = y * 20 + x
    for name in ("instructions", "flops", "sram_read_bytes", "busy_fma", "stall_data"):
        assert f"{run.pes[name][at]:,}" in panel, name
    mine = (run.links["x"] == x) & (run.links["y"] == y)
    for sent in run.links["sent"][mine]:
        assert f"{sent:,}" in panel
    assert "f16 [100×150]" in panel and "30,000" in panel
    name, rect = next((name, rect) for name, rect in run.blocks if rect.x <= x < rect.x + rect.width)
    assert f"{name} {rect}" in panel
    click(driver, 0.2, 0.8)
    x, y = selected(driver)
    driver.find_element("css selector", "canvas.mesh").send_keys(Keys.ARROW_RIGHT)
    assert selected(driver) == (x + 1, y)
    assert complaints(driver) == []


def test_the_color_of_a_pe_is_that_of_its_value(driver, pages):
    """The canvas against the data: SRAM in use differs by class, classes are quarters of the mesh."""
    visit(driver, pages["small"])
    choose(driver, "metric", "sram")
    choose(driver, "routes", "off")
    driver.execute_script("document.documentElement.dataset.theme = 'light'; dispatchEvent(new Event('resize'))")
    driver.find_element("id", "zoom-fit").click()
    script = """
        const canvas = document.querySelector("canvas.mesh"); const pen = canvas.getContext("2d");
        return [0.2, 0.45, 0.7, 0.92].map((part) => [...pen.getImageData(canvas.width * part, canvas.height * 0.8, 1, 1).data]);
    """
    brightness = [sum(color[:3]) for color in driver.execute_script(script)]
    assert brightness == sorted(set(brightness), reverse=True)  # more is darker in the light theme


def test_pointing_at_a_block_marks_it_and_clicking_goes_there(driver, pages):
    from selenium.webdriver import ActionChains

    visit(driver, pages["hundred"])
    before = pixels(driver)
    row = driver.find_elements("css selector", "#blocks tbody tr")[2]
    ActionChains(driver).move_to_element(row).perform()
    marked = pixels(driver)
    assert marked != before
    row.click()
    assert pixels(driver) not in (before, marked)
    heading = driver.find_elements("css selector", "#blocks th")[8]
    heading.click()
    cycles = [int(row.find_elements("tag name", "td")[8].text) for row in driver.find_elements("css selector", "#blocks tbody tr")]
    assert cycles == sorted(cycles, reverse=True)


def test_predicted_figures_stand_beside_measured_ones(driver, pages):
    visit(driver, pages["small"])
    cells = [cell.text for cell in driver.find_elements("css selector", "#blocks tbody tr:first-child td")]
    assert cells[-6:] == ["310", "300", "+3.3 %", "240", "240", "equal"]
    ops = [[cell.text for cell in row.find_elements("tag name", "td")] for row in driver.find_elements("css selector", "#ops tbody tr")]
    assert ops == [["qkv", "100", "98", "+2.0 %", "75.0 %", "50.0 %", "10.0 %"], ["pass_on", "30", "–", "–", "25.0 %", "10.0 %", "0.0 %"]]
    for said in ("1,200 predicted, 1,235 measured (+2.9 %)", "990 predicted, 990 measured (equal)"):
        assert said in text(driver, "#ops")
    driver.find_elements("css selector", "#ops th")[2].click()  # what was not predicted stands last, however it is sorted
    assert complaints(driver) == []


def test_the_panel_covers_nothing_when_the_page_is_scrolled(driver, pages):
    visit(driver, pages["two"])
    driver.execute_script("scrollTo(0, document.getElementById('blocks').getBoundingClientRect().top)")
    script = "return [...document.querySelectorAll('.card')].map((card) => card.getBoundingClientRect().toJSON())"
    cards = [[box[edge] for edge in ("left", "top", "right", "bottom")] for box in driver.execute_script(script)]
    assert len(cards) == 6
    for i, a in enumerate(cards):
        for b in cards[:i]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3], (a, b)


def test_a_tooltip_names_the_pe_and_its_value(driver, pages):
    from selenium.webdriver import ActionChains

    visit(driver, pages["small"])
    ActionChains(driver).move_to_element(driver.find_element("css selector", "canvas.mesh")).perform()
    assert re.search(r"PE \(\d+, \d+\)block \dPE activity: [\d.]+ %", text(driver, "#tooltip"))


def test_two_runs_stand_side_by_side_or_as_a_difference(driver, pages):
    visit(driver, pages["two"])
    assert len(driver.find_elements("css selector", "canvas.mesh")) == 2
    assert pixels(driver, 0) != pixels(driver, 1)
    click(driver, 0.5, 0.5, index=1)
    assert "A: one" in text(driver, "#panel") and "B: two" in text(driver, "#panel")
    choose(driver, "compare", "difference")
    until(lambda: "B − A" in text(driver, "#legend"), "no difference is shown")
    assert not driver.find_elements("css selector", "canvas.mesh")[1].is_displayed()
    choose(driver, "compare", "side")
    until(lambda: driver.find_elements("css selector", "canvas.mesh")[1].is_displayed(), "the second run does not come back")
    visit(driver, pages["unlike"])
    assert not driver.find_element("id", "compare").is_displayed()
    driver.execute_script("const s = document.getElementById('scrubber'); s.value = 30; s.dispatchEvent(new Event('input'))")
    assert complaints(driver) == []


def test_the_wafer_is_shown_in_tiles_and_zooms_to_single_pes(driver, pages):
    visit(driver, pages["wafer"])
    assert re.search(r"tiles of \d+x\d+ PEs", text(driver, "#legend"))
    click(driver, 0.5, 0.5)
    tile = re.search(r"Tile \((\d+),(\d+)\)-\((\d+),(\d+)\)", text(driver, "#panel"))
    assert tile
    mean = pixels(driver)
    choose(driver, "how", "max")
    assert pixels(driver) != mean
    for _ in range(8):
        driver.find_element("id", "zoom-in").click()
    assert "tiles of" not in text(driver, "#legend")
    click(driver, 0.5, 0.5)
    assert selected(driver)
    assert "rounded to" in text(driver, "#notes") and "left out for size" in text(driver, "#notes")


@pytest.mark.parametrize("name", ["hundred", "wafer"])
def test_a_click_is_answered_within_a_tenth_of_a_second(driver, pages, name):
    visit(driver, pages[name])
    times = []
    for i in range(9):
        driver.execute_script(TIME_A_CLICK)
        click(driver, 0.3 + 0.05 * i, 0.25 + 0.05 * i)
        until(lambda: driver.execute_script("return window.latency"), "a click had no answer")
        times.append(driver.execute_script("return window.latency"))
    assert statistics.median(times) <= 100, times


@pytest.mark.parametrize(("name", "limit"), [("small", 1 * MB), ("hundred", 5 * MB), ("wafer", 20 * MB)])
def test_pages_stay_small_even_when_nothing_repeats(pages, name, limit):
    assert pages[name].stat().st_size <= limit


def test_what_is_not_modelled_and_what_is_rounded_is_on_the_page(driver, pages):
    visit(driver, pages["small"])
    notes = text(driver, "#notes")
    assert "the weather" in notes and "rounded to 8 bits" in notes and "exact, for each PE" in notes


# --- without a browser ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16])
def test_squeezed_values_are_off_by_no_more_than_is_said(bits):
    values = np.concatenate([np.arange(1000), np.random.default_rng(0).integers(0, 10**9, 5000)])
    for some in (values, values * 0, values % 2):
        codes, largest = squeeze(some, bits)
        top = (1 << bits) - 1
        back = largest * (codes / top) ** 2
        assert np.abs(back - some).max() <= max(largest / top, 0) and ((codes > 0) == (some > 0)).all()
    assert codes.dtype == f"uint{bits}"


@pytest.mark.parametrize(("largest", "type"), [(255, "uint8"), (256, "uint16"), (65536, "uint32"), (1 << 32, "float64")])
def test_arrays_take_the_smallest_type_that_javascript_reads(largest, type):
    values = np.array([0, largest])
    assert narrow(values).dtype == type and narrow(values)[1] == largest


def test_a_mesh_too_large_for_the_budget_is_refused(monkeypatch):
    monkeypatch.setattr(payload, "SMALL_BYTES", 2000)
    with pytest.raises(DoesNotFitError, match="coarsest"):
        build_page({"r": made_up_run(20, 20, num_intervals=4)})


def test_text_of_a_model_cannot_break_out_of_the_page():
    run = made_up_run(4, 4, num_intervals=2)
    run.summary["model"] = "</script><script>alert(1)</script>"
    page = build_page({"<b>": run})
    assert "<script>alert" not in page and "<b>" not in page.split("</title>")[0]
    meta = re.search(r'id="meta">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(meta)["runs"][0]["summary"]["model"] == run.summary["model"]


def test_every_script_is_bundled_behind_what_it_imports():
    from importlib import resources

    folder = resources.files("wse.view") / "web"
    assert sorted(SCRIPTS) == sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".js"))
    for i, name in enumerate(SCRIPTS):
        for other in re.findall(r'from "\./(.*?)";', (folder / name).read_text()):
            assert other in SCRIPTS[:i], f"{name} imports {other}"
    assert not re.search(r"^(import|export) ", bundle(), re.MULTILINE)
