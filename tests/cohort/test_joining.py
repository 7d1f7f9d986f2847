"""Members joined by shared evidence, also through a chain of others, whatever the order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmat_rt.cohort.joining import join_links


def test_a_chain_joins_its_ends() -> None:
    links = [("c", "x"), ("b", "x"), ("b", "y"), ("a", "y"), ("d", "z")]
    assert join_links(links) == {"a": "a", "b": "a", "c": "a", "d": "d"}
    assert join_links([]) == {}


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("uvwxyz"))))
def test_it_is_the_connected_components_in_any_order(links: list[tuple[str, str]]) -> None:
    """Against sets that are merged until nothing changes."""
    groups = [{member, f"!{evidence}"} for member, evidence in links]
    merged = True
    while merged:
        merged = False
        for group in groups:
            for other in groups:
                if group is not other and group & other:
                    group |= other
                    groups.remove(other)
                    merged = True
                    break
            if merged:
                break
    truth = {m: min(n for n in g if n[0] != "!") for g in groups for m in g if m[0] != "!"}
    assert join_links(links) == truth == join_links(links[::-1])
