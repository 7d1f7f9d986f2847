"""What a configuration file says, and what options make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmat_rt.errors import ConfigError
from vmat_rt_service.config import load_config


def test_relative_certificates_are_below_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "service.yaml").write_text(
        "inbox: in\noutbox: out\nlisten: {tls: {certificate: a.crt, key: a.key}}\n"
        "destinations: [{name: p, host: h, port: 1, ae_title: A, tls: {ca: /etc/ca.crt}}]\n"
    )
    config = load_config(tmp_path / "service.yaml", listen={"port": 5, "ae_title": None})
    assert config.listen is not None
    assert config.listen.tls is not None
    assert config.listen.port == 5
    assert config.listen.tls.certificate == tmp_path / "a.crt"
    assert config.destinations[0].tls is not None
    assert config.destinations[0].tls.ca == Path("/etc/ca.crt")


@pytest.mark.parametrize(
    ("inbox", "outbox", "state", "archive"),
    [
        ("in", "in/out", "state", None),
        ("out/in", "out", "state", None),
        ("in", "out", "in/state", None),
        ("in", "out", "in", None),
        ("state/in", "out", "state", None),
        ("in", "state/out", "state", None),
        ("in", "out", "state", "in/archive"),
        ("in", "out", "state", "out/archive"),
        ("archive/in", "out", "state", "archive"),
        ("in", "out", "out/state", None),
    ],
)
def test_folders_in_each_other_are_refused(
    tmp_path: Path, inbox: str, outbox: str, state: str, archive: str | None
) -> None:
    named = {"inbox": inbox, "outbox": outbox, "state": state, "archive": archive}
    folders = {name: tmp_path / folder for name, folder in named.items() if folder is not None}
    with pytest.raises(ConfigError, match="or lie in it"):
        load_config(None, **folders)


def test_a_link_does_not_hide_that_folders_lie_in_each_other(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(ConfigError, match="lie in it"):
        load_config(None, inbox=tmp_path / "in", outbox=tmp_path / "link" / "out")


def test_the_state_may_lie_hidden_in_the_outbox(tmp_path: Path) -> None:
    assert load_config(None, inbox=tmp_path / "in", outbox=tmp_path / "out").state.parent == tmp_path / "out"
