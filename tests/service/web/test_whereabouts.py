"""The folder that a study arrived in, found by its digest and not read from anywhere."""

from __future__ import annotations

from pathlib import Path

from tests.service.pages import Clock, configured
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.readings import reading
from vmat_rt_service.web.whereabouts import Whereabouts


def test_files_and_folders_are_found_by_their_digests(tmp_path: Path) -> None:
    config = configured(tmp_path)
    file = config.inbox / "Müller" / "a" / "RS.1.dcm"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    (config.inbox / ".receiving").mkdir()
    (config.inbox / ".receiving" / "part").write_bytes(b"x")
    journal = Journal(config.journal)
    digests = {name: journal.digest("source", name) for name in (str(file), f"damaged {file.parent}", "series 1.2")}
    hidden = journal.digest("source", str(config.inbox / ".receiving" / "part"))
    journal.close()
    clock = Clock()
    places = Whereabouts(config, clock)
    with reading(config.journal) as look:
        assert places.name_folder(digests[str(file)], look) == "Müller/a"
        assert places.name_folder(digests[f"damaged {file.parent}"], look) == "Müller/a"
        assert places.name_folder(digests["series 1.2"], look) == ""
        assert places.find(hidden, look) is None
        assert digests[str(file)] in places.search("MÜLLER", look)
        assert places.search("nobody", look) == ()
        file.unlink()
        assert places.find(digests[str(file)], look) == file, "the inbox is not walked at every request"
        clock.now += 60
        assert places.find(digests[str(file)], look) is None
