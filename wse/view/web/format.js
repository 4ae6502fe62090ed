// Numbers, places and DOM nodes as the page writes them.

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A whole number with thousands apart. */
export function integer(value) {
  return grouped.format(value);
}

/** Three or four significant digits, thousands apart. */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1000) return integer(value);
  if (size >= 100 || size === 0) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

/** A value with its unit. */
export function withUnit(value, unit) {
  if (!Number.isFinite(value)) return "–";
  return unit === "%" ? `${short(value)} %` : `${short(value)} ${unit}`;
}

export function place(x, y) {
  return `(${x}, ${y})`;
}

/** A rectangle by its corners, as everywhere in the project. */
export function rectangle(x, y, width, height) {
  return `(${x},${y})-(${x + width - 1},${y + height - 1})`;
}

/** An element with attributes (a function is a listener for the event so named) and children. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** A table from a row of headings and rows of cells; a cell that is a string or number is text. */
export function table(headings, rows, attributes = {}) {
  const head = element("thead", {}, element("tr", {}, ...headings.map((text, i) => element("th", { class: i ? "number" : null }, text))));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell, i) => element("td", { class: i ? "number" : null }, cell))));
  return element("table", attributes, head, element("tbody", {}, ...body));
}
