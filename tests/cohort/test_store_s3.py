"""The same store over the S3 protocol, on a server of this process. Needs the packages moto[server] and s3fs."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec.config
import pytest

from tests.cohort.cases import pelvis, record_of, small_cohort
from vmat_rt.cohort.split import Splits, split_cohort
from vmat_rt.cohort.store import RECORD, Cohort
from vmat_rt.errors import ConfigError, InputError

moto = pytest.importorskip("moto.server", reason="the package moto[server] is not installed")
s3fs = pytest.importorskip("s3fs", reason="the package s3fs is not installed")


@pytest.fixture
def uri(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setitem(fsspec.config.conf, "s3", {"client_kwargs": {"endpoint_url": f"http://{host}:{port}"}})
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    yield "s3://bucket/data/cohort"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_cohort_in_a_bucket(uri: str) -> None:
    keys = ("c1", "c2", "c3")
    small_cohort(uri, keys)
    cohort, bucket = Cohort.open(uri), s3fs.S3FileSystem()
    assert cohort.keys() == keys
    cohort.reindex()
    assert cohort.check() == ()
    with pytest.raises(ConfigError, match="has a case c1 already"):
        cohort.add(pelvis(), record_of(pelvis(), "c1"))
    replaced = cohort.add(pelvis(shift_mm=3.0), record_of(pelvis(), "c1"), replace=True)
    assert Cohort.open(uri).record("c1") == replaced

    chunk = next(path for path in bucket.find("bucket/data/cohort/cases/c2.zarr/dose") if "/c/" in path)
    bucket.rm_file(chunk)
    with pytest.raises(InputError, match="CASE_DAMAGED: Case c2"):
        cohort.read_patch("c2", (0, 0, 0), (24, 40, 44))
    bucket.rm_file(f"bucket/data/cohort/cases/c3.zarr/{RECORD}")
    assert cohort.keys() == ("c1", "c2"), "what has no record is not there"
    for key in keys:
        cohort.add(pelvis(), record_of(pelvis(), key, f"patient-{key}"), replace=True)
    cohort.reindex()
    assert cohort.check() == ()
    splits = split_cohort(cohort.records(), (1,))
    splits.write(cohort)
    assert Splits.read(Cohort.open(uri)) == splits
