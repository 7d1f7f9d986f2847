// One view of the patient: its canvas, slider, pointer and keys. It asks the viewer what to draw.
import { paintImage, strokeCurves, writeText } from "./painting.mjs";
import { barLength, makeTransform, VIEWS, zoomAbout } from "./view.mjs";
import { boundsOf, centreOf, nearestIndex } from "./volume.mjs";
import { format } from "./scale.mjs";

const MOST_ZOOM = 12;
const CROSSHAIR = "rgb(255 255 255 / 65%)";

export class Pane {
  /** viewer: {ct, state, describeSlice(view), moveTo(point), hover(point), drag tools}; element: the figure. */
  constructor(viewer, element) {
    this.viewer = viewer;
    this.element = element;
    this.view = element.dataset.view;
    this.axes = VIEWS[this.view];
    this.canvas = element.querySelector("canvas");
    this.slider = element.querySelector("input");
    this.frame = { zoom: 1, pan: [0, 0] };
    this.picture = document.createElement("canvas");
    this.stale = true;
    this.slider.max = viewer.ct.shape[this.axes.normal] - 1;
    this.slider.addEventListener("input", () => this.goTo(Number(this.slider.value)));
    this.canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.onKey(event));
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    this.canvas.addEventListener("pointerdown", (event) => this.onDown(event));
    this.canvas.addEventListener("pointermove", (event) => this.onMove(event));
    this.canvas.addEventListener("pointerleave", () => viewer.hover(null));
    this.canvas.addEventListener("dblclick", () => viewer.enlarge(this.view));
  }

  get index() {
    return nearestIndex(this.viewer.ct, this.axes.normal, this.viewer.state.at[this.axes.normal]);
  }

  get size() {
    return [this.canvas.width, this.canvas.height];
  }

  get transform() {
    return makeTransform(this.view, this.viewer.bounds, this.size, this.frame);
  }

  /** Fit the canvas to its place on the page; true where that changed it. */
  fit() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight].map((n) => Math.max(1, Math.round(n * ratio)));
    if (this.canvas.width === width && this.canvas.height === height) return false;
    [this.canvas.width, this.canvas.height] = [width, height];
    [this.picture.width, this.picture.height] = [width, height];
    this.stale = true;
    return true;
  }

  goTo(index) {
    const { ct, state } = this.viewer;
    const point = [...state.at];
    const held = Math.min(Math.max(index, 0), ct.shape[this.axes.normal] - 1);
    point[this.axes.normal] = centreOf(ct, this.axes.normal, held);
    this.viewer.moveTo(point);
  }

  /** The point (z, y, x) mm under a pointer event. */
  pointUnder(event) {
    const box = this.canvas.getBoundingClientRect();
    const pixel = [((event.clientX - box.left) * this.size[0]) / box.width, ((event.clientY - box.top) * this.size[1]) / box.height];
    const [across, down] = this.transform.toMm(...pixel);
    const point = [...this.viewer.state.at];
    point[this.axes.across] = across;
    point[this.axes.down] = down;
    return { point, pixel };
  }

  onWheel(event) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) this.zoomTo(this.frame.zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2), this.pointUnder(event).pixel);
    else this.goTo(this.index + (event.deltaY < 0 ? 1 : -1));
  }

  zoomTo(zoom, pixel = [this.size[0] / 2, this.size[1] / 2]) {
    const held = Math.min(Math.max(zoom, 1), MOST_ZOOM);
    this.frame = held === 1 ? { zoom: 1, pan: [0, 0] } : zoomAbout(this.view, this.viewer.bounds, this.size, this.frame, held, pixel);
    this.redraw();
  }

  onKey(event) {
    const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
    if (event.shiftKey && event.key.startsWith("Arrow")) this.nudge(event.key);
    else if (event.key in steps) this.goTo(this.index + steps[event.key]);
    else if (event.key === "Home") this.goTo(0);
    else if (event.key === "End") this.goTo(Number(this.slider.max));
    else if (event.key === "+" || event.key === "=") this.zoomTo(this.frame.zoom * 1.25);
    else if (event.key === "-") this.zoomTo(this.frame.zoom / 1.25);
    else if (event.key === "0") this.zoomTo(1);
    else if (event.key === "Enter") this.viewer.enlarge(this.view);
    else if (event.key === "Escape") this.viewer.setProfile(null);
    else return;
    event.preventDefault();
  }

  /** Move the crosshair within the plane by one voxel. */
  nudge(key) {
    const { ct, state } = this.viewer;
    const [axis, sign] = { ArrowLeft: ["across", -1], ArrowRight: ["across", 1], ArrowUp: ["down", -1], ArrowDown: ["down", 1] }[key];
    const point = [...state.at];
    const flipped = axis === "down" && this.axes.flip ? -1 : 1;
    point[this.axes[axis]] += flipped * sign * ct.spacing[this.axes[axis]];
    this.viewer.moveTo(point);
  }

  onDown(event) {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    const start = this.pointUnder(event);
    const tool = event.button === 1 || event.altKey ? "pan" : event.button === 2 ? "window" : event.shiftKey ? "profile" : this.viewer.state.tool;
    this.held = { tool, ...start, frame: this.frame, window: [...this.viewer.state.window], x: event.clientX, y: event.clientY };
    this.onMove(event);
  }

  onMove(event) {
    const here = this.pointUnder(event);
    this.viewer.hover(here.point);
    if (!this.held || !event.buttons) {
      this.held = null;
      return;
    }
    const { tool, pixel, point, frame, window: before, x, y } = this.held;
    if (tool === "crosshair") this.viewer.moveTo(here.point);
    else if (tool === "profile") this.viewer.setProfile({ view: this.view, from: point, to: here.point });
    else if (tool === "window") this.viewer.setWindow([before[0] + 2 * (event.clientY - y), Math.max(1, before[1] + 4 * (event.clientX - x))]);
    else {
      const scale = this.transform.scale;
      const sign = this.axes.flip ? -1 : 1;
      this.frame = { zoom: frame.zoom, pan: [frame.pan[0] - (here.pixel[0] - pixel[0]) / scale, frame.pan[1] - (sign * (here.pixel[1] - pixel[1])) / scale] };
      this.redraw();
    }
  }

  redraw() {
    this.stale = true;
    this.viewer.schedule();
  }

  /** Paint the plane again where it changed, then what lies above it. */
  draw() {
    if (!this.canvas.clientWidth) return;
    this.fit();
    const key = `${this.index}`;
    if (this.stale || key !== this.painted) this.paint(key);
    const context = this.canvas.getContext("2d");
    context.drawImage(this.picture, 0, 0);
    this.drawCrosshair(context);
    this.drawLetters(context);
    this.slider.value = this.index;
    const words = this.viewer.describeSlice(this);
    this.slider.setAttribute("aria-valuetext", words);
    this.canvas.setAttribute("aria-label", `${words}. Arrow up and down change the slice, shift and arrows move the crosshair.`);
  }

  paint(key) {
    const mm = centreOf(this.viewer.ct, this.axes.normal, this.index);
    const transform = this.transform;
    const content = this.viewer.contentOf(this.axes.normal, mm);
    const context = this.picture.getContext("2d");
    const image = context.createImageData(...this.size);
    paintImage(image, transform, content.ct, content.greys, content.layer);
    context.putImageData(image, 0, 0);
    const ratio = this.size[0] / this.canvas.clientWidth;
    for (const line of content.lines) strokeCurves(context, line.curves, transform, { ...line, width: line.width * ratio, dash: (line.dash ?? []).map((n) => n * ratio) });
    this.painted = key;
    this.stale = false;
  }

  drawCrosshair(context) {
    const { state } = this.viewer;
    const ratio = this.size[0] / this.canvas.clientWidth;
    const transform = this.transform;
    const [x, y] = transform.toPixel(state.at[this.axes.across], state.at[this.axes.down]).map((n) => Math.round(n) + 0.5);
    const gap = 9 * ratio;
    context.strokeStyle = CROSSHAIR;
    context.lineWidth = ratio;
    context.beginPath();
    for (const [x1, y1, x2, y2] of [[0, y, x - gap, y], [x + gap, y, this.size[0], y], [x, 0, x, y - gap], [x, y + gap, x, this.size[1]]]) {
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
    }
    context.stroke();
    const { profile } = state;
    if (profile && profile.view === this.view) {
      const ends = [profile.from, profile.to].map((p) => [p[this.axes.across], p[this.axes.down]]);
      strokeCurves(context, [ends], transform, { colour: "#ffd23f", width: 2 * ratio });
    }
  }

  drawLetters(context) {
    const [width, height] = this.size;
    const ratio = width / this.canvas.clientWidth;
    const [left, right, top, bottom] = this.axes.letters;
    const style = { size: 13 * ratio, bold: true };
    const edge = 7 * ratio;
    writeText(context, left, edge, height / 2, { ...style, baseline: "middle" });
    writeText(context, right, width - edge, height / 2, { ...style, align: "right", baseline: "middle" });
    writeText(context, top, width / 2, edge, { ...style, align: "center" });
    writeText(context, bottom, width / 2, height - edge, { ...style, align: "center", baseline: "bottom" });
    const small = { size: 11 * ratio };
    const axis = "zyx"[this.axes.normal];
    const mm = centreOf(this.viewer.ct, this.axes.normal, this.index);
    writeText(context, `${axis} = ${format(mm, 0)} mm`, edge, edge, small);
    writeText(context, `${this.index + 1} / ${Number(this.slider.max) + 1}`, width - edge, edge, { ...small, align: "right" });
    writeText(context, "PREDICTED, NOT FOR TREATMENT", width - edge, height - edge, { size: 9 * ratio, align: "right", baseline: "bottom", colour: "#ffb3a7" });
    const scale = this.transform.scale;
    const bar = barLength(scale, width);
    context.fillStyle = "#e8edf2";
    context.fillRect(edge, height - edge - 2 * ratio, bar * scale, 2 * ratio);
    writeText(context, `${bar / 10} cm`, edge, height - edge - 5 * ratio, { size: 10 * ratio, baseline: "bottom" });
  }
}
