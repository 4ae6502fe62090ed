// The time line: the mesh's mean over time, and the interval that is shown.

/** Draw means per interval of each run over its cycles, and mark cycles `shown` (from, to), or none. */
export function drawTimeline(canvas, series, cycles, shown) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  pen.scale(ratio, ratio);
  const top = Math.max(1e-12, ...series.flatMap((one) => one.means));
  const [inset, base] = [8, height - 2]; // the slider's thumb reaches that far in
  const x = (cycle) => inset + ((width - 2 * inset) * cycle) / Math.max(1, cycles);
  const y = (value) => base - ((height - 8) * value) / top;
  if (shown) {
    pen.fillStyle = style.getPropertyValue("--wash");
    pen.fillRect(x(shown[0]), 0, Math.max(2, x(shown[1]) - x(shown[0])), height);
  }
  series.forEach(({ edges, means }, i) => {
    const outline = new Path2D();
    outline.moveTo(x(0), base);
    means.forEach((mean, f) => {
      outline.lineTo(x(edges[f]), y(mean));
      outline.lineTo(x(edges[f + 1]), y(mean));
    });
    outline.lineTo(x(edges[means.length] ?? 0), base);
    const color = style.getPropertyValue(i ? "--second" : "--accent");
    pen.fillStyle = pen.strokeStyle = color;
    pen.globalAlpha = 0.18;
    pen.fill(outline);
    pen.globalAlpha = 1;
    pen.lineWidth = 1.2;
    if (i) pen.setLineDash([4, 3]);
    pen.stroke(outline);
    pen.setLineDash([]);
  });
}
