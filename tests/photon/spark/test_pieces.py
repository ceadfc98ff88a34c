"""Records in pieces are the records."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon.spark import pieces


@given(st.lists(st.integers(0, 500), max_size=6), st.integers(50, 700))
def test_records_come_back_whole_and_in_order(sizes: list[int], piece_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_BYTES", piece_bytes)
        records: list[tuple[int, Any]] = []
        for size in sizes:
            records += pieces.in_pieces(3, {"size": size, "values": np.arange(size, dtype=np.float64)})
            records.append((3, f"after {size}"))  # what was never taken apart
    assert all(len(record.data) <= piece_bytes for _, record in records if isinstance(record, pieces.Piece))
    found = list(pieces.whole(iter(records)))
    assert found[1::2] == [f"after {size}" for size in sizes]
    for record, size in zip(found[::2], sizes, strict=True):
        assert record["size"] == size
        assert np.array_equal(record["values"], np.arange(size))


def test_arrays_can_be_written_to_as_before() -> None:
    (record,) = pieces.whole(pieces.in_pieces(0, np.zeros(3 * pieces.PIECE_BYTES // 8)))
    record += 1.0
    assert record.sum() == len(record)
