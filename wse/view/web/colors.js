// Color scales that rise evenly in lightness and stay apart for color-blind eyes, and the colors of kinds of cycles.

const SCALES = {
  light: ["#fbfbe6", "#e3f3c0", "#bfe5b9", "#7fcdbb", "#45b4c2", "#2191bf", "#2260a8", "#25368f", "#0a1f5c"],
  dark: ["#2b2350", "#382f66", "#3f4182", "#3b5a98", "#3579a5", "#3799aa", "#43b9ab", "#83d8b0", "#e6f8e4"],
};
const SIGNED = {
  light: ["#0b4a8f", "#3d85c0", "#a3cbe3", "#f4f4f2", "#f6c79b", "#d9792b", "#8c3d04"],
  dark: ["#9fd0ff", "#4f9ae0", "#2a5684", "#22262e", "#7a4a1c", "#d9842f", "#ffcf99"],
};

/** Fills of kinds of PE-cycles: cold colors work, warm ones wait (the palette of Okabe and Ito). */
const KIND_FILLS = {
  busy_fma: "#0072b2", busy_add: "#009e73", busy_move: "#56b4e9", busy_special: "#cc79a7",
  stall_data: "#e69f00", stall_room: "#d55e00", stall_bank: "#8c510a", stall_overhead: "#f0e442", idle: "var(--idle)",
};

export function kindFill(name) {
  return KIND_FILLS[name] ?? "#9a8c98";
}

/** Fills of buffers in a memory map, told apart by lightness as well as hue. */
export const FILLS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b5a900", "#7a68b8"];

export function theme() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

const made = new Map();

/** 256 RGB colors (Uint8Array of 768) of the scale in use; `signed` runs from less over none to more. */
export function scale(signed) {
  const key = `${theme()} ${signed}`;
  if (!made.has(key)) made.set(key, interpolate((signed ? SIGNED : SCALES)[theme()]));
  return made.get(key);
}

/** The scale as a CSS gradient. */
export function gradient(signed) {
  return `linear-gradient(to right, ${(signed ? SIGNED : SCALES)[theme()].join(", ")})`;
}

function interpolate(stops) {
  const rgb = stops.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const result = new Uint8Array(768);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (rgb.length - 1);
    const low = Math.min(Math.floor(at), rgb.length - 2);
    for (let c = 0; c < 3; c++) result[3 * i + c] = Math.round(rgb[low][c] + (at - low) * (rgb[low + 1][c] - rgb[low][c]));
  }
  return result;
}
