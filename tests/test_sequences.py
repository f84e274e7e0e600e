import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from classifiers.sequences import Sequences, merge_equal

LISTS = st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=30)


def lay(lists: list[list[int]]) -> Sequences:
    owner = np.repeat(np.arange(len(lists)), [len(one) for one in lists]).astype(np.int64)
    items = np.array([item for one in lists for item in one], np.int64)
    return Sequences.grouped(owner, items, len(lists))


def read(sequences: Sequences) -> list[list[int]]:
    return [
        sequences.items[sequences.start[i] : sequences.start[i + 1]].tolist() for i in range(len(sequences.start) - 1)
    ]


@given(LISTS)
def test_equal_sequences_are_kept_once_in_the_order_of_their_first(lists: list[list[int]]) -> None:
    number, kept = merge_equal(lay(lists))
    assert read(kept) == [list(one) for one in dict.fromkeys(tuple(one) for one in lists)]
    assert [read(kept)[i] for i in number] == lists


@given(LISTS, st.data())
def test_taking_sequences_lays_them_end_to_end(lists: list[list[int]], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=10) if lists else st.just([]))
    position, items = lay(lists).take(np.array(wanted, np.int64))
    assert items.tolist() == [item for i in wanted for item in lists[i]]
    assert position.tolist() == [at for at, i in enumerate(wanted) for _ in lists[i]]


def test_long_runs_of_different_sequences() -> None:
    lists = [[i, i + 1] for i in range(5000)] * 2
    number, kept = merge_equal(lay(lists))
    assert len(kept.start) - 1 == 5000
    assert np.bincount(number).tolist() == [2] * 5000
