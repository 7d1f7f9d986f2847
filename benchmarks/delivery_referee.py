"""Open fields by pyRadPlan, for `benchmarks.delivery`, which runs this file with the Python that has pyRadPlan.

    python delivery_referee.py CASE.npz RESULT.npz

It knows nothing of vmat_rt. CASE: hu, body and target (z, y, x), origin_mm and spacing_mm (z, y, x), isocentre_mm
(z, y, x), angles_deg, bixel_mm. RESULT: dose (angles, z, y, x) of fields whose bixels all have weight 1, their places
`rays` (beam, v, u) in mm, seconds a field, and what pyRadPlan is.
"""

import logging
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk
from pyRadPlan import PhotonPlan, calc_dose_forward, generate_stf
from pyRadPlan.cst import StructureSet, create_voi
from pyRadPlan.ct import create_ct

KERNEL_MM = 179.0


def make_scene(case):
    """pyRadPlan's CT and structures."""
    image = sitk.GetImageFromArray(case["hu"].astype(np.float32))
    image.SetSpacing(case["spacing_mm"][::-1].tolist())
    image.SetOrigin(case["origin_mm"][::-1].tolist())
    ct = create_ct({"cube_hu": image})
    kinds = {"TARGET": case["target"], "OAR": case["body"]}
    vois = [create_voi(voi_type=k, name=k, ct_image=ct, mask=m.astype(np.uint8)) for k, m in kinds.items()]
    return ct, StructureSet(vois=vois, ct_image=ct)


def open_field(ct, cst, case, angle_deg):
    """Dose (z, y, x) and rays (v, u) of one beam with unit weights, on the CT's own grid."""
    z, y, x = case["isocentre_mm"]
    plan = PhotonPlan(machine="Generic")
    plan.prop_stf = {
        "gantry_angles": [float(angle_deg)],
        "couch_angles": [0.0],
        "bixel_width": float(case["bixel_mm"]),
        "iso_center": [x, y, z],
    }
    step = case["spacing_mm"]
    plan.prop_dose_calc = {
        "dose_grid": {"resolution": {"x": step[2], "y": step[1], "z": step[0]}},
        "geometric_lateral_cutoff": KERNEL_MM,
    }
    stf = generate_stf(ct, cst, plan)
    weights = np.ones(stf.total_number_of_bixels, np.float32)
    result = calc_dose_forward(ct, cst, stf, plan, weights)
    rays = np.array([[ray.ray_pos_bev[2], ray.ray_pos_bev[0]] for ray in stf.beams[0].rays])
    return sitk.GetArrayFromImage(result["physical_dose"]), rays


def main(case_path, result_path):
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    case = dict(np.load(case_path))
    ct, cst = make_scene(case)
    doses, rays, seconds = [], [], []
    for beam, angle in enumerate(case["angles_deg"]):
        start = time.perf_counter()
        dose, places = open_field(ct, cst, case, angle)
        seconds.append(time.perf_counter() - start)
        doses.append(dose.astype(np.float32))
        rays.append(np.column_stack([np.full(len(places), beam), places]))
    name = f"pyRadPlan {version('pyRadPlan')}"
    np.savez(result_path, dose=np.stack(doses), rays=np.concatenate(rays), seconds=seconds, name=name)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
