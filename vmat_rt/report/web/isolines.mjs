// Isolines of a plane (marching squares), joined to curves in mm.

// For each of the 16 cases the edges that a segment joins: 0 top, 1 right, 2 bottom, 3 left.
const SEGMENTS = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [], [[0, 2]], [[3, 2]],
  [[2, 3]], [[2, 0]], [], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
];

/** Case 5 and 10 have two segments; the cell's mean says which corners belong together. */
function segmentsOf(kind, centreIsAbove) {
  if (kind === 5) return centreIsAbove ? [[0, 1], [2, 3]] : [[3, 0], [1, 2]];
  if (kind === 10) return centreIsAbove ? [[3, 0], [1, 2]] : [[0, 1], [2, 3]];
  return SEGMENTS[kind];
}

let scratch = new Int32Array(0);

/** Room for `count` links, all -1; the same memory each time, for a slice has dozens of levels. */
function takeScratch(count) {
  if (scratch.length < count) scratch = new Int32Array(count);
  return scratch.subarray(0, count).fill(-1);
}

/** Whether a plane has values on both sides of a level. */
function spans({ values }, level) {
  let below = false;
  let above = false;
  for (let k = 0; k < values.length && !(below && above); k++) {
    if (values[k] >= level) above = true;
    else if (values[k] < level) below = true;
  }
  return below && above;
}

/** Both ends of all segments: for each lattice edge up to two neighbours, -1 where there is none. */
function linkEdges({ values, width, height }, level) {
  const links = takeScratch(4 * width * height);
  const add = (from, to) => { links[2 * from + (links[2 * from] < 0 ? 0 : 1)] = to; };
  for (let j = 0; j + 1 < height; j++) {
    for (let i = 0; i + 1 < width; i++) {
      const k = j * width + i;
      const a = values[k];
      const b = values[k + 1];
      const c = values[k + width + 1];
      const d = values[k + width];
      const kind = (a >= level ? 1 : 0) | (b >= level ? 2 : 0) | (c >= level ? 4 : 0) | (d >= level ? 8 : 0);
      if (kind === 0 || kind === 15 || Number.isNaN(a + b + c + d)) continue;
      const edges = [2 * k, 2 * (k + 1) + 1, 2 * (k + width), 2 * k + 1];
      for (const [first, second] of segmentsOf(kind, (a + b + c + d) / 4 >= level)) {
        add(edges[first], edges[second]);
        add(edges[second], edges[first]);
      }
    }
  }
  return links;
}

/** Where the level crosses a lattice edge, mm. Even edges run across from their lattice point, odd ones down. */
function crossing(plane, edge, level) {
  const k = edge >> 1;
  const across = edge % 2 === 0;
  const [a, b] = [plane.values[k], plane.values[k + (across ? 1 : plane.width)]];
  const share = (level - a) / (b - a);
  const x = (k % plane.width) + (across ? share : 0);
  const y = Math.floor(k / plane.width) + (across ? 0 : share);
  return [plane.origin[0] + x * plane.spacing[0], plane.origin[1] + y * plane.spacing[1]];
}

/** The curves on which a plane has the level: lists of [across, down] mm. Closed ones repeat their first point. */
export function traceLevel(plane, level) {
  if (!spans(plane, level)) return [];
  const links = linkEdges(plane, level);
  const seen = new Uint8Array(links.length / 2);
  const follow = (start) => {
    const curve = [];
    let [edge, before] = [start, -1];
    while (edge >= 0 && !seen[edge]) {
      seen[edge] = 1;
      curve.push(crossing(plane, edge, level));
      const [first, second] = [links[2 * edge], links[2 * edge + 1]];
      const next = first !== before ? first : second;
      [before, edge] = [edge, next];
    }
    if (edge === start && curve.length > 2) curve.push(curve[0]);
    return curve;
  };
  const curves = [];
  for (const wanted of [1, 2]) { // open curves from their ends first, then what is closed
    for (let edge = 0; edge < seen.length; edge++) {
      const count = (links[2 * edge] >= 0 ? 1 : 0) + (links[2 * edge + 1] >= 0 ? 1 : 0);
      if (count === wanted && !seen[edge]) curves.push(follow(edge));
    }
  }
  return curves;
}
