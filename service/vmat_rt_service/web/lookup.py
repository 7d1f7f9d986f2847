"""Whose study it is, read from its file when a person asks, in a process of its own, and kept nowhere.

    python -m vmat_rt_service.web.lookup FILE

Files of the inbox come from others: the service itself opens none of them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

_SECONDS = 15.0
_MEMORY_BYTES = 1 << 30
_KEYWORDS = {"PatientName": "name", "PatientID": "id", "PatientBirthDate": "birth date", "StudyDescription": "study"}
_LONGEST = 200


def look_up(file: Path) -> dict[str, str]:
    """Name, ID, birth date and study of a DICOM file; {} where it cannot be read in time."""
    command = [sys.executable, "-m", "vmat_rt_service.web.lookup", str(file)]
    try:
        run = subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
        )  # fmt: skip
        found = json.loads(run.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return {str(name): str(value) for name, value in found.items()}


def read_patient(file: Path) -> dict[str, str]:
    """The same in this process. Raises whatever the bytes of the file lead pydicom to."""
    import pydicom

    dataset = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(_KEYWORDS))
    values = {name: str(dataset.get(keyword, "") or "").strip()[:_LONGEST] for keyword, name in _KEYWORDS.items()}
    return {name: value for name, value in values.items() if value}


def main(arguments: list[str]) -> int:
    """Print what a file says as JSON."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(_SECONDS), int(_SECONDS)))
    file = Path(arguments[0])
    if not file.is_file() or file.is_symlink():
        return 1
    print(json.dumps(read_patient(file)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
