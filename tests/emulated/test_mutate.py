"""The breaks of `python -m tests.emulated.mutate` are those of the sources as they are now."""

from tests.emulated.mutate import BREAKS, ROOT, breaks


def test_every_kind_of_break_is_somewhere_in_the_sources() -> None:
    found = list(breaks(ROOT, []))
    assert {one.what for one in found} == {what for what, *_ in BREAKS}
    for one in found:
        assert one.text != (ROOT / one.path).read_text(encoding="utf-8"), f"{one} changes nothing"
