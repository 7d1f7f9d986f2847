// A line chart as SVG: axes with ticks, lines, marks, upright levels.
import { makeSvg } from "./elements.mjs";
import { niceTicks } from "./scale.mjs";

const EDGE = { left: 50, right: 14, top: 20, bottom: 40 };

/** The inks of the page's light or dark style, as plain values so that an exported picture keeps them. */
export function readInks(element) {
  const style = getComputedStyle(element);
  const read = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  return { ink: read("--ink", "#17212b"), soft: read("--soft", "#566370"), line: read("--line", "#d9e0e6"), card: read("--card", "#ffffff") };
}

/** Functions from values to pixels and back for a chart of that size and those ranges. */
export function makeAxes({ width, height, x, y }) {
  const [across, down] = [width - EDGE.left - EDGE.right, height - EDGE.top - EDGE.bottom];
  return {
    px: (value) => EDGE.left + ((value - x[0]) / (x[1] - x[0])) * across,
    py: (value) => EDGE.top + (1 - (value - y[0]) / (y[1] - y[0])) * down,
    toX: (pixel) => x[0] + ((pixel - EDGE.left) / across) * (x[1] - x[0]),
    left: EDGE.left, right: EDGE.left + across, top: EDGE.top, bottom: EDGE.top + down,
  };
}

/** Path data of points [[x, y], ...]; it is broken where a value is not a number. */
export function writePath(points, axes) {
  let down = false;
  let path = "";
  for (const [x, y] of points) {
    const known = !Number.isNaN(y) && y !== null;
    if (known) path += `${down ? "L" : "M"}${axes.px(x).toFixed(1)} ${axes.py(y).toFixed(1)}`;
    down = known;
  }
  return path;
}

/**
 * Draw into `svg`. chart: {width, height, x: [low, high], y: [low, high], xLabel, yLabel, label,
 * areas: [{points, colour, opacity, key}], lines: [{points, colour, width, dash, opacity, key}], marks: [{x, y, colour, up, title}], levels: [{x, text}]}.
 * Returns the axes.
 */
export function drawChart(svg, chart, inks) {
  const axes = makeAxes(chart);
  const text = { "font-family": 'system-ui, "Segoe UI", Roboto, Arial, sans-serif', "font-size": 12, fill: inks.soft };
  svg.replaceChildren(makeSvg("rect", { width: chart.width, height: chart.height, fill: inks.card }));
  svg.setAttribute("viewBox", `0 0 ${chart.width} ${chart.height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", chart.label);
  drawGrid(svg, chart, axes, inks, text);
  for (const { x, text: words } of chart.levels ?? []) {
    const at = axes.px(x);
    svg.append(makeSvg("line", { x1: at, x2: at, y1: axes.top, y2: axes.bottom, stroke: inks.soft, "stroke-dasharray": "6 3 1 3" }));
    svg.append(makeSvg("text", { ...text, x: at, y: axes.top - 6, "text-anchor": "middle", "font-size": 11 }, words));
  }
  const clip = `clip-${chart.name}`;
  const hole = makeSvg("clipPath", { id: clip });
  hole.append(makeSvg("rect", { x: axes.left, y: axes.top - 1, width: axes.right - axes.left, height: axes.bottom - axes.top + 2 }));
  const group = makeSvg("g", { "clip-path": `url(#${clip})`, fill: "none", "stroke-linejoin": "round" });
  for (const area of chart.areas ?? []) {
    group.append(makeSvg("path", { d: `${writePath(area.points, axes)}Z`, fill: area.colour, "fill-opacity": area.opacity, "data-key": area.key }));
  }
  for (const line of chart.lines) {
    group.append(makeSvg("path", {
      d: writePath(line.points, axes), stroke: line.colour, "stroke-width": line.width, "stroke-dasharray": line.dash || null,
      "stroke-opacity": line.opacity ?? 1, "data-key": line.key,
    }));
  }
  svg.append(hole, group);
  for (const mark of chart.marks ?? []) svg.append(makeMark(mark, axes, inks));
  return axes;
}

function drawGrid(svg, chart, axes, inks, text) {
  for (const tick of niceTicks(...chart.x, chart.width / 80)) {
    const at = axes.px(tick);
    svg.append(makeSvg("line", { x1: at, x2: at, y1: axes.top, y2: axes.bottom, stroke: inks.line }));
    svg.append(makeSvg("text", { ...text, x: at, y: axes.bottom + 16, "text-anchor": "middle" }, String(tick).replace("-", "−")));
  }
  for (const tick of niceTicks(...chart.y, chart.height / 60)) {
    const at = axes.py(tick);
    svg.append(makeSvg("line", { x1: axes.left, x2: axes.right, y1: at, y2: at, stroke: inks.line }));
    svg.append(makeSvg("text", { ...text, x: axes.left - 7, y: at + 4, "text-anchor": "end" }, String(tick).replace("-", "−")));
  }
  svg.append(makeSvg("path", { d: `M${axes.left} ${axes.top}V${axes.bottom}H${axes.right}`, fill: "none", stroke: inks.soft }));
  svg.append(makeSvg("text", { ...text, x: (axes.left + axes.right) / 2, y: chart.height - 6, "text-anchor": "middle" }, chart.xLabel));
  svg.append(makeSvg("text", { ...text, transform: `translate(13 ${(axes.top + axes.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, chart.yLabel));
}

/** A triangle that points to the side on which the goal is met; filled where it is met. */
function makeMark({ x, y, colour, up, met, title }, axes, inks) {
  const [px, py] = [axes.px(x), axes.py(y)];
  const tip = up ? -6 : 6;
  const mark = makeSvg("path", {
    d: `M${px - 5.5} ${py - tip / 2}L${px + 5.5} ${py - tip / 2}L${px} ${py + tip}Z`, fill: met ? colour : inks.card, stroke: colour, "stroke-width": 1.6,
  });
  mark.append(makeSvg("title", {}, title));
  return mark;
}
