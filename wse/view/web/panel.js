// What is known of the selected PE or tile: position, block, cycles by kind, memory, links.

import { kindFill } from "./colors.js";
import { LINKS, PORTS } from "./data.js";
import { aboutDefects, sumOfDefects } from "./defects.js";
import { element, integer, place, rectangle, short, table } from "./format.js";
import { memoryMap, swatch } from "./memory.js";
import { netsAt } from "./routes.js";

/** Fill the panel. `interval(run)` is the interval shown, or null for the whole run; `go(x, y)` selects a PE and shows it. */
export function fillPanel(node, runs, selected, interval, go) {
  const title = !selected ? "Whole mesh" : selected.side === 1 ? `PE ${place(selected.x, selected.y)}` : `Tile ${tileOf(runs[0], selected).name}`;
  const parts = runs.flatMap((run) => {
    const name = runs.length > 1 ? [element("h2", { class: "run-name" }, run.name)] : [];
    if (selected && (selected.x >= run.width || selected.y >= run.height)) return [...name, element("p", { class: "about" }, "Outside this run's mesh.")];
    if (selected?.side === 1) return [...name, ...aboutPe(run, selected, interval(run))];
    const all = { x: 0, y: 0, side: Math.max(run.width, run.height) };
    const facts = selected ? factsOf(run, tileOf(run, selected)) : run.keep("facts", () => factsOf(run, tileOf(run, all)));
    return [...name, ...(selected ? [] : sumOfDefects(run)), ...aboutTile(run, facts, go)];
  });
  node.replaceChildren(element("h2", {}, title), ...parts);
}

function aboutPe(run, { x, y }, interval) {
  const pe = y * run.width + x;
  const block = run.blocks[run.blockOf()[pe]];
  const where = block ? `${block.name} ${rectangle(block.x, block.y, block.width, block.height)}, column ${x - block.x}, row ${y - block.y}` : "in no block";
  const parts = [element("p", { class: "about" }, where), ...aboutDefects(run, x, y)];
  const memory = run.memoryOf(pe);
  if (memory) {
    parts.push(cycleSplit(run, "Cycles of the whole run", (name) => run.total(name)[pe], run.cycles));
    if (interval !== null && interval >= 0) {
      const tile = Math.floor(y / run.side) * run.columns(run.side) + Math.floor(x / run.side);
      const length = run.edges[interval + 1] - run.edges[interval];
      const title = run.side === 1 ? "Cycles of this interval" : `Cycles of this interval, its tile of ${run.side}x${run.side} PEs`;
      const pes = pesInTile(run, tileOf(run, { x: x - (x % run.side), y: y - (y % run.side), side: run.side }));
      parts.push(cycleSplit(run, title, (name) => run.interval(name, interval)[tile] / pes, length));
    }
    parts.push(table(["work", "count", "per cycle"], ["instructions", "flops", "sram_read_bytes", "sram_write_bytes"].map((name) => [
      name.replaceAll("_", " "), integer(run.total(name)[pe]), short(run.total(name)[pe] / run.cycles),
    ])));
    parts.push(memoryMap(memory));
  } else {
    parts.push(element("p", { class: "about" }, "This PE has no code; its router may pass wavelets on."));
  }
  parts.push(linkTable(run, pe), routeTable(run, x, y, pe));
  return parts.filter(Boolean);
}

function cycleSplit(run, title, count, cycles) {
  const kinds = run.kinds.map(({ id, label, busy }) => ({ label, busy, fill: kindFill(id), cycles: count(id) }));
  const sum = (some) => some.reduce((result, kind) => result + kind.cycles, 0);
  const busy = sum(kinds.filter((kind) => kind.busy));
  kinds.push({ label: "nothing to do", fill: kindFill("idle"), cycles: Math.max(0, cycles - sum(kinds)) });
  const bar = element("div", { class: "split" }, ...kinds.map(({ label, fill, cycles: part }) => {
    const piece = element("i", { title: `${label}: ${integer(part)} cycles` });
    piece.style.cssText = `flex: ${part} 0 0; background: ${fill}`;
    return piece;
  }));
  const rows = kinds.map(({ label, fill, cycles: part }) => [swatch(fill, label), integer(part), `${((100 * part) / cycles).toFixed(1)} %`]);
  return element("section", {}, element("h3", {}, `${title}: ${((100 * busy) / cycles).toFixed(1)} % active`), bar, table(["kind", "cycles", "share"], rows));
}

function linkTable(run, pe) {
  const rows = LINKS.map((direction) => {
    const sent = run.total(`sent_${direction}`)[pe];
    return [direction, integer(sent), `${short((100 * sent) / run.cycles)} %`];
  });
  return element("section", {}, element("h3", {}, "Links out"), table(["direction", "wavelets", "load"], rows));
}

function routeTable(run, x, y, pe) {
  const routes = run.routesAt(pe);
  if (!routes?.length) return null;
  const rows = routes.map(({ color, rx, tx, sent, wait }) => {
    const out = PORTS.filter((_, port) => (tx >> port) & 1).join(" ");
    return [element("span", { title: netsAt(run, x, y, color).join("\n") || "inside a block" }, `${color}: ${PORTS[rx]} → ${out}`), integer(sent), integer(wait)];
  });
  return element("section", {}, element("h3", {}, "Routes by color"), table(["color: from → to", "sent", "cycles held up"], rows));
}

/** A tile's PEs, clipped at the mesh's edge. */
function tileOf(run, { x, y, side }) {
  const [width, height] = [Math.min(side, run.width - x), Math.min(side, run.height - y)];
  return { x, y, width, height, name: rectangle(x, y, width, height) };
}

function pesInTile(run, tile) {
  let num = 0;
  for (let y = tile.y; y < tile.y + tile.height; y++) for (let x = tile.x; x < tile.x + tile.width; x++) if (run.hasCode(y * run.width + x)) num++;
  return num || 1;
}

/** Sums over the PEs of a tile that have code. */
function factsOf(run, tile) {
  const facts = { pes: 0, busiest: null, most: -1, fullest: null, sram: -1, blocks: new Map(), sums: new Map(run.kinds.map(({ id }) => [id, 0])) };
  const kinds = run.kinds.map(({ id, busy }) => ({ id, busy, counts: run.total(id) }));
  for (let y = tile.y; y < tile.y + tile.height; y++) {
    for (let x = tile.x; x < tile.x + tile.width; x++) {
      const pe = y * run.width + x;
      if (!run.hasCode(pe)) continue;
      facts.pes++;
      let active = 0;
      for (const { id, busy, counts } of kinds) {
        facts.sums.set(id, facts.sums.get(id) + counts[pe]);
        if (busy) active += counts[pe];
      }
      if (active > facts.most) [facts.busiest, facts.most] = [[x, y], active];
      const sram = run.sramOf(pe);
      if (sram > facts.sram) [facts.fullest, facts.sram] = [[x, y], sram];
      const name = run.blocks[run.blockOf()[pe]]?.name ?? "no block";
      facts.blocks.set(name, (facts.blocks.get(name) ?? 0) + 1);
    }
  }
  return facts;
}

function aboutTile(run, { pes, busiest, most, fullest, sram, blocks, sums }, go) {
  if (!pes) return [element("p", { class: "about" }, "No PE here has code.")];
  const names = [...blocks].slice(0, 4).map(([name, num]) => `${name} (${integer(num)})`);
  if (blocks.size > 4) names.push(`${blocks.size - 4} more`);
  const link = ([x, y]) => element("button", { type: "button", class: "link", click: () => go(x, y) }, `PE ${place(x, y)}`);
  return [
    element("p", { class: "about" }, `${integer(pes)} PEs with code: ${names.join(", ")}`),
    cycleSplit(run, "Mean per PE, whole run", (id) => sums.get(id) / pes, run.cycles),
    table(["extreme", "where", ""], [["busiest PE", link(busiest), `${integer(most)} cycles`], ["fullest SRAM", link(fullest), `${integer(sram)} B`]]),
  ];
}
