// The color scale with its unit, and what has no color.

import { gradient } from "./colors.js";
import { element, withUnit } from "./format.js";

/** Draw the legend: `low` to `high` in `unit`; `middle` is the value at half the scale's length. */
export function drawLegend(node, { low, middle, high, unit, signed, what }) {
  const bar = element("div", { class: "bar" });
  bar.style.background = gradient(signed);
  const labels = [low, middle, high].map((value) => element("span", {}, withUnit(value, unit)));
  node.replaceChildren(
    element("div", { class: "legend" },
      element("span", { class: "legend-what" }, what),
      element("div", { class: "scale" }, bar, element("div", { class: "ends" }, ...labels)),
      element("span", { class: "swatch" }, element("i", {}), "no code, no route")));
}
