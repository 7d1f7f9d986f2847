// A volume as the page holds it: codes on a grid, ordered (z, y, x), LPS mm. Outside its outer faces there is no value.

/** Bytes of a base64 text that holds deflated data; the browser's own decompression, nothing is fetched. */
export async function inflate(base64) {
  const bytes = readBase64(base64.trim());
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function readBase64(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Codes (Uint16Array) of inflated bytes: lower then upper bytes of zigzag differences along x and y. */
export function decodeCodes(bytes, [depth, height, width]) {
  const count = depth * height * width;
  const codes = new Uint16Array(count);
  for (let z = 0, i = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      let left = 0;
      let leftAbove = 0;
      for (let x = 0; x < width; x++, i++) {
        const zigzag = bytes[i] | (bytes[count + i] << 8);
        const above = y > 0 ? codes[i - width] : 0;
        left = (((zigzag >>> 1) ^ -(zigzag & 1)) + left + above - leftAbove) & 0xffff;
        codes[i] = left;
        leftAbove = above;
      }
    }
  }
  return codes;
}

/** The volume of its description ({shape, spacing, origin, step, lowest}) and its codes. */
export function makeVolume({ shape, spacing, origin, step, lowest }, codes) {
  return { shape, spacing, origin, step, lowest, codes };
}

/** The value of one voxel, NaN where there is none. */
export function valueAt(volume, z, y, x) {
  const code = volume.codes[(z * volume.shape[1] + y) * volume.shape[2] + x];
  return code === 0 ? NaN : volume.lowest + (code - 1) * volume.step;
}

/** Where a place (mm) lies along an axis: [lower index, weight of the next one], or null outside the outer faces. */
export function locate(volume, axis, mm) {
  const last = volume.shape[axis] - 1;
  const position = (mm - volume.origin[axis]) / volume.spacing[axis];
  if (!(position >= -0.5 - 1e-6 && position <= last + 0.5 + 1e-6)) return null;
  const held = Math.min(Math.max(position, 0), last);
  const low = Math.min(Math.floor(held), Math.max(last - 1, 0));
  return [low, held - low];
}

/** The value at a point (z, y, x) mm, linear between voxel centres; NaN outside or beside an absent voxel. */
export function sampleAt(volume, point) {
  const places = point.map((mm, axis) => locate(volume, axis, mm));
  if (places.includes(null)) return NaN;
  let sum = 0;
  for (let corner = 0; corner < 8; corner++) {
    const steps = [corner >> 2, (corner >> 1) & 1, corner & 1];
    const weight = steps.reduce((w, step, axis) => w * (step ? places[axis][1] : 1 - places[axis][1]), 1);
    if (weight > 0) sum += weight * valueAt(volume, ...steps.map((step, axis) => places[axis][0] + step));
  }
  return sum;
}

/** Index of the voxel whose centre is nearest to a place along an axis, held within the volume. */
export function nearestIndex(volume, axis, mm) {
  const index = Math.round((mm - volume.origin[axis]) / volume.spacing[axis]);
  return Math.min(Math.max(index, 0), volume.shape[axis] - 1);
}

/** Centre of a voxel along an axis, mm. */
export function centreOf(volume, axis, index) {
  return volume.origin[axis] + index * volume.spacing[axis];
}

/** Lower and upper outer face along an axis, mm. */
export function boundsOf(volume, axis) {
  const low = volume.origin[axis] - volume.spacing[axis] / 2;
  return [low, low + volume.shape[axis] * volume.spacing[axis]];
}

/**
 * The volume on a plane across `normal` at `mm`: {values, width, height, origin: [across, down], spacing: [across, down]},
 * linear between the two nearest voxel planes, or the nearest one; null where the plane lies outside.
 */
export function cutPlane(volume, normal, mm, nearest = false) {
  const place = locate(volume, normal, mm);
  if (place === null) return null;
  let [low, weight] = place;
  if (nearest) [low, weight] = [Math.round(low + weight), 0];
  const [down, across] = [0, 1, 2].filter((axis) => axis !== normal);
  const strides = [volume.shape[1] * volume.shape[2], volume.shape[2], 1];
  const [width, height] = [volume.shape[across], volume.shape[down]];
  const [planeStride, rowStride, stride] = [strides[normal], strides[down], strides[across]];
  const first = low * planeStride;
  const values = new Float32Array(width * height);
  const { codes, step, lowest } = volume;
  for (let j = 0, k = 0; j < height; j++) {
    for (let i = 0; i < width; i++, k++) {
      const at = first + j * rowStride + i * stride;
      const here = codes[at];
      const there = weight > 0 ? codes[at + planeStride] : here;
      values[k] = here === 0 || there === 0 ? NaN : lowest + (here - 1 + weight * (there - here)) * step;
    }
  }
  return {
    values, width, height,
    origin: [volume.origin[across], volume.origin[down]],
    spacing: [volume.spacing[across], volume.spacing[down]],
  };
}

/** A plane of first minus second volume, on the first one's lattice; NaN where either has no value. */
export function subtractPlanes(first, second, normal, mm) {
  const plane = cutPlane(first, normal, mm);
  if (plane === null) return null;
  const other = cutPlane(second, normal, mm);
  const values = plane.values.map((value, k) => {
    const across = plane.origin[0] + (k % plane.width) * plane.spacing[0];
    const down = plane.origin[1] + Math.floor(k / plane.width) * plane.spacing[1];
    return other === null ? NaN : value - samplePlane(other, across, down);
  });
  return { ...plane, values };
}

/** A plane's value at (across, down) mm, linear between lattice points; NaN outside its outer faces. */
export function samplePlane(plane, across, down) {
  const x = (across - plane.origin[0]) / plane.spacing[0];
  const y = (down - plane.origin[1]) / plane.spacing[1];
  const { width, height, values } = plane;
  if (!(x >= -0.5 - 1e-6 && x <= width - 0.5 + 1e-6 && y >= -0.5 - 1e-6 && y <= height - 0.5 + 1e-6)) return NaN;
  const heldX = Math.min(Math.max(x, 0), width - 1);
  const heldY = Math.min(Math.max(y, 0), height - 1);
  const i = Math.min(Math.floor(heldX), Math.max(width - 2, 0));
  const j = Math.min(Math.floor(heldY), Math.max(height - 2, 0));
  const [u, v] = [heldX - i, heldY - j];
  const k = j * width + i;
  let sum = 0;
  for (const [weight, at] of [[(1 - u) * (1 - v), k], [u * (1 - v), k + 1], [(1 - u) * v, k + width], [u * v, k + width + 1]]) {
    if (weight > 0) sum += weight * values[at];
  }
  return sum;
}
