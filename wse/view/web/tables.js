// The tables below the mesh: headline figures, blocks, ops, busiest links, and what the figures are.

import { LINKS } from "./data.js";
import { element, integer, place, rectangle, short, table } from "./format.js";
import { deviation, off, sortable } from "./sortable.js";

const HEADLINE = [
  ["cycles_per_token", "cycles per token", integer, -1],
  ["tokens_per_s_at_clock", "tokens/s at clock", integer, 1],
  ["ttft_cycles", "cycles to first token", integer, -1],
  ["hops_per_token", "hops per token", integer, -1],
  ["pe_active_frac", "PE-cycles active", (value) => `${(100 * value).toFixed(1)} %`, 1],
  ["lower_bound_ratio", "times the lower bound", (value) => value.toFixed(2), -1],
  ["sram_peak_bytes", "B of SRAM, fullest PE", integer, -1],
];

/** Headline figures; of two runs the second's change in per cent beside them. */
export function headline(node, runs) {
  const cards = HEADLINE.filter(([key]) => runs.some((run) => Number.isFinite(run.summary[key]))).map(([key, label, write, better]) => {
    const values = runs.map((run) => run.summary[key]);
    const shown = values.map((value) => element("b", {}, Number.isFinite(value) ? write(value) : "–"));
    if (runs.length === 2) shown.splice(1, 0, element("span", { class: "to" }, "→"));
    const change = runs.length === 2 && values[0] ? (100 * (values[1] - values[0])) / values[0] : null;
    const slight = Math.abs(change) < 0.05; // written as 0.0 %, neither good nor bad
    const says = slight ? "0.0 %" : `${change > 0 ? "+" : ""}${change?.toFixed(1)} %`;
    const note = Number.isFinite(change) ? element("em", { class: slight ? null : change * better > 0 ? "good" : "bad" }, says) : null;
    return element("div", { class: "figure" }, element("div", { class: "values" }, ...shown), element("span", {}, label, note));
  });
  node.classList.toggle("two", runs.length > 1);
  node.replaceChildren(...cards);
}

/** The table of blocks. `point(run, index)` is told of the row under the pointer (-1 for none), `pick(run, index)` of a click. */
export function blockTables(node, runs, point, pick) {
  node.replaceChildren(...runs.flatMap((run) => {
    const title = runs.length > 1 ? [element("h3", {}, run.name)] : [];
    return run.blocks.length ? [...title, blockTable(run, point, pick)] : [...title, element("p", { class: "about" }, "This run has no blocks.")];
  }));
}

function blockTable(run, point, pick) {
  const predicted = run.predicted.length === run.blocks.length && run.predicted.some((block) => block.predicted_cycles_per_token !== null);
  const percent = (value) => value.toFixed(1);
  const most = Math.max(...run.layers.busiest_pe_cycles);
  const bar = (value) => {
    const node = element("span", { class: "bar-cell" }, integer(value));
    node.style.setProperty("--part", `${(100 * value) / most}%`);
    return node;
  };
  const share = (...names) => (block) => (100 * names.reduce((sum, name) => sum + run.layers[name][block.index], 0)) / (block.width * block.height * run.cycles);
  const ofToken = (name) => (block) => run.predicted[block.index][name] ?? NaN;
  const columns = [
    ["block", (block) => block.name, String],
    ["rectangle", (block) => rectangle(block.x, block.y, block.width, block.height), String],
    ["PEs", (block) => block.width * block.height, integer],
    ["active %", share(...run.kinds.filter((kind) => kind.busy).map((kind) => kind.id)), percent],
    ["waits for data %", share("stall_data"), percent], ["for room %", share("stall_room"), percent], ["overhead %", share("stall_overhead"), percent],
    ["busiest PE, cycles", (block) => run.layers.busiest_pe_cycles[block.index], bar],
    ...(predicted ? [
      ["cycles/token", ofToken("cycles_per_token"), integer], ["predicted", ofToken("predicted_cycles_per_token"), integer],
      ["off", deviation(ofToken("cycles_per_token"), ofToken("predicted_cycles_per_token")), off],
      ["hops/token", ofToken("hops_per_token"), integer], ["predicted", ofToken("predicted_hops_per_token"), integer],
      ["off", deviation(ofToken("hops_per_token"), ofToken("predicted_hops_per_token")), off],
    ] : [["hops", (block) => run.layers.hops[block.index], integer]]),
  ];
  const shown = sortable(columns, run.blocks, "blocks");
  shown.onrow = (row, block) => {
    row.dataset.block = block.index;
    row.tabIndex = 0;
    row.addEventListener("pointerenter", () => point(run, block.index));
    row.addEventListener("pointerleave", () => point(run, -1));
    row.addEventListener("click", () => pick(run, block.index));
    row.addEventListener("keydown", (event) => event.key === "Enter" && pick(run, block.index));
  };
  shown.fill();
  return shown.node;
}

/** Cycles per token of each op, measured and predicted. */
export function opTables(node, runs) {
  node.replaceChildren(...runs.flatMap((run) => {
    const title = runs.length > 1 ? [element("h3", {}, run.name)] : [];
    const ops = run.ops.filter((op) => op.elapsed_frac !== null);
    if (!ops.length) return [...title, element("p", { class: "about" }, "This run has no ops.")];
    const percent = (value) => `${(100 * value).toFixed(1)} %`;
    const part = (name) => (op) => (op.elapsed_pe_cycles ? op[name] / op.elapsed_pe_cycles : 0);
    const measured = (op) => op.elapsed_cycles_per_token;
    const predicted = (op) => op.predicted_cycles_per_token ?? NaN;
    const shown = sortable([
      ["op", (op) => op.op, String], ["cycles/token, mean PE", measured, short], ["predicted", predicted, short], ["off", deviation(measured, predicted), off],
      ["share", (op) => op.elapsed_frac, percent], ["busy", part("busy_pe_cycles"), percent], ["in collectives", part("collective_pe_cycles"), percent],
    ], ops, "ops");
    shown.fill();
    return [...title, element("p", { class: "about" }, prediction(run.summary)), shown.node];
  }));
}

/** What the cost model said of a whole token, and what came of it. */
function prediction({ cycles_per_token: cycles, predicted_cycles_per_token: expected, hops_per_token: hops, predicted_hops_per_token: expectedHops }) {
  const held = (measured, predicted) => `${integer(predicted)} predicted, ${integer(measured)} measured (${off(measured / predicted - 1)})`;
  const parts = [];
  if (Number.isFinite(expected) && Number.isFinite(cycles)) parts.push(`Cycles per token: ${held(cycles, expected)}.`);
  if (Number.isFinite(expectedHops) && Number.isFinite(hops)) parts.push(`Hops per token: ${held(hops, expectedHops)}.`);
  return parts.join(" ") || "Nothing was predicted for this run.";
}

/** The links that carried most, each a button that goes there. */
export function linkTables(node, runs, go) {
  node.replaceChildren(...runs.flatMap((run) => {
    const rows = busiestLinks(run, 10).map(({ x, y, direction, sent }) => [
      element("button", { type: "button", class: "link", click: () => go(x, y) }, `${place(x, y)} ${direction}`), integer(sent), `${short((100 * sent) / run.cycles)} %`,
    ]);
    return [...(runs.length > 1 ? [element("h3", {}, run.name)] : []), table(["link", "wavelets", "load"], rows)];
  }));
}

function busiestLinks(run, num) {
  const found = [];
  let least = 0;
  for (const direction of LINKS) {
    const counts = run.total(`sent_${direction}`);
    for (let pe = 0; pe < counts.length; pe++) {
      if (counts[pe] <= least) continue;
      found.push({ x: pe % run.width, y: Math.floor(pe / run.width), direction, sent: counts[pe] });
      if (found.length < 20 * num) continue;
      found.sort((a, b) => b.sent - a.sent).length = num;
      least = found[num - 1].sent;
    }
  }
  return found.sort((a, b) => b.sent - a.sent).slice(0, num);
}

/** What is measured, rounded, left out, and not modelled; and with what the runs were made. */
export function notes(node, runs) {
  const lists = runs.map((run) => {
    const versions = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`).join(", ");
    return element("div", {},
      runs.length > 1 ? element("h3", {}, run.name) : null,
      element("ul", {}, ...run.notes.map((note) => element("li", {}, note)), element("li", {}, `Made with ${versions}.`)));
  });
  node.replaceChildren(
    element("p", {}, "Cycles are exact under the machine's rules and do not depend on the host. Means of a tile are over its PEs with code (for links: with traffic)."),
    ...lists,
    element("h3", {}, "Not modelled"),
    element("ul", { class: "plain" }, ...[...new Set(runs.flatMap((run) => run.not_modelled))].map((text) => element("li", {}, text))));
}
