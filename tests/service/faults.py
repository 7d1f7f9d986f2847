"""Faults of hospital and disk, done to a running service: each function does one, and says what it cost.

The tests run each once; `benchmarks/service_faults.py` runs them again and again and prints the table of
docs/results.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.dicom_phantom import cut_short, edited, write_study
from tests.patience import wait_for
from tests.service.conftest import Site
from tests.service.running import CannotMountError, Cost, break_from, fill, forget_pages, job_of, mounted, put, running
from vmat_rt_service.outbox.publishing import hash_folder


def absurd_coordinates(site: Site) -> Cost:
    """Three CTs at z = 0, 0.5 and 1.7e308; then a restart over them."""
    for number, z in enumerate((0.0, 0.5, 1.7e308)):
        phantom = write_study(site.root / "scratch" / str(number), seed="far", structures=number == 0)
        (site.inbox / "far").mkdir(exist_ok=True)
        with edited(phantom.ct_files[number], site.inbox / "far" / f"{number}.dcm") as ds:
            ds.ImagePositionPatient = [0, 0, z]
        if number == 0:
            shutil.copy(phantom.structures_file, site.inbox / "far" / "rs.dcm")
    with running(site) as service:
        put(site, "a")
        service.wait(lambda: len(site.results()) == 1)
        service.restart()
        put(site, "b")
        service.wait(lambda: len(site.results()) == 2)
        assert service.ends == 0
        return service.cost(2)


def unreadable_sector(site: Site, before: int = 60_000) -> Cost:
    """One slice of a study on a disk with a bad end, so many bytes into it; three healthy studies beside it."""
    image, disk = site.root / "disk.img", site.root / "disk"
    with image.open("wb") as stream:
        stream.truncate(24 << 20)
    if shutil.which("mkfs.ext4") is None or subprocess.run(["mkfs.ext4", "-q", str(image)], check=False).returncode:
        raise CannotMountError
    with mounted(disk, "loop", kind="ext4", device=str(image)):
        study = put(site, "sector")
        slice_file = study.ct_files[5]
        with edited(slice_file) as ds:
            ds.private_block(0x0009, "FILLER", create=True).add_new(1, "OB", b"\1" * before)
        bad = disk / slice_file.name
        shutil.copyfile(slice_file, bad)
        subprocess.run(["sync"], check=True)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        break_from(image, slice_file.read_bytes()[-1500:])
        forget_pages(bad)
        slice_file.unlink()
        slice_file.symlink_to(bad)
        site.reconfigure(intake_attempts=2)
        with running(site) as service:
            for name in ("a", "b", "c"):
                put(site, name)
            service.wait(lambda: len(site.results()) == 3)
            service.wait(lambda: "refused" in site.states())
            (job,) = job_of(site, "UNREADABLE")
            assert (site.outbox / "refused" / job.key / "reason.json").is_file()
            assert service.ends == 0
            return service.cost(3)


def unreadable_file(site: Site) -> Cost:
    """The same where not even the first byte can be read."""
    return unreadable_sector(site, before=0)


def larger_than_the_disk(site: Site) -> Cost:
    """A study that the state's disk can never hold, in front of a healthy one."""
    with mounted(site.root / "small state", "size=8m"):
        site.reconfigure(state=site.root / "small state", intake_attempts=2)
        site.config.staging.mkdir(parents=True)
        site.reopen()
        with edited(put(site, "a large one").ct_files[0]) as ds:
            ds.private_block(0x0009, "FILLER", create=True).add_new(1, "OB", b"\1" * (20 << 20))
        with running(site) as service:
            put(site, "b")
            service.wait(lambda: sorted(site.states()) == ["done", "refused"])
            assert job_of(site, "NO_ROOM")
            assert service.ends == 0
            return service.cost(1)


def outbox_unmounted(site: Site) -> Cost:
    """The share of the outbox goes; a study arrives; the share comes back."""
    share, place = site.root / "share", site.root / "mounted outbox"
    share.mkdir()
    bind = ["mount", "--bind", str(share), str(place)]
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(bind, capture_output=True, check=False).returncode:
        raise CannotMountError
    site.reconfigure(outbox=place)
    try:
        with running(site) as service:
            put(site, "a")
            service.wait(lambda: len(site.results()) == 1)
            subprocess.run(["umount", "-l", str(place)], check=True)
            put(site, "b")
            service.wait(lambda: "paused" in service.events())
            time.sleep(5)
            assert list(place.iterdir()) == [], "something was written below the mount point"
            subprocess.run(bind, check=True)
            service.wait(lambda: len(site.results()) == 2)
            assert service.ends == 0
            return service.cost(2)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def outbox_full(site: Site, options: str = "size=12m") -> Cost:
    """No room, or no names, in the outbox while one study is refused and one is predicted."""
    place = site.root / "small outbox"
    with mounted(place, options):
        site.reconfigure(outbox=place)
        with running(site) as service:
            put(site, "a")
            service.wait(lambda: len(site.results()) == 1)
            fillers = fill(place)
            cut_short(put(site, "bad").structures_file, 500)
            put(site, "b")
            service.wait(lambda: "paused" in service.events())
            time.sleep(12)
            assert service.events().count("paused") == 1
            assert site.states().count("running") <= 1
            for filler in fillers:
                filler.unlink(missing_ok=True)
            service.wait(lambda: len(site.results()) == 2 and "refused" in site.states())
            assert service.ends == 0
            return service.cost(2)


def outbox_without_names(site: Site) -> Cost:
    """The same where the file system takes no more files."""
    return outbox_full(site, "size=40m,nr_inodes=60")


def planted_result(site: Site) -> Cost:
    """Somebody who knows content and key puts a dose of his own into the outbox while the service is down."""
    put(site, "a")
    site.take_in()
    (job,) = site.jobs()
    planted = site.outbox / job.key
    planted.mkdir()
    (planted / "rtdose.dcm").write_bytes(b"not what was computed")
    record = {
        "schema_version": 1, "content_hash": job.content_hash, "key": job.key, "versions": {}, "seconds": 1.0,
        "model": {"name": "m", "version": "1", "sha256": "0"}, "files": hash_folder(planted),
    }  # fmt: skip
    (planted / "job.json").write_text(json.dumps(record))
    with running(site) as service:
        service.wait(lambda: site.states() == ["done"])
        (done,) = site.jobs()
        assert done.key != planted.name
        assert (planted / "rtdose.dcm").read_bytes() == b"not what was computed", "nobody else's files are removed"
        shutil.rmtree(planted)
        return service.cost(1)


def slices_sent_again(site: Site) -> Cost:
    """After a study is done its slices come again, one by one, each with another private tag."""
    study = put(site, "a")
    with running(site) as service:
        service.wait(lambda: site.states() == ["done"])
        for number, path in enumerate(study.ct_files[:6]):
            with edited(path) as ds:
                ds.private_block(0x0009, "RESENDER", create=True).add_new(1, "LO", f"again {number}")
            time.sleep(0.6)
        time.sleep(6)
        service.wait(lambda: set(site.states()) == {"done"})
        assert len(site.jobs()) == 1
        return service.cost(1)


def link_out_of_the_inbox(site: Site) -> Cost:
    """after_success: delete, and a folder of the inbox that is a link to elsewhere."""
    elsewhere = site.root / "elsewhere"
    study = write_study(elsewhere, seed="link")
    (site.inbox / "link").symlink_to(elsewhere)
    site.reconfigure(after_success="delete")
    with running(site) as service:
        service.wait(lambda: "inputs disposed of" in service.events())
        assert all(path.exists() for path in (*study.ct_files, study.structures_file))
        return service.cost(1)


def damaged_records(site: Site) -> Cost:
    """The last line of the audit log is rubbish and the journal is overwritten; then the service starts."""
    put(site, "a")
    with running(site) as service:
        service.wait(lambda: site.states() == ["done"])
        service.stop()
        with site.config.audit.open("ab") as log:
            log.write(b"\0\0\0 rubbish\n")
        site.journal.close()
        for path in site.config.state.glob("journal.sqlite-*"):
            path.unlink()
        site.config.journal.write_bytes(b"\xffnot a database" * 2000)
        service.process = site.watch()
        wait_for(lambda: service.events().count("service started") == 2)
        site.reopen()
        put(site, "b")
        service.wait(lambda: site.states() == ["done", "done"])
        assert service.ends == 0
        return service.cost(2)


def edited_in_place(site: Site) -> Cost:
    """An RTSTRUCT is edited with its size and time kept, once under a running service and once while it is down."""
    study = put(site, "a")
    path = study.structures_file
    with running(site) as service:
        service.wait(lambda: site.states() == ["done"])
        _edit_secretly(path, b"PTV", b"PTW")
        service.wait(lambda: len(site.states()) == 2 and site.states()[1] in {"done", "refused"})
        service.stop()
        _edit_secretly(path, b"PTW", b"PTV")
        _edit_secretly(path, b"Bladder", b"Blodder")
        service.process = site.watch()
        service.wait(lambda: len(site.states()) == 3 and site.states()[2] in {"done", "refused"})
        return service.cost(site.states().count("done"))


def _edit_secretly(path: Path, old: bytes, new: bytes) -> None:
    status = path.stat()
    content = path.read_bytes()
    assert old in content
    with path.open("r+b") as stream:
        stream.write(content.replace(old, new))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def slow_files(site: Site) -> Cost:
    """Two files of 13 MB that would take minutes to be parsed, and a healthy study behind them.

    They are refused by their number of items, or given to a second reader.
    """
    write_slow_file(site.inbox / "slow" / "0.dcm")
    shutil.copy(site.inbox / "slow" / "0.dcm", site.inbox / "slow" / "1.dcm")
    with running(site) as service:
        told = {"takes long", "reader lost", "refused"}
        service.wait(lambda: bool(told.intersection(service.events())))
        begun = time.monotonic()
        put(site, "a")
        service.wait(lambda: len(site.results()) == 1)
        assert time.monotonic() - begun < 60, "a later study waits for what is slow"
        return service.cost(1)


def write_slow_file(path: Path, megabytes: int = 13) -> None:
    """CT by its header, and then sequences in sequences of empty items without end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    study = write_study(path.parent.parent.parent / "scratch slow", seed="slow", structures=False)
    head = study.ct_files[0].read_bytes()
    head = head[: head.find(b"\xe0\x7f\x10\x00")]
    item = b"\xfe\xff\x00\xe0\x00\x00\x00\x00"
    count = megabytes * (1 << 20) // len(item)
    sequence = b"\x08\x00\x15\x11SQ\x00\x00\xff\xff\xff\xff" + item * count + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    at = head.find(b"\x10\x00\x10\x00")
    path.write_bytes(head[:at] + sequence + head[at:])


FAULTS: dict[str, Callable[[Site], Cost]] = {
    "CT at z = 1.7e308, restart over it": absurd_coordinates,
    "unreadable sector in a slice": unreadable_sector,
    "unreadable slice": unreadable_file,
    "study larger than the disk": larger_than_the_disk,
    "share of the outbox unmounted and back": outbox_unmounted,
    "outbox without space": outbox_full,
    "outbox without inodes": outbox_without_names,
    "planted dose with a job.json": planted_result,
    "six slices sent again with a private tag": slices_sent_again,
    "delete through a link": link_out_of_the_inbox,
    "audit log and journal damaged": damaged_records,
    "RTSTRUCT edited, size and time kept": edited_in_place,
    "two 13 MB files that parse slowly": slow_files,
}
