"""Members joined by shared evidence: patients by their images, files by study and frame of reference."""

from __future__ import annotations

from collections.abc import Iterable


def join_links(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Member -> the one that stands for all who share evidence with it, also through a chain of others.

    links are (member, evidence): for patients an image's hash, or whatever else two of them do not share. The first
    in alphabetical order stands for the others.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first_with: dict[str, str] = {}
    members = set()
    for member, evidence in links:
        members.add(member)
        one, other = sorted((root(member), root(first_with.setdefault(evidence, member))))
        parent[other] = one
    return {member: root(member) for member in members}
