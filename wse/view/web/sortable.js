// Tables that a click on a heading sorts, and deviations as they write them.

import { table } from "./format.js";

/** A function of a row: how far what was measured is from what was predicted, NaN where nothing was. */
export function deviation(measured, predicted) {
  return (row) => (predicted(row) ? measured(row) / predicted(row) - 1 : NaN);
}

/** A deviation as a part of the whole. */
export function off(value) {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) < 1e-9) return "equal";
  return Math.abs(value) < 0.0005 ? "0.0 %" : `${value > 0 ? "+" : ""}${(100 * value).toFixed(1)} %`;
}

/** A table that a click on a heading sorts: `columns` are [heading, value of a row, how it is written]. `fill` shows it; `onrow` is told of every row made. */
export function sortable(columns, items, name) {
  const node = element("div", { class: "scroll" });
  const values = items.map((item) => columns.map(([, value]) => value(item)));
  const write = (row) => row.map((value, i) => (typeof value === "number" && Number.isNaN(value) ? "–" : columns[i][2](value)));
  let order = items.map((_, i) => i);
  let [by, down] = [-1, false];
  const self = { node, onrow: () => {}, fill };
  const compare = (left, right) => {
    if (typeof left === "string") return left.localeCompare(right, "en", { numeric: true });
    return Number.isNaN(left) || Number.isNaN(right) ? Number.isNaN(left) - Number.isNaN(right) : left - right;
  };
  function fill() {
    const made = table(columns.map(([heading]) => heading), order.map((i) => write(values[i])), { class: `sorted ${name}` });
    made.querySelectorAll("tbody tr").forEach((row, at) => self.onrow(row, items[order[at]]));
    made.querySelectorAll("th").forEach((head, column) => {
      head.setAttribute("aria-sort", column === by ? (down ? "descending" : "ascending") : "none");
      head.addEventListener("click", () => {
        [by, down] = [column, column === by ? !down : typeof values[0]?.[column] === "number"];
        order = items.map((_, i) => i).sort((a, b) => (down ? -1 : 1) * compare(values[a][by], values[b][by]));
        fill();
      });
    });
    node.replaceChildren(made);
  }
  return self;
}
