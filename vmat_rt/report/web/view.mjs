// From millimetres to pixels of one pane. Radiological: the patient's right is on the left of axial and coronal views,
// sagittal views have the front on the left. y grows downwards on axial views; z grows upwards on the others.

export const VIEWS = {
  axial: { normal: 0, down: 1, across: 2, flip: false, letters: ["R", "L", "A", "P"] },
  coronal: { normal: 1, down: 0, across: 2, flip: true, letters: ["R", "L", "H", "F"] },
  sagittal: { normal: 2, down: 0, across: 1, flip: true, letters: ["A", "P", "H", "F"] },
};

/** The transform of a pane of `size` [width, height] pixels: equal scales on both axes, whole region at zoom 1. */
export function makeTransform(view, bounds, size, { zoom, pan }) {
  const { across, down, flip } = VIEWS[view];
  const extent = [across, down].map((axis) => bounds[axis][1] - bounds[axis][0]);
  const scale = zoom * Math.min(size[0] / extent[0], size[1] / extent[1]);
  const middle = [across, down].map((axis, i) => (bounds[axis][0] + bounds[axis][1]) / 2 + pan[i]);
  const sign = flip ? -1 : 1;
  return {
    scale, // pixels per mm
    toPixel: (a, d) => [size[0] / 2 + (a - middle[0]) * scale, size[1] / 2 + sign * (d - middle[1]) * scale],
    toMm: (px, py) => [middle[0] + (px - size[0] / 2) / scale, middle[1] + (sign * (py - size[1] / 2)) / scale],
  };
}

/** The pan that keeps the point under a pixel where it is when the zoom changes. */
export function zoomAbout(view, bounds, size, before, zoom, pixel) {
  const [a, d] = makeTransform(view, bounds, size, before).toMm(...pixel);
  const [a2, d2] = makeTransform(view, bounds, size, { ...before, zoom }).toMm(...pixel);
  return { zoom, pan: [before.pan[0] + a - a2, before.pan[1] + d - d2] };
}

/** Length of a scale bar in mm: the largest of 10, 20, 50, 100 that takes at most a third of the width. */
export function barLength(scale, width) {
  return [100, 50, 20, 10].find((mm) => mm * scale <= width / 3) ?? 5;
}
