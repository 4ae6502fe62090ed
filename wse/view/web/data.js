// A run's data: compressed arrays out of the page, decoded once, with totals per PE and counts per interval by name.

const READERS = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float64: Float64Array };
export const NO_CODE = 0xffffffff;
export const LINKS = ["north", "east", "south", "west"];
export const PORTS = ["NORTH", "EAST", "SOUTH", "WEST", "RAMP"];

/** Every run of the page, and the metrics there are. */
export async function load() {
  const { runs: heads, metrics } = JSON.parse(document.getElementById("meta").textContent);
  const kinds = metrics.filter(({ group, parts }) => parts.length === 1 && (group === "Activity" || group === "Stalls"));
  const texts = [...document.querySelectorAll("script.blob")];
  const runs = [];
  for (const head of heads) {
    const arrays = new Map();
    for (const blob of head.blobs) {
      const node = texts.shift();
      const buffer = await inflate(node.textContent);
      node.remove();
      for (const about of blob.arrays) arrays.set(about.name, read(buffer, about));
    }
    runs.push(new Run(head, arrays, kinds));
  }
  return { runs, metrics };
}

async function inflate(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function read(buffer, about) {
  const size = about.shape.reduce((product, n) => product * n, 1);
  return { codes: new READERS[about.type](buffer, about.offset, size), largest: about.largest };
}

/** Codes of a squeezed array back to values: largest * (code / top) ** 2, rounded for whole numbers. */
function expand(codes, largest) {
  if (largest === undefined) return codes;
  const top = codes.BYTES_PER_ELEMENT === 1 ? 255 : 65535;
  const factor = largest / (top * top);
  const values = new Float64Array(codes.length);
  for (let i = 0; i < codes.length; i++) values[i] = codes[i] * codes[i] * factor;
  return values;
}

export class Run {
  /** `kinds`: metrics that tell what a PE-cycle was spent on. */
  constructor(head, arrays, kinds) {
    Object.assign(this, head);
    this.kinds = kinds.map(({ id, label, group }) => ({ id, label, busy: group === "Activity" }));
    [this.width, this.height] = head.mesh;
    this.arrays = arrays;
    this.cache = new Map();
    this.side = head.intervals.side;
    this.edges = head.intervals.edges;
    this.numIntervals = this.edges.length - 1;
    this.classOf = arrays.get("class").codes;
    this.blocks = head.layers.name.map((name, i) => ({
      name, index: i, x: head.layers.x[i], y: head.layers.y[i], width: head.layers.width[i], height: head.layers.height[i],
    }));
  }

  /** Once computed, always there. */
  keep(key, compute) {
    if (!this.cache.has(key)) this.cache.set(key, compute());
    return this.cache.get(key);
  }

  /** A count of the whole run, per PE. */
  total(name) {
    const { codes, largest } = this.arrays.get(name);
    return this.keep(`total ${name}`, () => expand(codes, largest));
  }

  /** A count of one interval, per tile of `side` PEs. */
  interval(name, index) {
    const { codes, largest } = this.arrays.get(`intervals:${name}`);
    const size = this.columns(this.side) * this.rows(this.side);
    return expand(codes.subarray(index * size, (index + 1) * size), largest);
  }

  columns(side) {
    return Math.ceil(this.width / side);
  }

  rows(side) {
    return Math.ceil(this.height / side);
  }

  hasCode(pe) {
    return this.classOf[pe] !== NO_CODE;
  }

  /** Interval that covers a cycle, or -1 when the run was over by then. */
  intervalAt(cycle) {
    if (cycle >= this.edges[this.numIntervals]) return -1;
    let low = 0;
    let high = this.numIntervals - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.edges[middle] <= cycle) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Index of the block each PE belongs to, -1 for none. */
  blockOf() {
    return this.keep("blockOf", () => {
      const result = new Int16Array(this.width * this.height).fill(-1);
      for (const block of this.blocks) {
        for (let y = block.y; y < block.y + block.height; y++) {
          result.fill(block.index, y * this.width + block.x, y * this.width + block.x + block.width);
        }
      }
      return result;
    });
  }

  /** The routes of a router: color, rx, tx, wavelets sent and cycles they waited. Null when the page does not hold them. */
  routesAt(pe) {
    if (!this.arrays.has("route:pe")) return null;
    const all = this.arrays.get("route:pe").codes;
    let low = 0;
    let high = all.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (all[middle] < pe) low = middle + 1;
      else high = middle;
    }
    const rows = [];
    for (let i = low; i < all.length && all[i] === pe; i++) {
      const row = {};
      for (const name of ["color", "rx", "tx", "sent", "wait"]) row[name] = this.arrays.get(`route:${name}`).codes[i];
      rows.push(row);
    }
    return rows;
  }

  /** How the SRAM of a PE is used, or null without code. */
  memoryOf(pe) {
    if (!this.hasCode(pe)) return null;
    const [layout, data, code] = this.memory.classes[this.classOf[pe]];
    return { buffers: this.memory.layouts[layout], data, code, reserved: this.memory.reserved, sram: this.memory.sram };
  }

  /** Bytes of SRAM in use at a PE. */
  sramOf(pe) {
    const memory = this.memoryOf(pe);
    return memory ? memory.data + memory.code + memory.reserved : 0;
  }
}
