// A metric's value per PE over the whole run, and per tile in an interval; the page's data says what metrics there are.

import { LINKS } from "./data.js";

/** A function of an index: the value there, from counts by name and the cycles they were counted in. */
function formula(metric, get, cycles, run) {
  const { form, factor } = metric;
  const counts = metric.parts.map(get);
  if (form === "sram") return (i) => run.sramOf(i);
  if (form === "max") return (i) => (factor * counts.reduce((most, count) => Math.max(most, count[i]), 0)) / cycles;
  const sum = (i) => {
    let result = 0;
    for (const count of counts) result += count[i];
    return result;
  };
  return form === "rest" ? (i) => (factor * Math.max(0, cycles - sum(i))) / cycles : (i) => (factor * sum(i)) / cycles;
}

/** Values per PE over the whole run; NaN where there is nothing to show. */
export function valuesPerPe(run, metric) {
  return run.keep(`values ${metric.id}`, () => {
    const value = formula(metric, (name) => run.total(name), run.cycles, run);
    const shown = metric.links ? routed(run) : null;
    const result = new Float32Array(run.width * run.height);
    for (let i = 0; i < result.length; i++) result[i] = run.hasCode(i) || shown?.[i] ? value(i) : NaN;
    return result;
  });
}

/** Mean values per tile of `run.side` in one interval; NaN where no PE has anything to show. */
export function valuesOfInterval(run, metric, index) {
  const counts = new Map(metric.parts.map((name) => [name, run.interval(name, index)]));
  const pes = pesPerTile(run, metric.links);
  const cycles = run.edges[index + 1] - run.edges[index];
  const perTile = Float32Array.from(pes);
  const scaled = (name) => counts.get(name).map((sum, i) => sum / perTile[i]);
  const means = new Map(metric.parts.map((name) => [name, scaled(name)]));
  const value = formula(metric, (name) => means.get(name), cycles, run);
  return perTile.map((num, i) => (num ? value(i) : NaN));
}

/** Per interval: the mean over the mesh, and the largest tile; what the time line and its color scale need. */
export function overview(run, metric) {
  return run.keep(`overview ${metric.id}`, () => {
    const pes = pesPerTile(run, metric.links);
    const means = [];
    let largest = 0;
    for (let f = 0; f < run.numIntervals; f++) {
      const values = valuesOfInterval(run, metric, f);
      let sum = 0;
      let num = 0;
      for (let i = 0; i < values.length; i++) {
        if (!pes[i]) continue;
        sum += values[i] * pes[i];
        num += pes[i];
        largest = Math.max(largest, values[i]);
      }
      means.push(num ? sum / num : 0);
    }
    return { means, largest };
  });
}

/** Values per tile of `side` from values per PE: the mean, or the highest; NaN stands for none. */
export function coarsen(run, values, side, how) {
  if (side === 1) return values;
  const columns = run.columns(side);
  const result = new Float32Array(columns * run.rows(side)).fill(NaN);
  const num = new Uint32Array(result.length);
  for (let y = 0; y < run.height; y++) {
    const base = Math.floor(y / side) * columns;
    for (let x = 0; x < run.width; x++) {
      const value = values[y * run.width + x];
      if (Number.isNaN(value)) continue;
      const i = base + Math.floor(x / side);
      if (!num[i]++) result[i] = value;
      else result[i] = how === "max" ? Math.max(result[i], value) : result[i] + value;
    }
  }
  if (how !== "max") for (let i = 0; i < result.length; i++) result[i] /= num[i] || 1;
  return result;
}

export function largest(values) {
  let result = 0;
  for (const value of values) if (value > result) result = value;
  return result;
}

/** PEs whose router passed something on. */
function routed(run) {
  return run.keep("routed", () => {
    const sent = LINKS.map((direction) => run.total(`sent_${direction}`));
    return Uint8Array.from({ length: run.width * run.height }, (_, i) => (sent.some((counts) => counts[i] > 0) ? 1 : 0));
  });
}

function pesPerTile(run, links) {
  return run.keep(`pes per tile ${links ? "links" : "code"}`, () => {
    const shown = links ? routed(run) : null;
    const columns = run.columns(run.side);
    const result = new Uint32Array(columns * run.rows(run.side));
    for (let y = 0; y < run.height; y++) {
      for (let x = 0; x < run.width; x++) {
        const i = y * run.width + x;
        if (run.hasCode(i) || shown?.[i]) result[Math.floor(y / run.side) * columns + Math.floor(x / run.side)]++;
      }
    }
    return result;
  });
}
