// The memory map of a PE: its SRAM as a bar, and its buffers with addresses and sizes.

import { FILLS } from "./colors.js";
import { element, integer, table } from "./format.js";

export function memoryMap(memory) {
  const segments = memory.buffers.map(([name, address, bytes], i) => ({ name, bytes, note: `at ${integer(address)}`, fill: FILLS[i % FILLS.length] }));
  segments.push({ name: "code", bytes: memory.code, note: "instructions", fill: "var(--muted)" });
  segments.push({ name: "reserved", bytes: memory.reserved, note: "kept for the runtime", fill: "var(--outline)" });
  const used = memory.data + memory.code + memory.reserved;
  segments.push({ name: "free", bytes: memory.sram - used, note: "not used", fill: "var(--empty)" });
  const bar = element("div", { class: "split memory" }, ...segments.map(({ name, bytes, note, fill }) => {
    const part = element("i", { title: `${name}: ${integer(bytes)} B, ${note}` });
    part.style.cssText = `flex: ${bytes} 0 0; background: ${fill}`;
    return part;
  }));
  const rows = memory.buffers.map(([name, address, bytes, type, shape], i) => [
    swatch(FILLS[i % FILLS.length], name), integer(address), integer(bytes), `${type} [${shape.join("×")}]`,
  ]);
  rows.push([swatch("var(--muted)", "code"), "", integer(memory.code), ""]);
  rows.push([swatch("var(--outline)", "reserved"), "", integer(memory.reserved), ""]);
  const share = ((100 * used) / memory.sram).toFixed(1);
  return element("section", { class: "memory-map" },
    element("h3", {}, `SRAM: ${integer(used)} of ${integer(memory.sram)} B, ${share} %`), bar,
    table(["buffer", "address", "bytes", "holds"], rows));
}

export function swatch(fill, text) {
  const mark = element("i", { class: "mark" });
  mark.style.background = fill;
  return element("span", {}, mark, text);
}
