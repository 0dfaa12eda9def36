import numpy as np
import pytest

from skrdae.networks.compiled import KINDS, dense

FUNCTIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def _layer(x, weight, bias, kind="identity"):
    out = np.full((len(weight), x.shape[1], weight.shape[2]), np.nan, np.float32)
    dense(x, weight, bias, KINDS[kind], out, x.shape[1])
    return out


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [True, False])
def test_a_layers_value(kind, shared):
    x, weight, bias = _normal(1 if shared else 3, 70, 9), _normal(3, 9, 21), _normal(3, 1, 21)
    found = _layer(x, weight, bias, kind)
    wide = [a.astype(np.float64) for a in (x, weight, bias)]
    np.testing.assert_allclose(
        found, FUNCTIONS[kind](wide[0] @ wide[1] + wide[2]), rtol=2e-5, atol=2e-6
    )


def test_tanh_is_exact_to_single_precision_everywhere():
    z = np.concatenate([np.linspace(-12, 12, 9999), np.geomspace(1e-30, 1, 999)])
    z = z.astype(np.float32)
    bias = np.zeros((1, 1, 1), np.float32)
    found = _layer(z[None, :, None], np.ones((1, 1, 1), np.float32), bias, "tanh")[0, :, 0]
    np.testing.assert_allclose(found, np.tanh(z.astype(np.float64)), rtol=5e-7)
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize("n_in", [1, 3, 20, 64, 130, 300])
@pytest.mark.parametrize("n_out", [1, 7, 20, 64, 100])
def test_a_row_is_the_same_anywhere_and_in_any_company(n_in, n_out):
    x, weight, bias = _normal(2, 150, n_in), _normal(2, n_in, n_out), _normal(2, 1, n_out)
    whole = _layer(x, weight, bias, "tanh")
    order = np.random.default_rng(1).permutation(150)
    assert np.array_equal(_layer(x[:, order], weight, bias, "tanh"), whole[:, order])
    for start, end in ((0, 1), (63, 64), (149, 150), (3, 9), (64, 131)):
        part = _layer(np.ascontiguousarray(x[:, start:end]), weight, bias, "tanh")
        assert np.array_equal(part, whole[:, start:end])
    one = _layer(x[1:], weight[1:], bias[1:], "tanh")
    assert np.array_equal(one[0], whole[1])
