// The viewer's tools: layers, windows, wash, isodoses, tools, jumps, read-out and profile.
import { cssColour, WINDOWS } from "./colours.mjs";
import { drawChart, readInks } from "./chart.mjs";
import { make } from "./elements.mjs";
import { sampleLine } from "./profile.mjs";
import { format, parseLevels } from "./scale.mjs";

const DOSE_COLOURS = { predicted: "#0072b2", "geometric baseline": "#8a8a8a", clinical: "#d55e00" };

export class Controls {
  constructor(viewer) {
    this.viewer = viewer;
    this.root = viewer.root;
    this.find = (name) => this.root.querySelector(`[data-part=${name}]`);
    this.fillLayers();
    this.fillWindows();
    this.bindWash();
    this.bindTools();
    this.fillJumps();
    this.bindLevels();
    viewer.onChange(() => this.show());
    this.show();
  }

  fillLayers() {
    const select = this.find("layer");
    select.append(...this.viewer.layers.map(({ key, title }) => make("option", { value: key }, title)));
    select.addEventListener("change", () => this.setLayer(select.value));
  }

  setLayer(key) {
    this.find("layer").value = key;
    this.viewer.set({ layer: this.viewer.layers.find((layer) => layer.key === key) });
    this.showLevels();
  }

  fillWindows() {
    const select = this.find("window");
    select.append(...Object.keys(WINDOWS).map((name) => make("option", { value: name }, name)), make("option", { value: "", hidden: true }, "Own"));
    select.addEventListener("change", () => {
      if (select.value in WINDOWS) this.viewer.setWindow([...WINDOWS[select.value]]);
    });
  }

  bindWash() {
    const bind = (name, read) => this.find(name).addEventListener("input", (event) => this.viewer.set(read(event.target)));
    bind("opacity", (input) => ({ opacity: Number(input.value) / 100 }));
    bind("threshold", (input) => ({ threshold: Number(input.value) }));
    bind("lines", (input) => ({ lines: input.checked }));
    this.find("scale").addEventListener("change", (event) => {
      this.viewer.set({ scale: event.target.value });
      this.showLevels();
    });
  }

  bindTools() {
    for (const input of this.root.querySelectorAll("[name=tool]")) {
      input.addEventListener("change", () => this.viewer.set({ tool: input.value }));
    }
    this.find("reset").addEventListener("click", () => {
      for (const pane of this.viewer.panes) pane.zoomTo(1);
      this.viewer.setProfile(null);
    });
    for (const [name, factor] of [["zoom-in", 1.4], ["zoom-out", 1 / 1.4]]) {
      this.find(name).addEventListener("click", () => this.viewer.panes.forEach((pane) => pane.zoomTo(pane.frame.zoom * factor)));
    }
  }

  fillJumps() {
    for (const place of this.viewer.scene.places) {
      const button = make("button", { type: "button", title: place.text, "data-place": place.kind }, make("b", {}, place.title), ` ${place.text}`);
      button.addEventListener("click", () => {
        if (place.against) this.setLayer(`minus ${place.against}`);
        else if (this.viewer.state.layer.kind !== "dose") this.setLayer(this.viewer.layers[0].key);
        this.viewer.moveTo(place.at);
      });
      this.find("jumps").append(button);
    }
  }

  bindLevels() {
    const input = this.find("levels");
    input.value = this.viewer.state.levels.join(", ");
    input.addEventListener("change", () => {
      const levels = parseLevels(input.value);
      input.setCustomValidity(levels ? "" : "Percentages of the highest prescription above 0 and up to 200, such as 100, 95, 50");
      input.reportValidity();
      if (levels) {
        this.viewer.set({ levels });
        this.showLevels();
      }
    });
    this.showLevels();
  }

  showLevels() {
    const { scene, state } = this.viewer;
    const entries = { dose: () => this.listIsodoses(), difference: () => this.listStops(this.viewer.differenceRange(), "difference", "Gy"), gamma: () => this.listStops([0, 2], "gamma", "") };
    const list = (entries[state.layer.kind] ?? (() => []))();
    this.find("legend").replaceChildren(...list.map(([colour, text]) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = colour;
      return make("li", {}, swatch, text);
    }));
    this.find("legend-title").textContent = { dose: `Isodoses, % of ${scene.reference} Gy`, difference: "Predicted minus other, Gy", gamma: "Gamma (passes up to 1)" }[state.layer.kind] ?? "";
  }

  listIsodoses() {
    const { scene, state } = this.viewer;
    return state.levels.map((percent) => [this.viewer.levelColour(percent), `${percent} %  ${format((percent / 100) * scene.reference, 1)} Gy`]);
  }

  listStops([low, high], name, unit) {
    return [0, 0.25, 0.5, 0.75, 1].map((share) => {
      const value = low + share * (high - low);
      const sign = name === "difference" && value > 0 ? "+" : "";
      return [cssColour(this.viewer.scales[name], value, [low, high]), `${sign}${format(value, 1)} ${unit}`];
    });
  }

  /** Bring words and inputs up to what the viewer shows. */
  show() {
    const { state, scene } = this.viewer;
    const point = state.cursor ?? state.at;
    const read = this.viewer.readAt(point);
    const percent = (gy) => (Number.isNaN(gy) ? "" : ` (${format((100 * gy) / scene.reference, 1)} %)`);
    const items = [
      ["Position", ["x", "y", "z"].map((axis, i) => `${axis} ${format(point[2 - i], 1)}`).join("  ") + " mm"],
      ["CT", Number.isNaN(read.hu) ? "–" : `${format(read.hu, 0)} HU`],
      ...read.doses.map(({ title, gy }) => [title, `${format(gy, 2)} Gy${percent(gy)}`]),
      ...(scene.gamma ? [["Gamma", format(read.gamma, 2)]] : []),
      ["In", read.structures.join(", ") || "no structure"],
    ];
    this.find("readout").replaceChildren(...items.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    const preset = Object.entries(WINDOWS).find(([, [centre, width]]) => centre === state.window[0] && width === state.window[1]);
    this.find("window").value = preset ? preset[0] : "";
    this.find("window-values").textContent = `${format(state.window[0], 0)} / ${format(state.window[1], 0)} HU`;
    this.find("opacity-value").textContent = `${Math.round(100 * state.opacity)} %`;
    this.find("threshold-value").textContent = `${state.threshold} %`;
    this.showProfile();
  }

  /** The chart of the doses along the line that was drawn. */
  showProfile() {
    const { profile } = this.viewer.state;
    const box = this.find("profile");
    box.hidden = !profile;
    if (!profile || profile === this.drawn) return;
    this.drawn = profile;
    const width = Math.max(280, box.clientWidth);
    const lines = this.viewer.scene.doses.filter(({ label }) => this.viewer.doses.has(label)).map(({ label }) => ({
      points: sampleLine(this.viewer.doses.get(label), profile.from, profile.to), colour: DOSE_COLOURS[label], width: 2, key: label,
    }));
    const length = Math.max(1, Math.hypot(...profile.from.map((mm, axis) => profile.to[axis] - mm)));
    drawChart(box.querySelector("svg"), {
      name: "profile", width, height: 190, lines, x: [0, length], y: [0, 1.05 * this.viewer.scene.highest], xLabel: `Along the line of ${format(length, 0)} mm, mm`, yLabel: "Dose, Gy",
      label: "Doses along the line",
    }, readInks(this.root));
    this.find("profile-key").replaceChildren(...this.viewer.scene.doses.map(({ label, title }) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = DOSE_COLOURS[label];
      return make("span", {}, swatch, title);
    }));
  }
}
