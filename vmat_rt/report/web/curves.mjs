// DVH curves as they are shown: in Gy or percent, percent or cc, and the table of what can be exported.
import { interpolate } from "./scale.mjs";

/** Factors from the stored curve (Gy, percent of the covered part) to what is shown. */
export function factorsOf(curve, structure, { relativeDose, absoluteVolume, reference }) {
  return {
    x: relativeDose ? 100 / reference : 1,
    y: absoluteVolume ? (structure.volume * curve.covered) / 10000 : 1,
  };
}

/**
 * The points of a curve in two parts: [sure, unsure], each [[x, y], ...]. Up to `openBelow` Gy the part of the structure
 * outside the dose grid may add to it.
 */
export function splitCurve(curve, structure, units) {
  const { x, y } = factorsOf(curve, structure, units);
  const points = curve.x.map((gy, i) => [gy * x, curve.y[i] * y]);
  if (!curve.openBelow) return [points, []];
  const middle = [curve.openBelow * x, interpolate(curve.x, curve.y, curve.openBelow) * y];
  const cut = curve.x.findIndex((gy) => gy > curve.openBelow);
  if (cut < 0) return [[], points];
  return [[middle, ...points.slice(cut)], [...points.slice(0, cut), middle]];
}

/** The outline of a band, [[x, y], ...]: down its lowest doses and back along its highest. */
export function outlineBand(band, structure, { relativeDose, absoluteVolume, reference }) {
  const x = relativeDose ? 100 / reference : 1;
  const y = absoluteVolume ? structure.volume / 100 : 1;
  const side = (doses) => doses.map((gy, i) => [gy * x, band.y[i] * y]);
  return [...side(band.low), ...side(band.high).reverse()];
}

/** The volume at a dose (both as shown); 0 beyond the curve's end. */
export function readCurve(curve, structure, units, dose) {
  const { x, y } = factorsOf(curve, structure, units);
  const gy = dose / x;
  return gy > curve.x[curve.x.length - 1] ? 0 : interpolate(curve.x, curve.y, gy) * y;
}

/** One field of CSV; what a spreadsheet would run as a formula stays text. */
export function quoteField(text) {
  const plain = String(text);
  const safe = /^[=+\-@\t\r]/.test(plain) && Number.isNaN(Number(plain)) ? `'${plain}` : plain;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The curves that are shown as CSV with a row per point; every row carries the notice. */
export function writeCsv(shown, notice) {
  const rows = [["structure", "dose_source", "dose_gy", "volume_percent", "volume_cc", "notice"]];
  for (const { structure, curve, title } of shown) {
    curve.x.forEach((gy, i) => {
      const cc = (curve.y[i] * structure.volume * curve.covered) / 10000;
      rows.push([structure.name, title, gy.toFixed(2), curve.y[i].toFixed(3), cc.toFixed(4), notice]);
    });
  }
  return `${rows.map((row) => row.map(quoteField).join(",")).join("\n")}\n`;
}
