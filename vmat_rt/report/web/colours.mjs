// From values to colours: CT windows, dose, difference and gamma colours.

/** Window presets: centre and width, HU. */
export const WINDOWS = {
  "Soft tissue": [40, 400],
  "Head": [40, 120],
  "Lung": [-600, 1500],
  "Bone": [400, 1800],
  "Wide": [0, 2000],
};

// Stops of matplotlib's turbo, viridis and RdBu_r (reversed) in equal steps; tests hold them to matplotlib's own.
const STOPS = {
  turbo: "30123b 4143a7 4771e9 3e9bfe 22c5e2 1ae4b6 46f884 88ff4e b9f635 e1dd37 faba39 fd8d27 f05b12 d63506 af1801 7a0403",
  viridis: "440154 481a6c 472f7d 414487 39568c 31688e 2a788e 23888e 1f988b 22a884 35b779 54c568 7ad151 a5db36 d2e21b fde725",
  difference: "053061 185493 2c75b4 4393c3 78b4d5 a7d0e4 d1e5f0 eaf1f5 f9eee7 fddbc7 f7b799 ea8e70 d6604d be3036 991027 67001f",
  gamma: "0072b2 2184bb 4295c4 63a7ce 84b9d7 a5cbe0 c6dce9 e7eef2 f5ede7 f0d8c6 ecc4a5 e7b084 e39b63 de8742 da7221 d55e00",
};

/** Red, green, blue (Uint8Array of 256 x 3) of a named scale. */
export function makeScale(name) {
  const stops = STOPS[name].split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const scale = new Uint8Array(768);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      scale[3 * i + c] = Math.round(stops[low][c] + (place - low) * (stops[low + 1][c] - stops[low][c]));
    }
  }
  return scale;
}

/** Index 0..255 of a value between the ends of a scale, held at the ends. */
export function scaleIndex(value, low, high) {
  return Math.min(255, Math.max(0, Math.round((255 * (value - low)) / (high - low))));
}

/** CSS colour of a value on a scale. */
export function cssColour(scale, value, range) {
  const at = 3 * scaleIndex(value, range[0], range[1]);
  return `rgb(${scale[at]} ${scale[at + 1]} ${scale[at + 2]})`;
}

/** Grey 0..255 of an HU value in a window (DICOM PS3.3 C.11.2.1.2, without its half steps). */
export function greyOf(hu, [centre, width]) {
  return Math.min(255, Math.max(0, (255 * (hu - centre + width / 2)) / width));
}
