// The mesh on a canvas: heat map, blocks, routes, selection; moving, zooming and pointing at it.

import { WIDEST_PE } from "./camera.js";
import { scale } from "./colors.js";
import { LINKS } from "./data.js";
import { drawDefects } from "./defects.js";
import { pieces } from "./routes.js";

const MARGIN = { left: 34, top: 20, right: 8, bottom: 8 };
const FINEST_TILE = 3; // tiles are drawn at least this wide, in CSS pixels
const SHOWS_CELLS = 10; // PEs this wide get gaps between them
const SHOWS_LINKS = 16; // PEs this wide show their four links apart

export class MeshView {
  /** `on`: callbacks select(x, y, side), hover(view, x, y, side, event) and moved(). */
  constructor(run, camera, on) {
    Object.assign(this, { run, camera, on, picture: null, selected: null, block: -1, routes: "between", links: null });
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.className = "mesh";
    this.canvas.setAttribute("role", "img");
    this.image = document.createElement("canvas");
    this.listen();
  }

  plotWidth() {
    return this.canvas.clientWidth - MARGIN.left - MARGIN.right;
  }

  plotHeight() {
    return this.canvas.clientHeight - MARGIN.top - MARGIN.bottom;
  }

  fitZoom() {
    return Math.max(0.01, Math.min(WIDEST_PE, this.plotWidth() / this.run.width, this.plotHeight() / this.run.height));
  }

  /** Side of the tiles that totals are drawn in: a power of two. */
  level() {
    let side = 1;
    while (side * this.camera.zoom < FINEST_TILE) side *= 2;
    return side;
  }

  /** Size the canvas for the room there is. */
  resize() {
    const width = this.canvas.parentElement.clientWidth;
    if (!width) return; // not on show
    const wanted = ((width - MARGIN.left - MARGIN.right) * this.run.height) / this.run.width + MARGIN.top + MARGIN.bottom;
    const height = Math.round(Math.min(Math.max(wanted, 200), Math.max(360, innerHeight - 300)));
    const ratio = devicePixelRatio || 1;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    if (this.camera.fitted || this.camera.zoom < this.fitZoom()) this.camera.fit(this);
    this.camera.clamp(this);
  }

  toScreen(x, y) {
    return [
      MARGIN.left + this.plotWidth() / 2 + (x - this.camera.x) * this.camera.zoom,
      MARGIN.top + this.plotHeight() / 2 + (y - this.camera.y) * this.camera.zoom,
    ];
  }

  toMesh(px, py) {
    return [
      this.camera.x + (px - MARGIN.left - this.plotWidth() / 2) / this.camera.zoom,
      this.camera.y + (py - MARGIN.top - this.plotHeight() / 2) / this.camera.zoom,
    ];
  }

  /** Values to show, per tile of `side`; `position(value)` places one on the color scale, 0 to 1. `links`: per direction, per PE. */
  show({ values, side, position, signed, links }) {
    this.picture = { values, side, position, signed };
    this.links = links;
    const columns = this.run.columns(side);
    this.image.width = columns;
    this.image.height = this.run.rows(side);
    const colors = scale(signed);
    const pixels = new ImageData(columns, this.image.height);
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (Number.isNaN(value)) continue;
      const color = 3 * shade(position(value));
      pixels.data[4 * i] = colors[color];
      pixels.data[4 * i + 1] = colors[color + 1];
      pixels.data[4 * i + 2] = colors[color + 2];
      pixels.data[4 * i + 3] = 255;
    }
    this.image.getContext("2d").putImageData(pixels, 0, 0);
  }

  draw() {
    const pen = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const ink = (name) => style.getPropertyValue(name).trim();
    const ratio = devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.drawAxes(pen, ink);
    pen.save();
    pen.beginPath();
    pen.rect(MARGIN.left - 1, MARGIN.top - 1, this.plotWidth() + 2, this.plotHeight() + 2);
    pen.clip();
    this.drawGround(pen, ink);
    this.drawHeat(pen);
    if (this.camera.zoom >= SHOWS_LINKS && this.links) this.drawLinks(pen);
    if (this.camera.zoom >= SHOWS_CELLS) this.drawGaps(pen, ink("--card"));
    drawDefects(this, pen, ink);
    this.drawBlocks(pen, ink);
    this.drawNames(pen, ink);
    this.drawRoutes(pen, ink);
    this.drawSelection(pen, ink);
    pen.restore();
  }

  drawAxes(pen, ink) {
    pen.fillStyle = ink("--muted");
    pen.font = "10px system-ui, sans-serif";
    const step = tickStep(this.camera.zoom);
    const [left, top] = this.toMesh(MARGIN.left, MARGIN.top);
    const [right, bottom] = this.toMesh(MARGIN.left + this.plotWidth(), MARGIN.top + this.plotHeight());
    pen.textAlign = "center";
    for (let x = Math.max(0, Math.ceil((left - 0.5) / step) * step); x < Math.min(this.run.width, right); x += step) {
      const [px] = this.toScreen(x + 0.5, 0);
      if (px >= MARGIN.left) pen.fillText(String(x), px, Math.max(MARGIN.top, this.toScreen(0, 0)[1]) - 6);
    }
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (let y = Math.max(0, Math.ceil((top - 0.5) / step) * step); y < Math.min(this.run.height, bottom); y += step) {
      const [px, py] = this.toScreen(0, y + 0.5);
      if (py >= MARGIN.top) pen.fillText(String(y), Math.max(MARGIN.left - 6, px - 6), py);
    }
    pen.textBaseline = "alphabetic";
  }

  drawGround(pen, ink) {
    const [x, y] = this.toScreen(0, 0);
    pen.fillStyle = ink("--empty");
    pen.fillRect(x, y, this.run.width * this.camera.zoom, this.run.height * this.camera.zoom);
  }

  drawHeat(pen) {
    if (!this.picture) return;
    const [x, y] = this.toScreen(0, 0);
    const size = this.picture.side * this.camera.zoom;
    pen.save();
    pen.beginPath();
    pen.rect(x, y, this.run.width * this.camera.zoom, this.run.height * this.camera.zoom);
    pen.clip();
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.image, x, y, this.image.width * size, this.image.height * size);
    pen.restore();
  }

  /** PEs on the screen: first and last column and row. */
  visible() {
    const [x0, y0] = this.toMesh(MARGIN.left, MARGIN.top);
    const [x1, y1] = this.toMesh(MARGIN.left + this.plotWidth(), MARGIN.top + this.plotHeight());
    return [Math.max(0, Math.floor(x0)), Math.max(0, Math.floor(y0)), Math.min(this.run.width - 1, Math.floor(x1)), Math.min(this.run.height - 1, Math.floor(y1))];
  }

  /** Each PE as four triangles, one for each outgoing link. */
  drawLinks(pen) {
    const [x0, y0, x1, y1] = this.visible();
    const colors = scale(this.picture.signed);
    const zoom = this.camera.zoom;
    const corners = [[0, 0], [zoom, 0], [zoom, zoom], [0, zoom]];
    for (let y = y0; y <= y1; y++) {
      for (let x = x0; x <= x1; x++) {
        const pe = y * this.run.width + x;
        if (Number.isNaN(this.links[0][pe])) continue;
        const [px, py] = this.toScreen(x, y);
        for (let d = 0; d < LINKS.length; d++) {
          const color = 3 * shade(this.picture.position(this.links[d][pe]));
          pen.fillStyle = `rgb(${colors[color]} ${colors[color + 1]} ${colors[color + 2]})`;
          const [ax, ay] = corners[d];
          const [bx, by] = corners[(d + 1) % 4];
          pen.beginPath();
          pen.moveTo(px + ax, py + ay);
          pen.lineTo(px + bx, py + by);
          pen.lineTo(px + zoom / 2, py + zoom / 2);
          pen.fill();
        }
      }
    }
  }

  drawGaps(pen, color) {
    const [x0, y0, x1, y1] = this.visible();
    pen.strokeStyle = color;
    pen.lineWidth = Math.min(2, this.camera.zoom / 14);
    pen.beginPath();
    for (let x = x0; x <= x1 + 1; x++) {
      pen.moveTo(...this.toScreen(x, y0));
      pen.lineTo(...this.toScreen(x, y1 + 1));
    }
    for (let y = y0; y <= y1 + 1; y++) {
      pen.moveTo(...this.toScreen(x0, y));
      pen.lineTo(...this.toScreen(x1 + 1, y));
    }
    pen.stroke();
  }

  drawBlocks(pen, ink) {
    for (const block of this.run.blocks) {
      const [x, y] = this.toScreen(block.x, block.y);
      const [width, height] = [block.width * this.camera.zoom, block.height * this.camera.zoom];
      const here = block.index === this.block;
      pen.strokeStyle = ink("--card");
      pen.lineWidth = here ? 5 : 3;
      pen.strokeRect(x, y, width, height);
      pen.strokeStyle = ink(here ? "--accent" : "--outline");
      pen.lineWidth = here ? 3 : 1.2;
      pen.strokeRect(x, y, width, height);
    }
  }

  drawRoutes(pen, ink) {
    if (this.routes === "off") return;
    if (this.routes === "all" && this.camera.zoom >= 4) this.drawPieces(pen, ink, pieces(this.run, true), 0.5);
    this.drawPieces(pen, ink, pieces(this.run, false), 1);
  }

  drawPieces(pen, ink, lines, strength) {
    const width = Math.min(3, Math.max(1, this.camera.zoom / 10));
    pen.lineCap = "round";
    pen.globalAlpha = strength;
    for (const [stroke, halo] of [[ink("--card"), 2.5], [ink("--route"), 0]]) {
      pen.strokeStyle = stroke;
      pen.lineWidth = width + halo;
      pen.beginPath();
      for (const piece of lines) {
        const [x0, y0] = this.toScreen(...this.onMesh(piece[0], piece[1]));
        const [x1, y1] = this.toScreen(...this.onMesh(piece[2], piece[3]));
        pen.moveTo(x0, y0);
        pen.lineTo(x1, y1);
        arrowHead(pen, x0, y0, x1, y1, Math.max(4, Math.min(9, 2.5 * width + 1)));
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  /** The middle of a PE; the host is at the mesh's edge. */
  onMesh(x, y) {
    return [Math.max(0, Math.min(this.run.width, x + 0.5)), Math.max(0, Math.min(this.run.height, y + 0.5))];
  }

  /** Names in the middle of what can be seen of each block: routes run along the edges. */
  drawNames(pen, ink) {
    pen.font = "600 11px system-ui, sans-serif";
    pen.textAlign = "left";
    const [right, bottom] = [MARGIN.left + this.plotWidth(), MARGIN.top + this.plotHeight()];
    for (const block of this.run.blocks) {
      const [x0, y0] = this.toScreen(block.x, block.y);
      const [x1, y1] = this.toScreen(block.x + block.width, block.y + block.height);
      const width = pen.measureText(block.name).width;
      const room = [Math.min(x1, right) - Math.max(x0, MARGIN.left), Math.min(y1, bottom) - Math.max(y0, MARGIN.top)];
      if (width + 10 > room[0] || 17 > room[1]) continue;
      const px = Math.max(x0, MARGIN.left) + (room[0] - width) / 2;
      const py = Math.max(y0, MARGIN.top) + room[1] / 2;
      pen.globalAlpha = 0.88;
      pen.fillStyle = ink("--card");
      pen.beginPath();
      pen.roundRect(px - 4, py - 7.5, width + 8, 15, 4);
      pen.fill();
      pen.globalAlpha = 1;
      pen.fillStyle = ink("--text");
      pen.fillText(block.name, px, py + 4);
    }
  }

  drawSelection(pen, ink) {
    if (!this.selected) return;
    const { x, y, side } = this.selected;
    const [px, py] = this.toScreen(x, y);
    const [ex, ey] = this.toScreen(Math.min(x + side, this.run.width), Math.min(y + side, this.run.height));
    const grow = Math.max(0, (8 - (ex - px)) / 2); // never too small to see
    for (const [color, width] of [[ink("--card"), 5], [ink("--selected"), 2.5]]) {
      pen.strokeStyle = color;
      pen.lineWidth = width;
      pen.strokeRect(px - grow, py - grow, ex - px + 2 * grow, ey - py + 2 * grow);
    }
  }

  /** What a pointer is at: the first PE of the tile, and the tile's side; null beside the mesh. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = this.toMesh(event.clientX - box.left, event.clientY - box.top).map(Math.floor);
    if (x < 0 || y < 0 || x >= this.run.width || y >= this.run.height) return null;
    const side = this.picture?.side ?? 1;
    return { x: x - (x % side), y: y - (y % side), side };
  }

  listen() {
    let pressed = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      pressed = { x: event.clientX, y: event.clientY, dragged: false };
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (pressed) {
        const [dx, dy] = [event.clientX - pressed.x, event.clientY - pressed.y];
        if (!pressed.dragged && Math.hypot(dx, dy) < 4) return;
        pressed = { x: event.clientX, y: event.clientY, dragged: true };
        this.camera.x -= dx / this.camera.zoom;
        this.camera.y -= dy / this.camera.zoom;
        this.camera.clamp(this);
        this.on.moved();
      }
      this.on.hover(this, this.at(event), event);
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (pressed && !pressed.dragged) this.on.select(this.at(event));
      pressed = null;
    });
    this.canvas.addEventListener("pointerleave", () => this.on.hover(this, null, null));
    this.canvas.addEventListener("dblclick", (event) => {
      const box = this.canvas.getBoundingClientRect();
      this.camera.zoomAt(this, event.shiftKey ? 1 / 3 : 3, ...this.toMesh(event.clientX - box.left, event.clientY - box.top));
      this.on.moved();
    });
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      const box = this.canvas.getBoundingClientRect();
      this.camera.zoomAt(this, Math.exp(-event.deltaY / 300), ...this.toMesh(event.clientX - box.left, event.clientY - box.top));
      this.on.moved();
    }, { passive: false });
  }
}

/** Index of a color for a place on the scale. */
function shade(position) {
  return Math.max(0, Math.min(255, Math.round(255 * position)));
}

/** Ticks 1, 2 or 5 times a power of ten apart, with room for their labels. */
function tickStep(zoom) {
  for (let power = 1; ; power *= 10) for (const step of [power, 2 * power, 5 * power]) if (step * zoom >= 26) return step;
}

function arrowHead(pen, x0, y0, x1, y1, size) {
  const angle = Math.atan2(y1 - y0, x1 - x0);
  for (const turn of [2.6, -2.6]) {
    pen.moveTo(x1, y1);
    pen.lineTo(x1 + size * Math.cos(angle + turn), y1 + size * Math.sin(angle + turn));
  }
}
