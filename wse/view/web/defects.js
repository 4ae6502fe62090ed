// What is dead on the mesh, the rows and columns that blocks skip for it, and logical coordinates.

import { element, integer, place } from "./format.js";

/** Sets of dead PEs and routers by number, dead links, and by block the rows and columns it skips; null when nothing is dead. */
function defectsOf(run) {
  return run.keep("defects", () => {
    if (!run.defects) return null;
    const numbers = (pes) => new Set(pes.map(([x, y]) => y * run.width + x));
    const skipped = run.blocks.map(({ name }) => run.defects.skipped.find((block) => block.name === name) ?? { columns: [], rows: [] });
    return { pes: numbers(run.defects.dead_pes), routers: numbers(run.defects.dead_routers), links: run.defects.dead_links, skipped };
  });
}

/** What is wrong with a PE and where it is for its block's code, in words; none when coordinates agree. */
export function aboutDefects(run, x, y) {
  const defects = defectsOf(run);
  if (!defects) return [];
  const pe = y * run.width + x;
  const block = run.blockOf()[pe];
  const words = [];
  if (defects.pes.has(pe)) words.push("dead: its router passes wavelets straight on, nothing runs here");
  if (defects.routers.has(pe)) words.push("dead, its router too: nothing passes");
  for (const [a, b] of defects.links) {
    if ((a[0] === x && a[1] === y) || (b[0] === x && b[1] === y)) words.push(`dead link ${place(...a)} to ${place(...b)}`);
  }
  if (block >= 0) {
    const { columns, rows } = defects.skipped[block];
    const lines = [columns.includes(x) ? `column ${x}` : "", rows.includes(y) ? `row ${y}` : ""].filter(Boolean);
    const before = (some, at) => some.filter((line) => line < at).length;
    words.push(lines.length ? `${lines.join(" and ")} skipped by the block` : `logical ${place(x - before(columns, x), y - before(rows, y))}, physical ${place(x, y)}`);
  }
  return words.map((text) => element("p", { class: "about" }, text));
}

/** How much is dead, for the whole mesh, and how it is drawn. */
export function sumOfDefects(run) {
  const defects = defectsOf(run);
  if (!defects) return [];
  const [columns, rows] = ["columns", "rows"].map((lines) => defects.skipped.reduce((sum, block) => sum + block[lines].length, 0));
  const text = `${integer(defects.pes.size + defects.routers.size)} dead PEs (×), ${integer(defects.links.length)} dead links (bars); blocks skip ${integer(columns)} columns and ${integer(rows)} rows (hatched).`;
  return [element("p", { class: "about" }, text)];
}

/** Draw them on a view of the mesh. */
export function drawDefects(view, pen, ink) {
  const { run, camera } = view;
  const defects = defectsOf(run);
  if (!defects) return;
  run.blocks.forEach((block, i) => {
    for (const x of defects.skipped[i].columns) hatch(view, pen, ink, x, block.y, 1, block.height);
    for (const y of defects.skipped[i].rows) hatch(view, pen, ink, block.x, y, block.width, 1);
  });
  const size = Math.max(3, camera.zoom * 0.6);
  const cross = (pe) => {
    const [px, py] = view.toScreen((pe % run.width) + 0.5, Math.floor(pe / run.width) + 0.5);
    for (const turn of [1, -1]) {
      pen.moveTo(px - size / 2, py - (turn * size) / 2);
      pen.lineTo(px + size / 2, py + (turn * size) / 2);
    }
  };
  const strokes = [[ink("--card"), 3], [ink("--bad"), 0]];
  for (const [color, halo] of strokes) {
    pen.strokeStyle = color;
    pen.lineWidth = Math.min(3, Math.max(1.2, camera.zoom / 9)) + halo;
    pen.beginPath();
    for (const pe of [...defects.pes, ...defects.routers]) cross(pe);
    for (const [[ax, ay], [bx, by]] of defects.links) {
      const [px, py] = view.toScreen((ax + bx + 1) / 2, (ay + by + 1) / 2);
      const [dx, dy] = ax === bx ? [size / 2, 0] : [0, size / 2];
      pen.moveTo(px - dx, py - dy);
      pen.lineTo(px + dx, py + dy);
    }
    pen.stroke();
  }
  for (const pe of defects.routers) {
    const [px, py] = view.toScreen(pe % run.width, Math.floor(pe / run.width));
    pen.lineWidth = 1.2;
    pen.strokeRect(px + 1, py + 1, camera.zoom - 2, camera.zoom - 2);
  }
}

/** A band of PEs that is there, but not used. */
function hatch(view, pen, ink, x, y, width, height) {
  const [px, py] = view.toScreen(x, y);
  const [w, h] = [width * view.camera.zoom, height * view.camera.zoom];
  pen.save();
  pen.beginPath();
  pen.rect(px, py, w, h);
  pen.clip();
  pen.globalAlpha = 0.55;
  pen.fillStyle = ink("--card");
  pen.fillRect(px, py, w, h);
  pen.globalAlpha = 1;
  pen.strokeStyle = ink("--outline");
  pen.lineWidth = 1;
  pen.beginPath();
  for (let at = -h; at < w; at += 6) {
    pen.moveTo(px + at, py + h);
    pen.lineTo(px + at + h, py);
  }
  pen.stroke();
  pen.restore();
}
