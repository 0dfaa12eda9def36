import numpy as np
import pytest
import torch

from skrdae.networks.products import member_matmul


@pytest.mark.parametrize("seed", range(3))
def test_a_slice_is_the_same_product_made_alone_and_a_row_the_same_anywhere(seed):
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(120):
        rows, inner, columns = (int(np.exp(rng.uniform(0, np.log(700)))) for _ in range(3))
        k = int(rng.integers(2, 9))
        a = torch.randn(k, rows, inner, generator=generator)
        b = torch.randn(k, inner, columns, generator=generator)
        for left, right in (
            (a, b),
            (a.mT.contiguous().mT, b),
            (a, b.mT.contiguous().mT),
        ):
            together = member_matmul(left, right)
            torch.testing.assert_close(together, torch.bmm(left, right), rtol=1e-4, atol=1e-3)
            for i in range(k):
                alone = member_matmul(left[i : i + 1], right[i : i + 1])
                assert torch.equal(together[i : i + 1], alone), (rows, inner, columns)
            order = torch.randperm(rows, generator=generator)
            moved = member_matmul(left[:, order], right)
            assert torch.equal(moved, together[:, order]), (rows, inner, columns)


@pytest.mark.parametrize("columns", [1, 4, 5, 30])
@pytest.mark.parametrize("inner", [3, 30, 300])
def test_out_and_expanded_operands_change_nothing(columns, inner):
    a, b = torch.randn(1, 20, inner).expand(3, -1, -1), torch.randn(3, columns, inner)
    for right in (b.mT, b.mT.contiguous()):
        expected, out = member_matmul(a.contiguous(), right), torch.empty(3, 20, columns)
        assert member_matmul(a, right, out=out) is out
        assert torch.equal(out, expected)
        assert torch.equal(member_matmul(a, right), expected)
        torch.testing.assert_close(expected, torch.bmm(a, right), rtol=1e-4, atol=1e-3)
