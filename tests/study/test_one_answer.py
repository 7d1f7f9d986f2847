"""One answer: what predict reports of a dose is what dvh reads in the file that it wrote, to the printed digit.

Covers vmat_rt.study.evaluate_dose and vmat_rt.study.review together.
"""

from __future__ import annotations

from pathlib import Path

from tests.external import REPOSITORY
from vmat_rt.dicom.dose import read_dose
from vmat_rt.metrics.grammar import parse_metrics
from vmat_rt.study.choice import StudyChoice
from vmat_rt.study.predict import predict_study
from vmat_rt.study.review import review_study

STUDY = REPOSITORY / "sample_data" / "head_neck_openkbp"
METRICS = parse_metrics("D99%,D98%,D95%,D50%,D2%,D1%,D0.03cc,Dmin,Dmean,Dmax,V95%,V100%,V20Gy,V20Gy[cc],HI")
DIGITS = 2


def test_the_report_and_dvh_of_the_written_dose_agree_in_every_metric_of_every_structure(tmp_path: Path) -> None:
    made = predict_study(STUDY, tmp_path, model="head_neck_geometric")
    assert made.folder is not None
    reviewed = review_study(STUDY, read_dose(made.folder / "rtdose.dcm"), METRICS[:1], StudyChoice(), all_rois=False)
    assert len(reviewed) == len(made.dvhs) > 8
    for name, dvh in reviewed.items():
        for metric in METRICS:
            reported, read = made.dvhs[name].value(metric), dvh.value(metric)
            assert (reported is None) == (read is None), (name, str(metric))
            if reported is not None and read is not None:
                assert f"{reported:.{DIGITS}f}" == f"{read:.{DIGITS}f}", (name, str(metric))
