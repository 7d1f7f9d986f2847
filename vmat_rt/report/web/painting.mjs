// What one pane shows, painted on a canvas: CT and the chosen layer as pixels, then lines.
import { scaleIndex } from "./colours.mjs";

/** For each pixel along one axis the lattice index below it and the weight of the next; index -1 outside. */
export function makeLookup(count, toMm, origin, spacing, length) {
  const index = new Int32Array(count).fill(-1);
  const weight = new Float32Array(count);
  for (let p = 0; p < count; p++) {
    const place = (toMm(p + 0.5) - origin) / spacing;
    if (!(place >= -0.5 && place <= length - 0.5)) continue;
    const held = Math.min(Math.max(place, 0), length - 1);
    index[p] = Math.min(Math.floor(held), Math.max(length - 2, 0));
    weight[p] = held - index[p];
  }
  return { index, weight };
}

/** A plane with its lookups for every pixel of a pane; null without a plane. */
function placePlane(plane, size, transform) {
  if (plane === null) return null;
  const { values, width, height, origin, spacing } = plane;
  const columns = makeLookup(size[0], (p) => transform.toMm(p, 0)[0], origin[0], spacing[0], width);
  const rows = makeLookup(size[1], (p) => transform.toMm(0, p)[1], origin[1], spacing[1], height);
  return { values, columns, rows, width, right: width > 1 ? 1 : 0, below: height > 1 ? width : 0 };
}

/** The value of a placed plane at each pixel of a row into `out`, NaN outside; linear or nearest. */
function readRow(placed, row, nearest, out) {
  const { values, columns, rows, width, right, below } = placed;
  const j = rows.index[row];
  const v = rows.weight[row];
  if (j < 0) {
    out.fill(NaN);
    return;
  }
  for (let px = 0; px < out.length; px++) {
    const i = columns.index[px];
    if (i < 0) {
      out[px] = NaN;
      continue;
    }
    const u = columns.weight[px];
    const k = j * width + i;
    if (nearest) {
      out[px] = values[k + (u > 0.5 ? right : 0) + (v > 0.5 ? below : 0)];
      continue;
    }
    const top = values[k] + u * (values[k + right] - values[k]);
    const bottom = values[k + below] + u * (values[k + below + right] - values[k + below]);
    out[px] = top + v * (bottom - top);
  }
}

/**
 * CT in grey and a layer's colours over it as ImageData. layer: {plane, scale, range, strength(value) 0..1, nearest},
 * or null for the CT alone; greys: the grey of 4096 HU from -1024 up.
 */
export function paintImage(image, transform, ctPlane, greys, layer) {
  const { data, width, height } = image;
  const ct = placePlane(ctPlane, [width, height], transform);
  const over = layer && placePlane(layer.plane, [width, height], transform);
  const hus = new Float32Array(width).fill(NaN);
  const values = new Float32Array(width).fill(NaN);
  for (let py = 0, at = 0; py < height; py++) {
    if (ct) readRow(ct, py, false, hus);
    if (over) readRow(over, py, layer.nearest, values);
    for (let px = 0; px < width; px++, at += 4) {
      const hu = hus[px];
      const grey = hu === hu ? greys[Math.min(4095, Math.max(0, Math.round(hu) + 1024))] : 0;
      const value = values[px];
      const strength = value === value ? layer.strength(value) : 0;
      const colour = strength > 0 ? 3 * scaleIndex(value, layer.range[0], layer.range[1]) : 0;
      data[at] = strength > 0 ? grey + strength * (layer.scale[colour] - grey) : grey;
      data[at + 1] = strength > 0 ? grey + strength * (layer.scale[colour + 1] - grey) : grey;
      data[at + 2] = strength > 0 ? grey + strength * (layer.scale[colour + 2] - grey) : grey;
      data[at + 3] = 255;
    }
  }
}

/** Curves in mm as lines of one colour; solid ones on a dark edge. */
export function strokeCurves(context, curves, transform, { colour, width, dash = [] }) {
  if (!curves.length) return;
  context.beginPath();
  for (const curve of curves) {
    curve.forEach(([a, d], n) => {
      const [x, y] = transform.toPixel(a, d);
      if (n === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    });
  }
  context.lineJoin = "round";
  if (!dash.length) {
    context.strokeStyle = "rgb(0 0 0 / 55%)";
    context.lineWidth = width + 1.6;
    context.stroke();
  }
  context.setLineDash(dash);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
  context.setLineDash([]);
}

/** Text that can be read on any picture. */
export function writeText(context, text, x, y, { align = "left", baseline = "top", colour = "#e8edf2", size = 12, bold = false }) {
  context.font = `${bold ? "600 " : ""}${size}px system-ui, "Segoe UI", Roboto, Arial, sans-serif`;
  context.textAlign = align;
  context.textBaseline = baseline;
  context.lineJoin = "round";
  context.lineWidth = size / 4;
  context.strokeStyle = "rgb(0 0 0 / 80%)";
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}
