"""Every kind of break of `python -m tests.emulated.mutate` applies to the current sources."""

import itertools

from tests.emulated.mutate import BREAKS, ROOT, breaks, chosen


def test_every_kind_of_break_is_somewhere_in_the_sources() -> None:
    found = list(breaks(ROOT, []))
    assert {one.what for one in found} == {what for what, *_ in BREAKS}
    for one in found:
        whole = (ROOT / one.path).read_text(encoding="utf-8")
        assert "BROKEN" in one.text, f"{one} cannot be chosen"
        assert one.text != whole[one.start : one.end], f"{one} changes nothing"


def test_what_is_chosen_of_a_file_does_not_overlap() -> None:
    some = chosen(list(breaks(ROOT, ["confidence_warp"])), 20, seed=0)
    assert max(sum(one.path == other.path for other in some) for one in some) == 20
    for before, after in itertools.pairwise(some):
        assert before.path != after.path or before.end <= after.start
