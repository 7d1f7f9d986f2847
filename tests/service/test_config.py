"""What a configuration file says, and what options make of it."""

from __future__ import annotations

from pathlib import Path

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
