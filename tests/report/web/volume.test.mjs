// Volumes of the viewer against closed forms: codes, places, planes and lines.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { sampleLine } from "../../../vmat_rt/report/web/profile.mjs";
import { boundsOf, centreOf, cutPlane, decodeCodes, inflate, makeVolume, nearestIndex, sampleAt, samplePlane, subtractPlanes, valueAt } from "../../../vmat_rt/report/web/volume.mjs";

const SHAPE = [4, 5, 6];
const GRID = { shape: SHAPE, spacing: [3, 2, 1.5], origin: [-10, 20, 5], step: 0.5, lowest: -8 };

/** A volume whose value is 0.5 z + y - 1.5 x in voxels, which steps of 0.5 hold exactly. */
function ramp(grid = GRID, absent = () => false) {
  const codes = new Uint16Array(SHAPE[0] * SHAPE[1] * SHAPE[2]);
  for (let z = 0, k = 0; z < SHAPE[0]; z++)
    for (let y = 0; y < SHAPE[1]; y++)
      for (let x = 0; x < SHAPE[2]; x++, k++) codes[k] = absent(z, y, x) ? 0 : 1 + (0.5 * z + y - 1.5 * x - grid.lowest) / grid.step;
  return makeVolume(grid, codes);
}

test("a voxel has its value and a point between voxels the linear one", () => {
  const volume = ramp();
  assert.equal(valueAt(volume, 2, 3, 1), 0.5 * 2 + 3 - 1.5);
  const point = [-10 + 3 * 1.25, 20 + 2 * 2.5, 5 + 1.5 * 3.75];
  assert.ok(Math.abs(sampleAt(volume, point) - (0.5 * 1.25 + 2.5 - 1.5 * 3.75)) < 1e-12);
});

test("outside of the outer faces there is no value, and up to them that of the last voxel", () => {
  const volume = ramp();
  const [low, high] = boundsOf(volume, 0);
  assert.deepEqual([low, high], [-11.5, 0.5]);
  assert.ok(Number.isNaN(sampleAt(volume, [low - 0.01, 20, 5])));
  assert.ok(Number.isNaN(sampleAt(volume, [high + 0.01, 20, 5])));
  assert.equal(sampleAt(volume, [high, 20, 5]), 1.5);
});

test("an absent voxel is not zero, and takes its neighbours' points with it", () => {
  const volume = ramp(GRID, (z, y, x) => z === 1 && y === 1 && x === 1);
  assert.ok(Number.isNaN(valueAt(volume, 1, 1, 1)));
  assert.ok(Number.isNaN(sampleAt(volume, [-7 + 0.1, 22, 6.5])));
  assert.equal(sampleAt(volume, [-4, 22, 6.5]), 0.5 * 2 + 1 - 1.5);
});

for (const normal of [0, 1, 2]) {
  test(`a plane across axis ${normal} holds what the volume holds there`, () => {
    const volume = ramp();
    const mm = GRID.origin[normal] + GRID.spacing[normal] * 1.4;
    const plane = cutPlane(volume, normal, mm);
    const [down, across] = [0, 1, 2].filter((axis) => axis !== normal);
    assert.deepEqual([plane.width, plane.height], [SHAPE[across], SHAPE[down]]);
    const point = [0, 0, 0];
    point[normal] = mm;
    point[down] = GRID.origin[down] + GRID.spacing[down] * 2.3;
    point[across] = GRID.origin[across] + GRID.spacing[across] * 0.6;
    assert.ok(Math.abs(samplePlane(plane, point[across], point[down]) - sampleAt(volume, point)) < 1e-5);
    assert.equal(cutPlane(volume, normal, boundsOf(volume, normal)[1] + 1), null);
  });
}

test("the nearest plane is not mixed with its neighbour", () => {
  const plane = cutPlane(ramp(), 0, -10 + 3 * 1.4, true);
  assert.equal(plane.values[0], 0.5);
});

test("a difference is first minus second where both have values", () => {
  const other = ramp({ ...GRID, lowest: -9.5 });
  const shifted = makeVolume({ ...GRID, lowest: -9.5 }, other.codes.map((code) => code));
  const gap = subtractPlanes(ramp(), makeVolume({ ...shifted, origin: [-10, 24, 5] }, shifted.codes), 0, -10);
  const k = 3 * gap.width + 2;
  assert.ok(Math.abs(gap.values[k] - 2) < 1e-5, "the other one lies two rows further back, so it is two less");
  assert.ok(Number.isNaN(gap.values[0]), "the other dose does not reach here");
});

test("the nearest voxel is held within the volume", () => {
  assert.equal(nearestIndex(GRID, 2, -100), 0);
  assert.equal(nearestIndex(GRID, 2, 100), 5);
  assert.equal(centreOf(GRID, 2, 5), 12.5);
});

test("a profile runs from end to end and reads the volume", () => {
  const line = sampleLine(ramp(), [-10, 20, 5], [-1, 28, 12.5], 1);
  const length = Math.hypot(9, 8, 7.5);
  assert.deepEqual(line[0], [0, 0]);
  assert.ok(Math.abs(line.at(-1)[0] - length) < 1e-9);
  for (const [mm, value] of line) assert.ok(Math.abs(value - (mm / length) * (1.5 + 4 - 7.5)) < 1e-9);
  assert.ok(Number.isNaN(sampleLine(ramp(), [-10, 20, 5], [100, 20, 5])[5 * 20][1]));
});

test("what Python packed is read bit for bit", async () => {
  const { description, data, codes } = JSON.parse(readFileSync(process.env.PACKED_VOLUME, "utf8"));
  const found = decodeCodes(await inflate(data), description.shape);
  assert.deepEqual([...found], codes);
});
