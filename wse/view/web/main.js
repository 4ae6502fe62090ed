// The page: its state, and what changes when a reader points, clicks, chooses or moves in time.

import { Camera } from "./camera.js";
import { theme } from "./colors.js";
import { load } from "./data.js";
import { element, integer, place, rectangle, withUnit } from "./format.js";
import { drawLegend } from "./legend.js";
import { MeshView } from "./mesh.js";
import { coarsen, largest, overview, valuesOfInterval, valuesPerPe } from "./metrics.js";
import { fillPanel } from "./panel.js";
import { blockTables, headline, linkTables, notes, opTables } from "./tables.js";
import { drawTimeline } from "./timeline.js";

const INTERVALS_PER_SECOND = 8;
const get = (id) => document.getElementById(id);

const { runs, metrics } = await load();
const longest = runs.reduce((a, b) => (b.cycles > a.cycles ? b : a)); // the slider counts its intervals
const comparable = runs.length === 2 && runs[0].width === runs[1].width && runs[0].height === runs[1].height;
const state = { metric: metrics[0], how: "mean", root: false, interval: null, selected: null, compare: "side", timer: null };

const camera = new Camera(runs[0]);
const callbacks = { select, hover, moved: () => refresh() };
const views = runs.map((run, i) => new MeshView(run, comparable || i === 0 ? camera : new Camera(run), callbacks));

// --- what is shown ----------------------------------------------------------------------------------------------

/** The interval of `run` at the time shown: an index, -1 when the run was over by then, null for the whole run. */
function intervalOf(run) {
  return state.interval === null ? null : run === longest ? state.interval : run.intervalAt(longest.edges[state.interval]);
}

function difference() {
  return comparable && state.compare === "difference";
}

/** Values of a run as shown, and the side of their tiles. */
function valuesOf(run, level) {
  const interval = intervalOf(run);
  if (interval === null || !state.metric.over_time) {
    const key = `shown ${state.metric.id} ${level} ${state.how}`;
    return { side: level, values: run.keep(key, () => coarsen(run, valuesPerPe(run, state.metric), level, state.how)) };
  }
  if (interval < 0) return { side: run.side, values: new Float32Array(run.columns(run.side) * run.rows(run.side)).fill(NaN) };
  return { side: run.side, values: valuesOfInterval(run, state.metric, interval) };
}

/** Loads of the four links of every PE, where they can be told apart. */
function linksOf(run) {
  if (state.metric.id !== "link_load" || difference()) return null;
  const interval = intervalOf(run);
  if (interval === null) return run.keep("links", () => metrics.filter(({ id }) => id.startsWith("sent_")).map((metric) => valuesPerPe(run, metric)));
  if (run.side > 1 || interval < 0) return null;
  return metrics.filter(({ id }) => id.startsWith("sent_")).map((metric) => valuesOfInterval(run, metric, interval));
}

function refresh() {
  const level = views[0].level();
  let shown = runs.map((run) => valuesOf(run, level));
  const signed = difference() && shown[0].side === shown[1].side;
  if (signed) {
    const [a, b] = shown.map(({ values }) => values);
    shown = [{ side: shown[0].side, values: b.map((value, i) => value - a[i]) }];
  }
  const timed = state.interval !== null && state.metric.over_time;
  const tops = shown.map(({ values }, i) => (signed ? Math.max(largest(values), largest(values.map((v) => -v))) : timed ? overview(runs[i], state.metric).largest : largest(values)));
  const high = Math.max(...tops) || 1;
  const bend = state.root ? Math.sqrt : (part) => part;
  const position = signed ? (value) => 0.5 + 0.5 * Math.sign(value) * bend(Math.abs(value) / high) : (value) => bend(Math.max(0, value) / high);
  views.forEach((view, i) => {
    view.canvas.parentElement.hidden = signed && i > 0;
    if (runs.length > 1) view.canvas.previousElementSibling.textContent = signed ? `${runs[1].name} − ${runs[0].name}` : view.run.name;
    if (shown[i]) view.show({ ...shown[i], position, signed, links: signed ? null : linksOf(view.run) });
  });
  const middle = signed ? 0 : state.root ? high / 4 : high / 2;
  const what = `${state.metric.label}${signed ? ", B − A" : ""}${shown[0].side > 1 ? `, tiles of ${shown[0].side}x${shown[0].side} PEs` : ""}`;
  drawLegend(get("legend"), { low: signed ? -high : 0, middle, high, unit: state.metric.unit, signed, what });
  get("how").disabled = timed || level === 1; // there is one value to a tile
  showTime(timed);
  draw();
}

function draw() {
  for (const view of views) {
    view.selected = state.selected;
    if (!view.canvas.parentElement.hidden) view.draw();
  }
}

function showTime(timed) {
  const span = state.interval === null ? null : [longest.edges[state.interval], longest.edges[state.interval + 1]];
  const series = state.metric.over_time ? runs.map((run) => ({ edges: run.edges, means: overview(run, state.metric).means })) : [];
  drawTimeline(get("chart"), series, longest.cycles, timed ? span : null);
  get("whole").setAttribute("aria-pressed", String(state.interval === null));
  get("scrubber").value = String(state.interval ?? 0);
  get("timeline").classList.toggle("off", !state.metric.over_time);
  get("when").textContent = !state.metric.over_time
    ? "counted for the whole run only"
    : span
      ? `cycles ${integer(span[0])} to ${integer(span[1])}, interval ${state.interval + 1} of ${longest.numIntervals}`
      : `${integer(longest.cycles)} cycles; drag below to look at a part`;
}

// --- pointing and clicking --------------------------------------------------------------------------------------

function select(at) {
  state.selected = at;
  showPanel();
  draw();
}

/** Select a PE and bring it into view. */
function go(x, y) {
  for (const view of views) {
    const { camera: eye } = view;
    if (view.level() > 1) eye.zoom = 12;
    eye.fitted = eye.fitted && eye.zoom === view.fitZoom();
    if (!eye.fitted) [eye.x, eye.y] = [x + 0.5, y + 0.5];
    eye.clamp(view);
  }
  state.selected = { x, y, side: 1 };
  showPanel();
  refresh();
  get("meshes").scrollIntoView({ block: "nearest" });
}

function showPanel() {
  fillPanel(get("panel"), runs, state.selected, intervalOf, go);
}

function hover(view, at, event) {
  const tip = get("tooltip");
  tip.hidden = !at;
  if (!at) return;
  const { side, values } = view.picture;
  const value = values[Math.floor(at.y / side) * view.run.columns(side) + Math.floor(at.x / side)];
  const block = view.run.blocks[view.run.blockOf()[at.y * view.run.width + at.x]];
  const width = Math.min(side, view.run.width - at.x);
  const height = Math.min(side, view.run.height - at.y);
  tip.replaceChildren(
    element("b", {}, side === 1 ? `PE ${place(at.x, at.y)}` : `tile ${rectangle(at.x, at.y, width, height)}`),
    element("span", {}, block?.name ?? "no block"),
    element("span", {}, `${state.metric.label}: ${Number.isNaN(value) ? "nothing here" : withUnit(value, state.metric.unit)}`));
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - box.width - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 16, innerHeight - box.height - 8)}px`;
}

function pointBlock(run, index) {
  views[runs.indexOf(run)].block = index;
  draw();
}

function pickBlock(run, index) {
  const block = run.blocks[index];
  const view = views[runs.indexOf(run)];
  const fit = Math.min(view.plotWidth() / (block.width + 2), view.plotHeight() / (block.height + 2));
  const eye = view.camera;
  eye.zoom = Math.max(view.fitZoom(), Math.min(48, fit));
  [eye.x, eye.y] = [block.x + block.width / 2, block.y + block.height / 2];
  eye.fitted = eye.zoom === view.fitZoom();
  eye.clamp(view);
  refresh();
  get("meshes").scrollIntoView({ block: "nearest" });
}

// --- time -------------------------------------------------------------------------------------------------------

function showInterval(interval) {
  state.interval = interval === null ? null : Math.max(0, Math.min(longest.numIntervals - 1, interval));
  refresh();
  if (state.selected?.side === 1) showPanel();
}

function play() {
  if (state.timer) clearInterval(state.timer);
  state.timer = state.timer || !longest.numIntervals ? null : setInterval(() => showInterval(((state.interval ?? -1) + 1) % longest.numIntervals), 1000 / INTERVALS_PER_SECOND);
  get("play").textContent = state.timer ? "❚❚" : "▶";
}

// --- controls ---------------------------------------------------------------------------------------------------

function zoom(factor) {
  for (const eye of new Set(views.map((view) => view.camera))) {
    const view = views.find((one) => one.camera === eye);
    if (factor) eye.zoomAt(view, factor, eye.x, eye.y);
    else eye.fit(view);
  }
  refresh();
}

function resize() {
  for (const view of views) view.resize();
  refresh();
}

function moveSelection(dx, dy) {
  const { x, y, side } = state.selected ?? { x: 0, y: 0, side: views[0].picture.side };
  const run = runs[0];
  const clamp = (at, size) => Math.max(0, Math.min(at, Math.floor((size - 1) / side) * side));
  select({ x: clamp(x + dx * side, run.width), y: clamp(y + dy * side, run.height), side });
}

const KEYS = {
  " ": play, ",": () => showInterval((state.interval ?? 0) - 1), ".": () => showInterval(state.interval === null ? 0 : state.interval + 1), Home: () => showInterval(null),
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => zoom(null),
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, button")) return;
  const arrow = event.target.matches("canvas") ? ARROWS[event.key] : null;
  if (!KEYS[event.key] && !arrow) return;
  event.preventDefault();
  if (arrow) moveSelection(...arrow);
  else KEYS[event.key]();
}

function start() {
  const { summary } = runs[0];
  const names = [...new Set(runs.map((run) => run.summary.model ?? run.name))];
  get("title").textContent = names.join(" against ");
  get("subtitle").textContent = runs.map((run) => {
    const { arch, dtype, context, prompt_tokens: prompt, generated_tokens: generated } = run.summary;
    const parts = [arch, `${run.width}x${run.height} PEs`, dtype, context && `context ${context}`,
      prompt && generated && `${prompt.length} tokens in, ${generated.length} out`, `${integer(run.cycles)} cycles`];
    return `${runs.length > 1 ? `${run.name}: ` : ""}${parts.filter(Boolean).join(" · ")}`;
  }).join("\n");
  headline(get("headline"), runs);
  for (const group of new Set(metrics.map((metric) => metric.group))) {
    const options = metrics.filter((metric) => metric.group === group).map((metric) => element("option", { value: metric.id }, metric.label));
    get("metric").append(element("optgroup", { label: group }, ...options));
  }
  views.forEach((view, i) => {
    const name = runs.length > 1 ? element("h3", {}, runs[i].name) : null;
    view.canvas.setAttribute("aria-label", `Mesh of ${runs[i].width} by ${runs[i].height} PEs`);
    get("meshes").append(element("div", { class: "mesh-holder" }, name, view.canvas));
  });
  get("meshes").classList.toggle("two", runs.length > 1);
  get("compare-label").hidden = !comparable;
  get("scrubber").max = String(Math.max(0, longest.numIntervals - 1));
  blockTables(get("blocks"), runs, pointBlock, pickBlock);
  opTables(get("ops"), runs);
  linkTables(get("links"), runs, go);
  notes(get("notes"), runs);
  const change = (id, set) => get(id).addEventListener("change", (event) => { set(event.target); refresh(); });
  change("metric", (node) => { state.metric = metrics.find((metric) => metric.id === node.value); get("about").textContent = state.metric.about; });
  change("how", (node) => { state.how = node.value; });
  change("root", (node) => { state.root = node.checked; });
  change("routes", (node) => { for (const view of views) view.routes = node.value; });
  change("compare", (node) => { state.compare = node.value; get("meshes").classList.toggle("two", !difference()); queueMicrotask(resize); });
  get("scrubber").addEventListener("input", (event) => showInterval(Number(event.target.value)));
  get("whole").addEventListener("click", () => showInterval(null));
  get("play").addEventListener("click", play);
  get("zoom-in").addEventListener("click", () => zoom(1.5));
  get("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  get("zoom-fit").addEventListener("click", () => zoom(null));
  get("theme").addEventListener("click", () => { document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark"; refresh(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => refresh());
  addEventListener("keydown", onKey);
  get("about").textContent = state.metric.about;
  showPanel();
  resize();
  new ResizeObserver(resize).observe(get("meshes"));
  document.body.dataset.ready = summary ? "yes" : "no";
}

start();
