// Dose along a line.
import { sampleAt } from "./volume.mjs";

/** Distances (mm) from a to b, points (z, y, x) mm, at most `step` apart; both ends included. */
export function placesAlong(a, b, step = 1) {
  const length = Math.hypot(...a.map((value, axis) => b[axis] - value));
  const count = Math.max(1, Math.ceil(length / step));
  return Array.from({ length: count + 1 }, (_, i) => (length * i) / count);
}

/** [[distance mm, value], ...] of a volume along a line; NaN where it has no value. */
export function sampleLine(volume, a, b, step = 1) {
  const places = placesAlong(a, b, step);
  const length = places[places.length - 1] || 1;
  return places.map((mm) => [mm, sampleAt(volume, a.map((value, axis) => value + ((b[axis] - value) * mm) / length))]);
}
