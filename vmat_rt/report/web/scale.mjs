// Numbers for axes and words.

/** Round tick values (1, 2 or 5 times a power of ten apart) within [low, high], about `count` of them. */
export function niceTicks(low, high, count = 6) {
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * (1 - 1e-9));
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

/** A fixed number of decimals with a true minus; a dash for what does not exist. */
export function format(value, digits = 1) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return value.toFixed(digits).replace("-", "−");
}

/** y of a curve (ascending xs) at x, linear between its points; the last value is held beyond the end. */
export function interpolate(xs, ys, x) {
  if (x <= xs[0]) return ys[0];
  const last = xs.length - 1;
  if (x >= xs[last]) return ys[last];
  let [low, high] = [0, last];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle;
    else high = middle;
  }
  return ys[low] + ((ys[high] - ys[low]) * (x - xs[low])) / (xs[high] - xs[low]);
}

/** Isodose levels of a text such as "105, 95 50": percentages above 0, highest first, each once; null for anything else. */
export function parseLevels(text) {
  const levels = text.split(/[\s,;]+/).filter(Boolean).map(Number);
  if (!levels.length || levels.some((level) => !(level > 0 && level <= 200))) return null;
  return [...new Set(levels)].sort((a, b) => b - a);
}
