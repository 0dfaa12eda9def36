import numpy as np
import pytest
import torch
from detector_contract import DetectorContract

from skrdae import TransformerRobustAutoencoder, load, save
from skrdae.networks.transformer import AttentionLayer, PatchTransformer

SMALL = {"width": 8, "n_heads": 2, "code_size": 4, "max_iter": 3}


class TestContract(DetectorContract):
    detector = TransformerRobustAutoencoder
    brief = {"max_iter": 2, "width": 8, "n_heads": 2, "code_size": 4, "batch_size": 128}
    variants = (
        {},
        {"penalty": "l1", "n_estimators": 2, "contamination": "auto", "n_heads": 1},
    )
    wrong = (
        ({"patch_size": 0}, "patch_size"),
        ({"patch_size": 1.5}, "patch_size"),
        ({"patch_size": "all"}, "patch_size"),
        ({"patch_size": 9}, "windows of 8 steps, shorter than a patch: patch_size is 9"),
        ({"n_channels": 2, "patch_size": 5}, "windows of 4 steps, shorter than a patch"),
        ({"n_channels": 3}, "n_channels=3 does not divide"),
        ({"width": 20, "n_heads": 4}, "width=20 is not a multiple of 4 · n_heads = 16"),
        ({"width": 0}, "width"),
        ({"n_heads": 0}, "n_heads"),
        ({"n_layers": 0}, "n_layers"),
        ({"code_size": 0}, "code_size"),
        ({"code_size": True}, "code_size"),
        ({"lam": -1}, "lam"),
        ({"max_iter": 0}, "max_iter"),
    )
    after_fit = (({}, {"n_channels": 2, "patch_size": 3, "width": 8, "n_heads": 1}),)


def _waves(n=200, n_steps=12, n_channels=2, seed=0):
    """Windows of sines of any phase, (n, T, c), and five of them out of order."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1, 1)) + 0.5 * np.arange(n_channels)
    X = np.sin(phase + np.arange(n_steps)[:, None] / 2)
    X += 0.05 * rng.normal(size=X.shape)
    for row in range(0, 5):
        X[row] = X[row, rng.permutation(n_steps)]
    return X


def _fit(X, **options):
    defaults = {"random_state": 0, "n_channels": 2} | SMALL
    return TransformerRobustAutoencoder(**defaults | options).fit(X)


def test_windows_out_of_order_are_found():
    X = _waves(400)
    detector = TransformerRobustAutoencoder(n_channels=2, contamination=5 / 400, random_state=0)
    assert set(np.flatnonzero(detector.fit(X).labels_)) == set(range(5))


def test_rows_and_arrays_are_the_same_windows():
    X = _waves()
    rows = X.reshape(200, 24)
    one, other = _fit(X), _fit(rows)
    assert np.array_equal(one.decision_scores_, other.decision_scores_)
    assert np.array_equal(one.decision_function(rows), one.decision_function(X.tolist()))
    assert np.array_equal(one.attention(rows), one.attention(X))
    assert one.transform(X).shape == (200, 4)
    assert one.inverse_transform(one.transform(X)).shape == (200, 24)
    X[50, 7, 1] += 6
    shares = one.explain(rows)
    assert shares.shape == X.shape
    assert np.unravel_index(one.explain(X)[50].argmax(), (12, 2)) == (7, 1)
    low_rank, sparse = one.decompose(X)
    assert low_rank.shape == sparse.shape == X.shape


@pytest.mark.parametrize(
    ("patch_size", "n_patches", "found"), [("auto", 12, 1), (5, 3, 5), (12, 1, 12)]
)
def test_patches_hold_all_channels_of_some_steps(patch_size, n_patches, found):
    X = _waves()
    detector = _fit(X, patch_size=patch_size)
    assert detector.patch_size_ == found
    assert detector.attention(X[:7]).shape == (7, 1, n_patches, n_patches)
    # Only what is in a patch gets into its token.
    (member,) = detector.network_.members()
    tokens = []
    member.encoder[0].register_forward_pre_hook(lambda layer, given: tokens.append(given[0]))
    rows = torch.zeros(1, 24, device=detector.device_)
    member.encode(rows)
    rows[0, 2 * 11 + 1] = 1.0  # the last step
    member.encode(rows)
    changed = (tokens[0] != tokens[1]).any(dim=2)[0]
    assert changed.nonzero().flatten().tolist() == [n_patches - 1]


def test_patches_are_longer_in_long_windows():
    X = _waves(60, n_steps=50, n_channels=1).reshape(60, 50)
    detector = _fit(X, n_channels=1, max_iter=1)
    assert detector.patch_size_ == 4
    assert detector.attention(X).shape == (60, 1, 13, 13)


def test_attention_is_what_the_forward_pass_used():
    X = _waves()
    detector = _fit(X, n_estimators=2, n_layers=2, patch_size=3)
    attention = detector.attention(X)
    assert attention.shape == (200, 2, 4, 4)
    np.testing.assert_allclose(attention.sum(axis=3), 1, rtol=1e-6)
    assert (attention >= 0).all()
    used = {}

    def keep(layer, _, returned):
        used.setdefault(layer, []).append(returned[1].mean(dim=1))

    rows = torch.from_numpy(detector.scaler_.transform(X.reshape(200, 24))).to(detector.device_)
    members = detector.network_.members()
    for member in members:
        for layer in member.encoder:
            layer.register_forward_hook(keep)
        member.encode(rows)
    for place in range(2):
        found = torch.stack([used[member.encoder[place]][0] for member in members]).mean(dim=0)
        np.testing.assert_allclose(attention[:, place], found.cpu().numpy(), atol=1e-6)
    # To the last bit, whatever else is asked about.
    assert np.array_equal(detector.attention(X[5:6]), attention[5:6])


def test_a_layer_attends_as_that_of_torch_does():
    generator = torch.Generator().manual_seed(0)
    layer = AttentionLayer(12, 3)
    tokens = torch.randn(4, 5, 12, generator=generator)
    right = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    right.in_proj_weight.data = layer.to_heads.weight.data
    right.in_proj_bias.data = layer.to_heads.bias.data
    right.out_proj.load_state_dict(layer.from_heads.state_dict())
    given = layer.norm(tokens)
    mixed, weights = right(given, given, given, average_attn_weights=False)
    found, found_weights = layer(tokens)
    torch.testing.assert_close(found_weights, weights)
    after = tokens + mixed
    torch.testing.assert_close(found, after + layer.dense(layer.dense_norm(after)))


def test_the_code_is_all_that_the_decoder_gets():
    network = PatchTransformer((6, 2), 2, code_size=3, width=8, n_heads=2, n_layers=1)
    code = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    jacobian = torch.func.jacrev(network.decode)(code[:1])[0, :, 0]
    assert jacobian.shape == (12, 3)
    assert (jacobian.abs().amax(dim=1) > 0).all()  # every reading depends on it


def test_the_first_member_of_an_ensemble_is_the_single_fit():
    X = _waves()
    # To the last bit on a CPU.
    options = {"lam": 2.0, "max_samples": 100, "max_iter": 3, "device": "cpu"}
    many, one = _fit(X, n_estimators=3, **options), _fit(X, **options)
    for a, b in zip(many.network_.parameters(), one.network_.parameters(), strict=True):
        assert torch.equal(a[:1], b)


def test_training_lowers_the_objective_and_a_smaller_lam_flags_more():
    X = _waves()
    history = _fit(X, lam=np.inf, max_iter=15).history_
    assert history[-1]["objective"] < 0.5 * history[0]["objective"]
    flagged = [_fit(X, lam=lam, contamination="auto").labels_.sum() for lam in (0.5, 2, 50)]
    assert flagged[0] > flagged[1] > flagged[2] == 0


def test_a_warm_start_gives_one_training(tmp_path):
    X = _waves()
    whole = _fit(X, max_iter=4, n_estimators=2)
    detector = _fit(X, max_iter=2, n_estimators=2, warm_start=True)
    save(detector, tmp_path / "file")
    for part in (detector, load(tmp_path / "file")):
        again = part.set_params(max_iter=4).fit(X)
        assert np.array_equal(again.decision_scores_, whole.decision_scores_)
    with pytest.raises(ValueError, match="training with n_heads=2, and here it is 1"):
        detector.set_params(n_heads=1).fit(X)


def test_a_file_holds_all_of_it(tmp_path):
    X = _waves()
    detector = _fit(X, contamination="auto", n_estimators=2, patch_size=5)
    save(detector, tmp_path / "file")
    again = load(tmp_path / "file")
    for method in ("decision_function", "predict", "transform", "explain", "attention"):
        assert np.array_equal(getattr(again, method)(X), getattr(detector, method)(X))
    assert again.patch_size_ == 5
    with pytest.raises(ValueError, match="set them back"):
        save(detector.set_params(n_heads=1), tmp_path / "other")


def test_windows_that_do_not_fit():
    X = _waves()
    with pytest.raises(ValueError, match=r"windows of 12 steps, shorter than a patch: patch_size"):
        _fit(X, patch_size=13)
    with pytest.raises(ValueError, match=r"windows of 12 steps"):
        _fit(X.reshape(200, 24), patch_size=13)
    detector = _fit(X, patch_size=6).set_params(patch_size=20)
    detector.predict(X)  # the patches are those of the fit
    with pytest.raises(ValueError, match="windows of 6 steps, but the detector is fitted to"):
        detector.attention(X[:, :6])
