// The DVH: chart, table of structures that reads all curves at the pointer, export.
import { drawChart, readInks } from "./chart.mjs";
import { factorsOf, outlineBand, readCurve, splitCurve, writeCsv } from "./curves.mjs";
import { make, makeSvg, saveBlob } from "./elements.mjs";
import { format } from "./scale.mjs";

const DASHES = { predicted: "", "geometric baseline": "2 4", clinical: "9 4" };
const UNSURE = "1 4";

export class DvhChart {
  /** data: {notice, reference, highest, prescription, doses, structures, goals}; root: the section of the page. */
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.svg = root.querySelector("svg");
    this.state = { relativeDose: false, absoluteVolume: false, hiddenDoses: new Set(), hidden: new Set(), goals: true, bands: true, at: null };
    this.listeners = [];
    this.buildControls();
    this.buildTable();
    this.svg.addEventListener("pointermove", (event) => this.readAt(event));
    this.svg.addEventListener("pointerleave", () => this.showReading(null));
    this.svg.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.draw()).observe(this.svg.parentElement);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    window.addEventListener("beforeprint", () => this.draw());
    this.draw();
  }

  /** Call `listener(roi, shown)` when a structure is switched on or off. */
  onToggle(listener) {
    this.listeners.push(listener);
  }

  buildControls() {
    const { state } = this;
    const bind = (name, apply) => this.root.querySelectorAll(`[name=${name}]`).forEach((box) => box.addEventListener("change", () => {
      apply(box);
      this.draw();
    }));
    bind("dvh-dose", (box) => { state.relativeDose = box.value === "percent"; });
    bind("dvh-volume", (box) => { state.absoluteVolume = box.value === "cc"; });
    bind("dvh-goals", (box) => { state.goals = box.checked; });
    bind("dvh-bands", (box) => { state.bands = box.checked; });
    bind("dvh-source", (box) => {
      if (box.checked) state.hiddenDoses.delete(box.value);
      else state.hiddenDoses.add(box.value);
    });
    this.root.querySelector("[data-do=csv]").addEventListener("click", () => this.saveCsv());
    this.root.querySelector("[data-do=png]").addEventListener("click", () => this.savePng());
  }

  buildTable() {
    const body = this.root.querySelector("tbody");
    this.cells = new Map();
    for (const structure of this.data.structures) {
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => this.toggle(structure.roi, box.checked));
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = structure.colour;
      const label = make("label", {}, box, swatch, structure.name);
      const cells = this.data.doses.map(() => make("td", { class: "number" }, "–"));
      this.cells.set(structure.roi, cells);
      const row = make("tr", {}, make("th", { scope: "row" }, label), ...cells);
      row.addEventListener("pointerenter", () => this.emphasise(structure.roi));
      row.addEventListener("pointerleave", () => this.emphasise(null));
      label.addEventListener("dblclick", () => this.showAlone(structure.roi));
      body.append(row);
    }
    this.showReading(null);
  }

  toggle(roi, shown) {
    if (shown) this.state.hidden.delete(roi);
    else this.state.hidden.add(roi);
    for (const listener of this.listeners) listener(roi, shown);
    this.draw();
  }

  /** Only this structure, or all where it is alone already. */
  showAlone(roi) {
    const alone = this.data.structures.every((s) => s.roi === roi || this.state.hidden.has(s.roi));
    this.root.querySelectorAll("tbody input").forEach((box, i) => {
      const shown = alone || this.data.structures[i].roi === roi;
      if (box.checked !== shown) {
        box.checked = shown;
        this.toggle(this.data.structures[i].roi, shown);
      }
    });
  }

  emphasise(roi) {
    for (const path of this.svg.querySelectorAll("path[data-key]")) {
      path.style.opacity = roi === null || path.dataset.key === roi ? "" : "0.15";
    }
  }

  get units() {
    return { ...this.state, reference: this.data.reference };
  }

  /** Curves that are to be seen: [{structure, curve, label, title}]. */
  listShown() {
    const { hidden, hiddenDoses } = this.state;
    const doses = this.data.doses.filter(({ label }) => !hiddenDoses.has(label));
    return this.data.structures.filter(({ roi }) => !hidden.has(roi)).flatMap((structure) => doses
      .filter(({ label }) => structure.curves[label])
      .map(({ label, title }) => ({ structure, curve: structure.curves[label], label, title })));
  }

  draw() {
    const width = Math.max(300, this.svg.parentElement.clientWidth);
    const height = Math.round(Math.min(430, Math.max(300, width * 0.66)));
    this.svg.setAttribute("height", height);
    const { units } = this;
    const shown = this.listShown();
    const lines = shown.flatMap(({ structure, curve, label }) => {
      const [sure, unsure] = splitCurve(curve, structure, units);
      const line = { colour: structure.colour, width: label === "predicted" ? 2.2 : 1.5, key: structure.roi };
      return [{ ...line, points: sure, dash: DASHES[label] }, { ...line, points: unsure, dash: UNSURE, opacity: 0.7 }];
    });
    const top = units.absoluteVolume ? Math.max(1, ...shown.map(({ structure, curve }) => curve.y[0] * factorsOf(curve, structure, units).y)) : 100;
    const scale = units.relativeDose ? 100 / this.data.reference : 1;
    this.axes = drawChart(this.svg, {
      name: "dvh", width, height, lines, areas: this.listAreas(units), x: [0, 1.02 * this.data.highest * scale], y: [0, 1.02 * top],
      xLabel: units.relativeDose ? `Dose, % of ${this.data.reference} Gy` : "Dose, Gy", yLabel: units.absoluteVolume ? "Volume, cc" : "Volume, %",
      levels: [...new Set(this.data.prescription.map(({ gy }) => gy))].map((gy) => ({ x: gy * scale, text: units.relativeDose ? `${format(gy * scale, 0)} %` : `${gy} Gy` })),
      marks: this.listMarks(units, scale),
      label: `Dose-volume histogram of ${this.data.structures.length} structures; the table below it reads the curves.`,
    }, readInks(this.root));
    this.cursor = makeSvg("line", { y1: this.axes.top, y2: this.axes.bottom, stroke: readInks(this.root).ink, "stroke-dasharray": "3 2", visibility: "hidden" });
    this.svg.append(this.cursor);
    this.showReading(this.state.at);
  }

  /** Bands of the predicted dose; the structure under the pointer in the table is told from the others by its ink. */
  listAreas(units) {
    const { bands, hidden, hiddenDoses } = this.state;
    if (!bands || hiddenDoses.has("predicted")) return [];
    return this.data.structures.filter(({ roi, band }) => band && !hidden.has(roi)).map((structure) => ({
      points: outlineBand(structure.band, structure, units), colour: structure.colour, opacity: 0.13, key: structure.roi,
    }));
  }

  listMarks(units, scale) {
    if (!this.state.goals) return [];
    return this.data.goals.filter(({ roi }) => !this.state.hidden.has(roi)).map((goal) => {
      const structure = this.data.structures.find(({ roi }) => roi === goal.roi);
      return { ...goal, x: goal.gy * scale, y: units.absoluteVolume ? (goal.percent * structure.volume) / 100 : goal.percent, colour: structure.colour };
    });
  }

  readAt(event) {
    const box = this.svg.getBoundingClientRect();
    const dose = this.axes.toX(((event.clientX - box.left) * this.svg.viewBox.baseVal.width) / box.width);
    this.showReading(dose >= 0 && dose <= 1.02 * this.data.highest * (this.state.relativeDose ? 100 / this.data.reference : 1) ? dose : null);
  }

  onKey(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    const step = (event.shiftKey ? 5 : 0.5) * (event.key === "ArrowRight" ? 1 : -1);
    this.showReading(Math.max(0, (this.state.at ?? this.data.reference) + step));
  }

  /** The value of every curve at a dose, in the table; without a dose the volume of each structure. */
  showReading(dose) {
    this.state.at = dose;
    const unit = this.state.absoluteVolume ? "cc" : "%";
    const said = this.root.querySelector("[data-say=reading]");
    const where = dose === null ? "" : `${format(dose, 1)} ${this.state.relativeDose ? "%" : "Gy"}`;
    said.textContent = dose === null ? "Volume that receives at least the dose under the pointer" : `Volume that receives ${where} or more, ${unit}`;
    for (const structure of this.data.structures) {
      this.data.doses.forEach(({ label }, i) => {
        const curve = structure.curves[label];
        this.cells.get(structure.roi)[i].textContent = dose === null || !curve ? "–" : format(readCurve(curve, structure, this.units, dose), 1);
      });
    }
    if (!this.cursor) return;
    this.cursor.setAttribute("visibility", dose === null ? "hidden" : "visible");
    if (dose !== null) for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, this.axes.px(dose));
  }

  saveCsv() {
    saveBlob(new Blob([writeCsv(this.listShown(), this.data.notice)], { type: "text/csv" }), "dvh-shown.csv");
  }

  /** The chart twice as large as it is seen, with the notice below it. */
  async savePng() {
    const inks = readInks(this.root);
    const copy = this.svg.cloneNode(true);
    const { width, height } = this.svg.viewBox.baseVal;
    const full = height + 24;
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("width", 2 * width);
    copy.setAttribute("height", 2 * full);
    copy.setAttribute("viewBox", `0 0 ${width} ${full}`);
    copy.append(makeSvg("rect", { y: height, width, height: 24, fill: inks.card }));
    copy.append(makeSvg("text", { x: width / 2, y: height + 15, "text-anchor": "middle", "font-family": "sans-serif", "font-size": 11, "font-weight": 700, fill: "#b42318" }, this.data.notice));
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
    await image.decode();
    const canvas = make("canvas", { width: 2 * width, height: 2 * full });
    canvas.getContext("2d").drawImage(image, 0, 0);
    canvas.toBlob((blob) => saveBlob(blob, "dvh.png"), "image/png");
  }
}
