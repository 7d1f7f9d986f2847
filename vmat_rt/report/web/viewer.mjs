// The slices: three linked panes over one CT, its doses, gamma and structures.
import { cssColour, greyOf, makeScale, WINDOWS } from "./colours.mjs";
import { traceLevel } from "./isolines.mjs";
import { Pane } from "./pane.mjs";
import { format } from "./scale.mjs";
import { VIEWS } from "./view.mjs";
import { boundsOf, cutPlane, decodeCodes, inflate, makeVolume, sampleAt, subtractPlanes } from "./volume.mjs";

const DIFFERENCE_SHARE = 0.15; // the ends of the difference's colours, as a part of the highest prescription
const GAMMA_RANGE = [0, 2];

/** The volume of a description in the page, decoded. */
export async function loadVolume(description) {
  const bytes = await inflate(document.getElementById(description.data).textContent);
  return makeVolume(description, decodeCodes(bytes, description.shape));
}

/** The layers that the page can show: each dose, predicted minus each other dose, gamma, the CT alone. */
export function listLayers(scene) {
  const [first, ...others] = scene.doses;
  const doses = scene.doses.map((dose) => ({ key: dose.label, title: dose.title, kind: "dose", of: dose.label }));
  const gaps = others.map((dose) => ({
    key: `minus ${dose.label}`, title: `${first.title} − ${dose.title.toLowerCase()}`, kind: "difference", of: dose.label,
  }));
  const gamma = scene.gamma ? [{ key: "gamma", title: `Gamma ${scene.gamma.title}`, kind: "gamma", of: "gamma" }] : [];
  return [...doses, ...gaps, ...gamma, { key: "ct", title: "CT alone", kind: "none", of: "" }];
}

/** Isodose levels that a page starts with: of the highest prescription, and 95 % of every lower one. */
export function chooseLevels(scene) {
  const lower = scene.prescription.map(({ gy }) => Math.round((950 * gy) / scene.reference) / 10);
  return [...new Set([107, 100, 95, 80, 50, 30, ...lower])].sort((a, b) => b - a);
}

export class Viewer {
  constructor(root, scene, ct) {
    this.root = root;
    this.scene = scene;
    this.ct = ct;
    this.bounds = [0, 1, 2].map((axis) => boundsOf(ct, axis));
    this.doses = new Map();
    this.structures = [];
    this.scales = Object.fromEntries(["turbo", "viridis", "difference", "gamma"].map((name) => [name, makeScale(name)]));
    this.layers = listLayers(scene);
    this.state = {
      at: this.hold(scene.start), layer: this.layers[0], tool: "crosshair", window: [...WINDOWS["Soft tissue"]], scale: "turbo",
      opacity: 0.45, threshold: 20, levels: chooseLevels(scene), lines: true, hidden: new Set(), profile: null, cursor: null,
    };
    this.greys = this.makeGreys();
    this.listeners = [];
    this.arrange();
    this.panes = [...root.querySelectorAll(".pane")].map((element) => new Pane(this, element));
    new ResizeObserver(() => this.schedule()).observe(root.querySelector(".panes"));
  }

  /** Call `listener` after each change of what is shown. */
  onChange(listener) {
    this.listeners.push(listener);
  }

  hold(point) {
    return point.map((mm, axis) => Math.min(Math.max(mm, this.bounds[axis][0] + 1e-6), this.bounds[axis][1] - 1e-6));
  }

  makeGreys() {
    return Uint8Array.from({ length: 4096 }, (_, i) => greyOf(i - 1024, this.state.window));
  }

  /** A dose or the gamma map; painted where it is what is shown. */
  addDose(label, volume) {
    this.doses.set(label, volume);
    if (label === this.state.layer.of || this.state.layer.kind === "difference") this.repaint();
  }

  /** Structures: entries of the scene with their volume. */
  addStructures(structures) {
    this.structures = structures;
    this.repaint();
  }

  /** Change some of the state; the planes are painted again. */
  set(change) {
    Object.assign(this.state, change);
    if (change.window) this.greys = this.makeGreys();
    this.repaint();
  }

  setWindow(window) {
    this.set({ window });
  }

  setProfile(profile) {
    this.state.profile = profile;
    this.schedule();
  }

  moveTo(point) {
    this.state.at = this.hold(point);
    this.schedule();
  }

  hover(point) {
    this.state.cursor = point;
    this.schedule();
  }

  /** Give a view the large place. */
  enlarge(view) {
    this.root.querySelector(".panes").dataset.large = view;
    this.arrange();
    this.repaint();
  }

  /** Wide large views lie above the other two, high ones beside them. */
  arrange() {
    const panes = this.root.querySelector(".panes");
    const { across, down } = VIEWS[panes.dataset.large];
    const [width, height] = [across, down].map((axis) => this.bounds[axis][1] - this.bounds[axis][0]);
    panes.dataset.layout = width > 1.2 * height ? "rows" : "columns";
  }

  toggleStructure(roi, shown) {
    if (shown) this.state.hidden.delete(roi);
    else this.state.hidden.add(roi);
    this.repaint();
  }

  repaint() {
    for (const pane of this.panes) pane.stale = true;
    this.schedule();
  }

  /** Draw before the next frame, once for all that changed until then. */
  schedule() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      this.draw();
    });
  }

  draw() {
    for (const pane of this.panes) pane.draw();
    for (const listener of this.listeners) listener(this);
  }

  describeSlice(pane) {
    const name = pane.view[0].toUpperCase() + pane.view.slice(1);
    const axis = pane.axes.normal;
    return `${name} slice ${pane.index + 1} of ${this.ct.shape[axis]}, ${"zyx"[axis]} = ${format(this.state.at[axis], 0)} mm, ${this.state.layer.title}`;
  }

  /** What a plane across `normal` at `mm` shows: the CT, the layer and the lines, in mm. */
  contentOf(normal, mm) {
    return { ct: cutPlane(this.ct, normal, mm, true), greys: this.greys, layer: this.layerOn(normal, mm), lines: this.linesOn(normal, mm) };
  }

  layerOn(normal, mm) {
    const { layer, opacity, threshold, scale } = this.state;
    const volume = this.doses.get(layer.of);
    if (!volume) return null;
    if (layer.kind === "dose") {
      const lowest = (threshold / 100) * this.scene.reference;
      return {
        plane: cutPlane(volume, normal, mm), scale: this.scales[scale], range: this.doseRange(), nearest: false,
        strength: (value) => (value >= lowest ? opacity : 0),
      };
    }
    if (layer.kind === "difference") {
      const first = this.doses.get(this.scene.doses[0].label);
      const [, end] = this.differenceRange();
      return {
        plane: first ? subtractPlanes(first, volume, normal, mm) : null, scale: this.scales.difference, range: [-end, end], nearest: false,
        strength: (value) => Math.min(1, (3 * Math.abs(value)) / end) * Math.min(1, opacity + 0.2),
      };
    }
    return {
      plane: cutPlane(volume, normal, mm, true), scale: this.scales.gamma, range: GAMMA_RANGE, nearest: true,
      strength: () => Math.min(1, opacity + 0.2),
    };
  }

  doseRange() {
    return [0, Math.max(1.07 * this.scene.reference, this.scene.highest)];
  }

  differenceRange() {
    const end = DIFFERENCE_SHARE * this.scene.reference;
    return [-end, end];
  }

  levelColour(percent) {
    return cssColour(this.scales[this.state.scale], (percent / 100) * this.scene.reference, this.doseRange());
  }

  linesOn(normal, mm) {
    const lines = [];
    for (const { roi, colour, volume } of this.structures) {
      const plane = this.state.hidden.has(roi) ? null : cutPlane(volume, normal, mm);
      if (plane) lines.push({ curves: traceLevel(plane, 0.5), colour, width: 1.6 });
    }
    const { layer, levels, lines: drawn } = this.state;
    const volume = this.doses.get(layer.kind === "dose" ? layer.of : this.scene.doses[0].label);
    const plane = drawn && volume && layer.kind !== "none" ? cutPlane(volume, normal, mm) : null;
    if (plane) {
      for (const percent of levels) {
        const curves = traceLevel(plane, (percent / 100) * this.scene.reference);
        lines.push({ curves, colour: this.levelColour(percent), width: 1.1, dash: [4, 3] });
      }
    }
    return lines;
  }

  /** What lies at a point: HU, every dose, gamma and the structures it is in. */
  readAt(point) {
    return {
      hu: sampleAt(this.ct, point),
      doses: this.scene.doses.map((dose) => ({ title: dose.title, gy: this.doses.has(dose.label) ? sampleAt(this.doses.get(dose.label), point) : NaN })),
      gamma: this.doses.has("gamma") ? sampleAt(this.doses.get("gamma"), point) : NaN,
      structures: this.structures.filter(({ volume }) => sampleAt(volume, point) >= 0.5).map(({ name }) => name),
    };
  }
}

/** Decode the CT and the first dose, show them, then the rest one after the other. */
export async function startViewer(root, scene) {
  const [ct, first] = await Promise.all([loadVolume(scene.ct), loadVolume(scene.doses[0])]);
  const viewer = new Viewer(root, scene, ct);
  viewer.addDose(scene.doses[0].label, first);
  viewer.draw();
  const rest = (async () => {
    viewer.addStructures(await Promise.all(scene.structures.map(async (entry) => ({ ...entry, volume: await loadVolume(entry) }))));
    for (const dose of scene.doses.slice(1)) viewer.addDose(dose.label, await loadVolume(dose));
    if (scene.gamma) viewer.addDose("gamma", await loadVolume(scene.gamma));
  })();
  return { viewer, rest };
}
