// The page's start: slices, DVH and the filter of the goals, each on its own, so that a fault of one leaves the others.
import { Controls } from "./controls.mjs";
import { DvhChart } from "./dvh.mjs";
import { bindGoalFilter } from "./goals.mjs";
import { startViewer } from "./viewer.mjs";

function readJson(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

function say(section, words) {
  const note = document.querySelector(`#${section} .failed`);
  note.textContent = words;
  note.hidden = false;
}

function startDvh() {
  try {
    return new DvhChart(document.getElementById("dvh"), readJson("dvh-data"));
  } catch (error) {
    say("dvh", `The DVH could not be drawn (${error.message}); its curves are in dvh.csv.`);
    return null;
  }
}

async function startSlices(dvh) {
  const root = document.getElementById("viewer");
  if (typeof DecompressionStream === "undefined") {
    say("viewer", "This browser cannot unpack the slices: it needs a version from 2023 or later. Numbers and DVH are complete.");
    return;
  }
  try {
    const { viewer, rest } = await startViewer(root, readJson("scene"));
    new Controls(viewer);
    if (dvh) dvh.onToggle((roi, shown) => viewer.toggleStructure(roi, shown));
    root.dataset.ready = "first";
    performance.mark("first-picture");
    await rest;
    root.dataset.ready = "all";
    performance.mark("all-layers");
    window.reportViewer = viewer;
  } catch (error) {
    say("viewer", `The slices could not be shown (${error.message}). Numbers and DVH are complete.`);
  }
}

const chart = startDvh();
bindGoalFilter(document);
startSlices(chart);
