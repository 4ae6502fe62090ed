// Routes between blocks as lines: straight pieces, whole or only where they lead from one block to another.

/** Pieces [x0, y0, x1, y1] of all nets: `all` of them, or those between blocks. */
export function pieces(run, all) {
  return run.keep(`pieces ${all}`, () => run.wires.flatMap(([, , whole, between]) => (all ? whole : between)));
}

/** Names of nets that use `color` at a PE. */
export function netsAt(run, x, y, color) {
  const passes = ([x0, y0, x1, y1]) => x >= Math.min(x0, x1) && x <= Math.max(x0, x1) && y >= Math.min(y0, y1) && y <= Math.max(y0, y1);
  return run.wires.filter(([, ofNet, whole]) => ofNet === color && whole.some(passes)).map(([name]) => name);
}
