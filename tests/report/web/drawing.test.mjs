// Isolines, colours, transforms, axes and curves against closed forms.
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeAxes, writePath } from "../../../vmat_rt/report/web/chart.mjs";
import { greyOf, makeScale, scaleIndex, WINDOWS } from "../../../vmat_rt/report/web/colours.mjs";
import { outlineBand, quoteField, readCurve, splitCurve, writeCsv } from "../../../vmat_rt/report/web/curves.mjs";
import { traceLevel } from "../../../vmat_rt/report/web/isolines.mjs";
import { paintImage } from "../../../vmat_rt/report/web/painting.mjs";
import { format, interpolate, niceTicks, parseLevels } from "../../../vmat_rt/report/web/scale.mjs";
import { barLength, makeTransform, zoomAbout } from "../../../vmat_rt/report/web/view.mjs";

function planeOf(width, height, value, spacing = [1, 1], origin = [0, 0]) {
  const values = Float32Array.from({ length: width * height }, (_, k) => value(k % width, Math.floor(k / width)));
  return { values, width, height, spacing, origin };
}

test("the isoline of a cone is one closed circle of the right size and place", () => {
  const plane = planeOf(80, 60, (i, j) => Math.hypot((i - 40) * 0.5, (j - 30) * 0.8), [0.5, 0.8], [100, -50]);
  const curves = traceLevel(plane, 12);
  assert.equal(curves.length, 1);
  assert.deepEqual(curves[0][0], curves[0].at(-1));
  for (const [x, y] of curves[0]) assert.ok(Math.abs(Math.hypot(x - 120, y + 26) - 12) < 0.03);
});

test("a level that only touches the edge of the plane gives open curves with both ends on it", () => {
  const curves = traceLevel(planeOf(10, 6, (i) => i), 4.5);
  assert.equal(curves.length, 1);
  assert.equal(curves[0].length, 6);
  assert.ok(curves[0].every(([x]) => x === 4.5));
  assert.deepEqual([curves[0][0][1], curves[0].at(-1)[1]].sort(), [0, 5]);
});

test("two islands are two curves, and a hole is one more", () => {
  const islands = planeOf(40, 20, (i, j) => Math.max(8 - Math.hypot(i - 9, j - 10), 8 - Math.hypot(i - 30, j - 10)));
  assert.equal(traceLevel(islands, 4).length, 2);
  const ring = planeOf(40, 40, (i, j) => 5 - Math.abs(Math.hypot(i - 20, j - 20) - 12));
  assert.equal(traceLevel(ring, 2).length, 2);
});

test("saddles join corners by the mean of the cell, and no segment is lost", () => {
  for (const [corner, joined] of [[10, 1], [2, 2]]) {
    const plane = planeOf(4, 4, (i, j) => (i > 0 && i < 3 && j > 0 && j < 3 ? (i === j ? corner : 0) : 0));
    assert.equal(traceLevel(plane, 1.9).length, corner === 10 ? joined : 2);
  }
});

test("where there is no value there is no line, and none where a level is not reached", () => {
  const plane = planeOf(10, 10, (i) => (i < 5 ? NaN : i));
  assert.deepEqual(traceLevel(plane, 3), []);
  assert.deepEqual(traceLevel(planeOf(5, 5, () => 1), 2), []);
  assert.equal(traceLevel(plane, 6.5).length, 1);
});

test("windows are grey from black to white over their width", () => {
  const [centre, width] = WINDOWS["Soft tissue"];
  assert.equal(greyOf(centre - width / 2, [centre, width]), 0);
  assert.equal(greyOf(centre, [centre, width]), 127.5);
  assert.equal(greyOf(centre + width, [centre, width]), 255);
});

test("a scale has 256 colours and is held at its ends", () => {
  const viridis = makeScale("viridis");
  assert.equal(viridis.length, 768);
  assert.deepEqual([...viridis.slice(0, 3)], [0x44, 0x01, 0x54]);
  assert.deepEqual([...viridis.slice(765)], [0xfd, 0xe7, 0x25]);
  assert.equal(scaleIndex(-5, 0, 70), 0);
  assert.equal(scaleIndex(700, 0, 70), 255);
});

test("the patient's left is on the image's right, the front is up, and the head is up", () => {
  const bounds = [[0, 300], [-100, 100], [-200, 200]];
  const axial = makeTransform("axial", bounds, [400, 400], { zoom: 1, pan: [0, 0] });
  assert.ok(axial.toPixel(150, 0)[0] > axial.toPixel(-150, 0)[0], "x grows to the patient's left");
  assert.ok(axial.toPixel(0, 80)[1] > axial.toPixel(0, -80)[1], "y grows to the back");
  for (const view of ["coronal", "sagittal"]) {
    const upright = makeTransform(view, bounds, [400, 400], { zoom: 1, pan: [0, 0] });
    assert.ok(upright.toPixel(0, 250)[1] < upright.toPixel(0, 50)[1], "z grows to the head");
  }
});

test("a millimetre is as long across as down, and pixels lead back to millimetres", () => {
  const bounds = [[0, 90], [-100, 100], [-200, 200]];
  for (const view of ["axial", "coronal", "sagittal"]) {
    const transform = makeTransform(view, bounds, [333, 217], { zoom: 2.5, pan: [7, -3] });
    const [x0, y0] = transform.toPixel(10, 20);
    const [x1, y1] = transform.toPixel(11, 21);
    assert.ok(Math.abs(Math.abs(x1 - x0) - Math.abs(y1 - y0)) < 1e-9);
    const [a, d] = transform.toMm(x0, y0);
    assert.ok(Math.abs(a - 10) + Math.abs(d - 20) < 1e-9);
  }
});

test("zooming keeps the point under the pointer", () => {
  const bounds = [[0, 90], [-100, 100], [-200, 200]];
  const before = { zoom: 1, pan: [0, 0] };
  const there = makeTransform("sagittal", bounds, [300, 200], before).toMm(80, 50);
  const after = zoomAbout("sagittal", bounds, [300, 200], before, 3, [80, 50]);
  const [x, y] = makeTransform("sagittal", bounds, [300, 200], after).toPixel(...there);
  assert.ok(Math.abs(x - 80) + Math.abs(y - 50) < 1e-9);
  assert.equal(barLength(2, 400), 50);
});

test("the wash lies over the CT where its strength says, and nowhere else", () => {
  const transform = makeTransform("axial", [[0, 1], [0, 4], [0, 4]], [4, 4], { zoom: 1, pan: [0, 0] });
  const ct = planeOf(4, 4, () => 40, [1, 1], [0.5, 0.5]);
  const dose = planeOf(4, 4, (i) => (i < 2 ? 0 : 70), [1, 1], [0.5, 0.5]);
  const greys = Uint8Array.from({ length: 4096 }, (_, i) => greyOf(i - 1024, [40, 400]));
  const scale = makeScale("turbo");
  const image = { width: 4, height: 4, data: new Uint8ClampedArray(64) };
  paintImage(image, transform, ct, greys, { plane: dose, scale, range: [0, 70], nearest: false, strength: (gy) => (gy >= 14 ? 0.5 : 0) });
  assert.deepEqual([...image.data.slice(0, 4)], [127, 127, 127, 255]);
  [0, 1, 2].forEach((c) => assert.ok(Math.abs(image.data[12 + c] - (127 + scale[765 + c]) / 2) <= 0.5));
  paintImage(image, transform, null, greys, null);
  assert.deepEqual([...image.data.slice(0, 4)], [0, 0, 0, 255]);
});

test("ticks are round and inside", () => {
  assert.deepEqual(niceTicks(0, 71, 6), [0, 20, 40, 60]);
  assert.deepEqual(niceTicks(-1, 1, 4), [-1, -0.5, 0, 0.5, 1]);
});

test("numbers keep their decimals and a true minus; what is absent is a dash", () => {
  assert.equal(format(-3.14159, 2), "−3.14");
  assert.equal(format(NaN), "–");
  assert.equal(format(null), "–");
});

test("isodose levels are percentages in falling order; anything else is refused", () => {
  assert.deepEqual(parseLevels("50, 95;107 95"), [107, 95, 50]);
  for (const text of ["", "95, x", "-3", "0", "250"]) assert.equal(parseLevels(text), null);
});

const CURVE = { x: [0, 10, 20], y: [100, 50, 0], covered: 80, openBelow: 5 };
const STRUCTURE = { name: "Rectum", volume: 50 };

test("a curve is read between its points in every unit", () => {
  const units = { relativeDose: false, absoluteVolume: false, reference: 40 };
  assert.equal(readCurve(CURVE, STRUCTURE, units, 15), 25);
  assert.equal(readCurve(CURVE, STRUCTURE, units, 25), 0);
  assert.equal(readCurve(CURVE, STRUCTURE, { ...units, relativeDose: true }, 25), 50);
  assert.equal(readCurve(CURVE, STRUCTURE, { ...units, absoluteVolume: true }, 10), 20);
  assert.equal(interpolate([0, 1], [3, 5], 0.5), 4);
});

test("the part of a curve that what lies outside the dose grid may lift is told apart", () => {
  const [sure, unsure] = splitCurve(CURVE, STRUCTURE, { relativeDose: false, absoluteVolume: false, reference: 40 });
  assert.deepEqual(unsure, [[0, 100], [5, 75]]);
  assert.deepEqual(sure, [[5, 75], [10, 50], [20, 0]]);
  assert.deepEqual(splitCurve({ ...CURVE, openBelow: 0 }, STRUCTURE, { reference: 40 })[1], []);
  assert.deepEqual(splitCurve({ ...CURVE, openBelow: 30 }, STRUCTURE, { reference: 40 })[0], []);
});

test("CSV quotes what must be quoted and runs nothing", () => {
  assert.equal(quoteField('a "b", c'), '"a ""b"", c"');
  assert.equal(quoteField("=SUM(A1)"), "'=SUM(A1)");
  assert.equal(quoteField("-3.5"), "-3.5");
  const [head, row] = writeCsv([{ structure: STRUCTURE, curve: CURVE, title: "Predicted" }], "NOTICE").split("\n");
  assert.equal(head, "structure,dose_source,dose_gy,volume_percent,volume_cc,notice");
  assert.equal(row, "Rectum,Predicted,0.00,100.000,40.0000,NOTICE");
});

test("a chart's axes lead to pixels and back, and a path breaks where there is no value", () => {
  const axes = makeAxes({ width: 500, height: 300, x: [0, 80], y: [0, 100] });
  assert.ok(Math.abs(axes.toX(axes.px(33)) - 33) < 1e-9);
  assert.ok(axes.py(100) < axes.py(0));
  assert.equal(writePath([[0, 1], [1, 2], [2, NaN], [3, 4]], axes).match(/M/g).length, 2);
});

test("a band goes down its lowest doses and back along its highest, in the units shown", () => {
  const band = { y: [98, 50, 2], low: [10, 20, 30], high: [12, 24, 36] };
  const plain = { relativeDose: false, absoluteVolume: false, reference: 40 };
  assert.deepEqual(outlineBand(band, { volume: 50 }, plain), [[10, 98], [20, 50], [30, 2], [36, 2], [24, 50], [12, 98]]);
  const other = outlineBand(band, { volume: 50 }, { relativeDose: true, absoluteVolume: true, reference: 40 });
  assert.deepEqual(other[1], [50, 25]);
});
