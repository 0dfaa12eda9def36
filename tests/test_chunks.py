import pytest
import torch

from skrdae.chunks import CHUNK_ROWS, map_chunks


@pytest.mark.parametrize("n_rows", [1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 200])
def test_map_chunks_shows_one_shape_and_gives_every_row(n_rows):
    shapes = set()

    def function(rows, workspace):
        shapes.add(tuple(rows.shape))
        return torch.stack([rows, 2 * rows], out=place)  # the same place each time

    place = torch.empty(2, CHUNK_ROWS, 3)
    data = torch.randn(n_rows, 3)
    assert torch.equal(map_chunks(function, data), torch.stack([data, 2 * data]))
    assert shapes == {(CHUNK_ROWS, 3)}
    members = torch.randn(4, n_rows, 3)
    assert torch.equal(map_chunks(lambda rows, _: rows.sum(dim=-1), members), members.sum(dim=-1))


@pytest.mark.parametrize("n_rows", [1, 63, 64, 65, 257, 1500])
def test_chunks_side_by_side_give_the_same(n_rows):
    shapes = set()

    def function(rows, workspace):
        shapes.add(tuple(rows.shape))
        return torch.stack([rows, 2 * rows], out=workspace.take("here", 2, *rows.shape))

    data = torch.randn(n_rows, 3)
    threads = torch.get_num_threads()
    found = map_chunks(function, data, rows_independent=True)
    assert torch.equal(found, torch.stack([data, 2 * data]))
    assert all(rows % CHUNK_ROWS == 0 for rows, _ in shapes)
    assert torch.get_num_threads() == threads
