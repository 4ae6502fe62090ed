// Routes between blocks as lines: straight pieces, whole or only where they lead from one block to another.

/** Pieces [x0, y0, x1, y1] of every net, by `which`: "all", or "between" for links whose ends are not in the same block. */
export function pieces(run, which) {
  if (which === "off") return [];
  if (which === "all") return run.wires.flatMap(([name, color, parts]) => parts.map((piece) => ({ name, color, piece })));
  return run.keep("pieces between", () =>
    run.wires.flatMap(([name, color, parts]) => parts.flatMap((piece) => between(run, piece)).map((piece) => ({ name, color, piece }))));
}

function between(run, [x0, y0, x1, y1]) {
  const [dx, dy] = [Math.sign(x1 - x0), Math.sign(y1 - y0)];
  const kept = [];
  let start = null;
  for (let x = x0, y = y0; x !== x1 || y !== y1; x += dx, y += dy) {
    const here = blockAt(run, x, y);
    if (here >= 0 && here === blockAt(run, x + dx, y + dy)) {
      if (start) kept.push([...start, x, y]);
      start = null;
    } else {
      start ??= [x, y];
    }
  }
  if (start) kept.push([...start, x1, y1]);
  return kept;
}

function blockAt(run, x, y) {
  return x < 0 || y < 0 || x >= run.width || y >= run.height ? -1 : run.blockOf()[y * run.width + x];
}

/** Names of nets that use `color` at a PE. */
export function netsAt(run, x, y, color) {
  const names = new Set();
  for (const [name, ofNet, parts] of run.wires) {
    if (ofNet !== color) continue;
    for (const [x0, y0, x1, y1] of parts) {
      if (x >= Math.min(x0, x1) && x <= Math.max(x0, x1) && y >= Math.min(y0, y1) && y <= Math.max(y0, y1)) names.add(name);
    }
  }
  return [...names];
}
