// Where the mesh is looked at from: a place and a zoom.

export const WIDEST_PE = 96; // in CSS pixels

/** Where the mesh is looked at from; views that share a camera move together. */
export class Camera {
  constructor(run) {
    Object.assign(this, { width: run.width, height: run.height, x: 0, y: 0, zoom: 0, fitted: true });
  }

  fit(view) {
    this.zoom = view.fitZoom();
    this.x = this.width / 2;
    this.y = this.height / 2;
    this.fitted = true;
  }

  /** Zoom by `factor` and keep the mesh place (x, y) where it is on the screen. */
  zoomAt(view, factor, x, y) {
    const zoom = Math.min(WIDEST_PE, Math.max(view.fitZoom(), this.zoom * factor));
    const kept = this.zoom / zoom;
    this.x = x + (this.x - x) * kept;
    this.y = y + (this.y - y) * kept;
    this.zoom = zoom;
    this.fitted = zoom === view.fitZoom();
    this.clamp(view);
  }

  clamp(view) {
    const half = [view.plotWidth() / this.zoom / 2, view.plotHeight() / this.zoom / 2];
    const clamped = (at, size, reach) => (2 * reach >= size ? size / 2 : Math.min(size - reach, Math.max(reach, at)));
    this.x = clamped(this.x, this.width, half[0]);
    this.y = clamped(this.y, this.height, half[1]);
  }
}
