// The tables below the mesh: headline figures, blocks, busiest links, and what the figures are.

import { LINKS } from "./data.js";
import { element, integer, place, rectangle, short, table } from "./format.js";

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
    const note = Number.isFinite(change) ? element("em", { class: change * better > 0 ? "good" : change ? "bad" : null }, `${change > 0 ? "+" : ""}${change.toFixed(1)} %`) : null;
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
  const rows = run.blocks.map((block) => {
    const layer = (name) => run.layers[name][block.index];
    const cycles = block.width * block.height * run.cycles;
    const part = (...names) => (100 * names.reduce((sum, name) => sum + layer(name), 0)) / cycles;
    return [
      block.name, rectangle(block.x, block.y, block.width, block.height), block.width * block.height,
      part(...run.kinds.filter((kind) => kind.busy).map((kind) => kind.id)), part("stall_data"), part("stall_room"), part("stall_overhead"),
      layer("busiest_pe_cycles"), layer("hops"),
    ];
  });
  const headings = ["block", "rectangle", "PEs", "active %", "waits for data %", "for room %", "overhead %", "busiest PE, cycles", "hops"];
  const most = Math.max(...rows.map((row) => row[7]));
  const write = (cells) => cells.map((cell, i) => {
    if (i < 2) return cell;
    if (i >= 3 && i <= 6) return cell.toFixed(1);
    if (i !== 7) return integer(cell);
    const bar = element("span", { class: "bar-cell" }, integer(cell));
    bar.style.setProperty("--part", `${(100 * cell) / most}%`);
    return bar;
  });
  let order = rows.map((_, i) => i);
  let [by, down] = [-1, false];
  const holder = element("div", { class: "scroll" });
  const fill = () => {
    const made = table(headings, order.map((i) => write(rows[i])), { class: "blocks" });
    made.querySelectorAll("tbody tr").forEach((row, at) => {
      row.dataset.block = order[at];
      row.tabIndex = 0;
      row.addEventListener("pointerenter", () => point(run, order[at]));
      row.addEventListener("pointerleave", () => point(run, -1));
      row.addEventListener("click", () => pick(run, order[at]));
      row.addEventListener("keydown", (event) => event.key === "Enter" && pick(run, order[at]));
    });
    made.querySelectorAll("th").forEach((head, column) => {
      head.setAttribute("aria-sort", column === by ? (down ? "descending" : "ascending") : "none");
      head.addEventListener("click", () => {
        [by, down] = [column, column === by ? !down : column > 1];
        const sign = down ? -1 : 1;
        order = rows.map((_, i) => i).sort((a, b) => {
          const [left, right] = [rows[a][column], rows[b][column]];
          return sign * (typeof left === "string" ? left.localeCompare(right, "en", { numeric: true }) : left - right);
        });
        fill();
      });
    });
    holder.replaceChildren(made);
  };
  fill();
  return holder;
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
