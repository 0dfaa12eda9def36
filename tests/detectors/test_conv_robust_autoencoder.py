import io

import numpy as np
import onnxruntime
import pytest
import torch
from detector_contract import DetectorContract

from skrdae import ConvRobustAutoencoder, load, save, to_onnx
from skrdae.networks.convolutional import ConvAutoencoder
from skrdae.plotting import DecompositionDisplay
from skrdae.scorers.residual import ResidualScorer

BRIEF = {"max_iter": 2, "n_estimators": 2, "channels": (3, 4), "code_size": 3, "random_state": 0}


class TestContract(DetectorContract):
    detector = ConvRobustAutoencoder
    # Tables have columns of different units.
    brief = {"max_iter": 2, "scaler": "robust", "score_function": "norm", "channels": (4,)}
    for_tables = {"score_function": "norm"}  # columns beside each other are no neighbours
    found = 5
    variants = (
        {},
        {"score_function": "smooth"},
        {
            "penalty": "l1",
            "n_estimators": 2,
            "contamination": "auto",
            "decoder_activation": "relu",
        },
    )
    wrong = (
        ({"image_shape": 8}, r"image_shape must be None, \(height"),
        ({"image_shape": "auto"}, r"image_shape must be None, \(height"),
        ({"image_shape": b"ab"}, r"image_shape must be None, \(height"),
        ({"image_shape": (8,)}, r"image_shape must be None, \(height"),
        ({"image_shape": (2, 2, 2, 1)}, r"image_shape must be None, \(height"),
        ({"image_shape": (2.0, 4)}, r"image_shape must be None, \(height"),
        ({"image_shape": (0, 8)}, r"image_shape must be None, \(height"),
        ({"image_shape": (3, 3)}, "image_shape=.* 9 values, but X has rows of 8"),
        ({"image_shape": (2, 4), "channels": (4, 4)}, "too small"),
        ({"channels": ()}, "channels"),
        ({"channels": 8}, "channels"),
        ({"code_size": 0}, "code_size"),
        ({"decoder_activation": "gelu"}, "decoder_activation"),
        ({"output_activation": None}, "output_activation"),
        ({"score_function": "log"}, "score_function"),
        ({"penalty": "l2"}, "penalty"),
        ({"max_iter": 0}, "max_iter"),
    )
    after_fit = (({}, {"image_shape": (2, 4), "code_size": 3, "score_function": "norm"}),)


@pytest.fixture(scope="module")
def bars():
    """Images of a bright bar from left to right, somewhere, and six of one from top to bottom."""
    rng = np.random.default_rng(0)
    places = rng.uniform(2, 6, size=(150, 1, 1))
    lines = np.exp(-((np.arange(9)[:, None] - places) ** 2) / 2)
    images = np.broadcast_to(lines, (150, 9, 12)).copy()
    columns = np.exp(-((np.arange(12) - rng.uniform(3, 9, size=(6, 1, 1))) ** 2) / 2)
    images[:6] = columns
    return 0.9 * images + 0.05 * rng.random(images.shape)


@pytest.fixture(scope="module")
def fitted(bars):
    return ConvRobustAutoencoder(**BRIEF).fit(bars)


def test_images_of_another_kind_are_found(bars):
    detector = ConvRobustAutoencoder(
        contamination=6 / 150, n_estimators=1, max_iter=10, lr=1e-2, random_state=0
    ).fit(bars)
    assert set(np.flatnonzero(detector.labels_)) == set(range(6))


def test_images_come_flat_or_in_shape(bars, fitted):
    flat = bars.reshape(150, -1)
    assert fitted.image_shape_ == (9, 12)
    other = ConvRobustAutoencoder(image_shape=(9, 12), **BRIEF).fit(flat)
    assert np.array_equal(other.decision_scores_, fitted.decision_scores_)
    for X in (flat, bars, bars[..., None], bars.tolist()):
        assert np.array_equal(fitted.decision_function(X), fitted.decision_scores_)
        low_rank, sparse = fitted.decompose(X)
        assert low_rank.shape == sparse.shape == np.shape(X)
        np.testing.assert_allclose(low_rank + sparse, X, atol=1e-6)
        shape = np.shape(X) if np.ndim(X) > 2 else (150, 9, 12)
        assert fitted.explain(X).shape == shape
    colours = np.stack([bars, bars / 2, bars / 3], axis=-1)
    detector = ConvRobustAutoencoder(**BRIEF).fit(colours)
    assert detector.image_shape_ == (9, 12, 3)
    assert detector.explain(colours).shape == detector.decompose(colours)[0].shape == colours.shape


@pytest.mark.parametrize(("n_features", "shape"), [(64, (8, 8)), (9, (1, 9)), (65, (1, 65))])
def test_the_shape_of_flat_rows(n_features, shape):
    X = np.random.default_rng(0).random((40, n_features))
    assert ConvRobustAutoencoder(**BRIEF).fit(X).image_shape_ == shape


@pytest.mark.parametrize("shape", [(4, 4), (5, 7, 2), (8, 9, 1), (13, 6, 3), (1, 10)])
@pytest.mark.parametrize("channels", [(2,), (2, 3)])
def test_every_size_comes_back(shape, channels):
    network = ConvAutoencoder(shape, channels, 5)
    rows = torch.rand(3, int(np.prod(shape)))
    assert network.decode(network.encode(rows)).shape == rows.shape


def test_rows_are_lines_of_pixels_of_channels():
    images = torch.rand(2, 6, 8, 3)
    network = ConvAutoencoder((6, 8, 3), (4,), 5)
    first = torch.relu(network.down[0](images.permute(0, 3, 1, 2)))
    code = network.to_code(first.flatten(1))
    torch.testing.assert_close(network.encode(images.reshape(2, -1)), code)
    made = network.up[0](network.from_code(code).reshape(2, 4, 3, 4)).permute(0, 2, 3, 1)
    torch.testing.assert_close(network.decode(code), made.reshape(2, -1))


def test_activations_of_the_decoder():
    rows, options = torch.rand(4, 72), {"image_shape": (8, 9), "channels": (2, 3), "code_size": 5}
    code = 3 * torch.randn(4, 5)

    def decoded(**activations):
        torch.manual_seed(0)
        network = ConvAutoencoder(**options, **activations)
        return network, network.decode(code)

    linear, plain = decoded()
    # The mean of codes is decoded to the mean of images by a linear decoder only.
    torch.testing.assert_close(linear.decode(code.mean(0)), plain.mean(0)[None])
    relu, made = decoded(decoder_activation="relu")
    assert not torch.allclose(relu.decode(code.mean(0)), made.mean(0)[None], atol=1e-3)
    first = torch.relu(relu.from_code(code)).reshape(4, 3, 2, 3)
    expected = relu.up[1](torch.relu(relu.up[0](first)))
    torch.testing.assert_close(made, expected.flatten(1))
    both, squashed = decoded(decoder_activation="relu", output_activation="sigmoid")
    torch.testing.assert_close(squashed, torch.sigmoid(made))
    torch.testing.assert_close(both.encode(rows), linear.encode(rows))


def test_an_output_that_cannot_reach_the_pixels_is_told(bars):
    with pytest.warns(UserWarning, match="output_activation='sigmoid'"):
        ConvRobustAutoencoder(output_activation="sigmoid", **BRIEF).fit(2 * bars)


def test_what_is_no_image_is_told(bars, fitted):
    def refused(match, X, **options):
        with pytest.raises(ValueError, match=match):
            ConvRobustAutoencoder(**BRIEF | options).fit(X)

    refused(
        "image_shape=.* has 100 values, but X has rows of 108",
        bars.reshape(150, -1)[:, :108],
        image_shape=(10, 10),
    )
    refused("too small for 4 convolutions.*16 × 16", bars, channels=(2, 2, 2, 2))
    refused(r"looks like channels first.*np\.moveaxis", np.zeros((9, 3, 12, 14)))
    refused(
        r"image_shape is \(9, 12, 3\).*channels first",
        np.zeros((9, 3, 9, 12)),
        image_shape=(9, 12, 3),
    )
    refused(
        r"image_shape is \(9, 12\).*channels first", np.zeros((9, 1, 9, 12)), image_shape=(9, 12)
    )
    refused("too small", np.random.default_rng(0).random((9, 16)), channels=(2, 2, 2))
    refused(
        r"image_shape is \(1, 9, 12\)\. image_shape has its channels last",
        bars,
        image_shape=(1, 9, 12),
    )
    refused(r"0 sample\(s\)", bars[:0])
    refused(r"0 feature\(s\)", bars[:, :0])
    refused("X has 5 axes", bars[None, None])
    refused(
        r"X has images of shape \(9, 12\), but image_shape is \(12, 9\)", bars, image_shape=(12, 9)
    )
    with pytest.raises(ValueError, match=r"fitted to \(9, 12\)"):
        fitted.predict(bars.transpose(0, 2, 1))
    with pytest.raises(ValueError, match="108 features"):
        fitted.predict(bars[:, :5].reshape(150, -1))
    # What looks odd, but is said to be right.
    odd = np.random.default_rng(0).random((20, 4, 8, 6))
    assert ConvRobustAutoencoder(image_shape=(4, 8, 6), **BRIEF).fit(odd).image_shape_ == (4, 8, 6)


def test_masked_images_are_refused(bars):
    masked = np.ma.masked_array(bars, mask=bars > 0.8)
    with pytest.raises(ValueError, match="masked"):
        ConvRobustAutoencoder(**BRIEF).fit(masked)


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-3])
def test_black_images_do_not_decide_what_is_anomalous(bars, level):
    """Of an image of zeros, or nearly so, no large share is left."""
    images = np.concatenate([bars, level * bars[:50]])
    detector = ConvRobustAutoencoder(**BRIEF | {"n_estimators": 1}).fit(images)
    assert 0 < detector.lam_ < 10
    S = detector.decompose(images)[1]
    moved = (S != 0).any(axis=(1, 2))
    assert moved[:150].any()
    assert not moved[150:].any()


def test_scores_where_most_images_are_black(bars):
    def scores(level):
        images = np.concatenate([bars, level * bars, level * bars])
        return ConvRobustAutoencoder(**BRIEF).fit(images).decision_scores_

    black = scores(0.0)
    assert np.median(black[:150]) > 0.1 * np.median(black)
    np.testing.assert_allclose(scores(1e-30), black, rtol=1e-3)


def test_explain_gives_the_shape_that_came(bars, fitted):
    assert fitted.explain(bars[..., None]).shape == (150, 9, 12, 1)
    assert fitted.explain(bars.reshape(150, -1)).shape == (150, 9, 12)


def test_blurred_scores_do_not_depend_on_the_company(bars, fitted):
    expected = fitted.decision_scores_
    assert np.array_equal(fitted.decision_function(bars[::-1]), expected[::-1])
    for i in (0, 7, 149):
        assert fitted.decision_function(bars[i : i + 1]) == expected[i]


def test_a_long_line_is_scored_without_blurring(bars):
    rows = np.concatenate([bars.reshape(150, -1)] * 3, axis=1)[:, :323]
    detector = ConvRobustAutoencoder(**BRIEF).fit(rows)
    assert detector.image_shape_ == (1, 323)
    assert type(detector.model_.scorer) is ResidualScorer


def test_an_image_that_cannot_be_explained_leaves_the_training(bars):
    options = BRIEF | {"n_estimators": 1, "contamination": 0.05, "max_iter": 10, "lr": 1e-2}
    detector = ConvRobustAutoencoder(**options).fit(bars)
    sparse = detector.decompose(bars)[1]
    moved = sparse.reshape(150, -1).any(axis=1)
    assert detector.history_[-1]["sparse_share"] > 0
    assert moved[:6].all()
    assert moved.mean() < 0.4
    # All of what is left of it, and nothing of the others.
    kept = ConvRobustAutoencoder(**options | {"penalty": "l21"}).fit(bars).decompose(bars)[1]
    assert np.abs(sparse[:6]).sum() > np.abs(kept[:6]).sum()


@pytest.mark.parametrize("penalty", ["l20", "l21", "l1", "l21_features"])
def test_penalties_and_votes_are_saved_and_exported(bars, penalty, tmp_path):
    activations = {"decoder_activation": "relu", "output_activation": "sigmoid"}
    detector = ConvRobustAutoencoder(
        penalty=penalty,
        contamination="auto",
        score_function="smooth",
        **BRIEF | (activations if penalty == "l1" else {}),
    ).fit(bars)
    save(detector, tmp_path / "file")
    again = load(tmp_path / "file")
    assert again.image_shape_ == (9, 12)
    assert np.array_equal(again.decision_function(bars), detector.decision_scores_)
    assert np.array_equal(again.decompose(bars)[1], detector.decompose(bars)[1])
    to_onnx(detector, tmp_path / "file.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "file.onnx")
    rows = bars.reshape(150, -1).astype(np.float32)
    rows[::10] *= np.logspace(-40, -1, 15, dtype=np.float32)[:, None]  # nearly black
    for n in (1, 150):
        scores, labels = session.run(None, {"X": rows[:n]})
        np.testing.assert_allclose(scores, detector.decision_function(rows[:n]), rtol=1e-5)
        # The norm of one row of each member is its λ, and may come out a little above it.
        assert (labels != detector.predict(rows[:n])).sum() <= 2


def test_scores_of_colour_images_are_exported(bars, tmp_path):
    colours = np.stack([bars, bars**2], axis=-1)
    detector = ConvRobustAutoencoder(**BRIEF).fit(colours)
    to_onnx(detector, tmp_path / "file.onnx")
    rows = colours.reshape(150, -1).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "file.onnx")
    scores, _ = session.run(None, {"X": rows})
    np.testing.assert_allclose(scores, detector.decision_function(rows), rtol=1e-5)


def test_a_member_is_the_same_fitted_alone(bars):
    options = BRIEF | {"lam": 0.5, "device": "cpu"}
    many = ConvRobustAutoencoder(**options | {"n_estimators": 3}).fit(bars)
    one = ConvRobustAutoencoder(**options | {"n_estimators": 1}).fit(bars)
    for mine, theirs in zip(many.network_.parameters(), one.network_.parameters(), strict=True):
        assert torch.equal(mine[:1], theirs)


def test_a_training_goes_on(bars, tmp_path):
    whole = ConvRobustAutoencoder(**BRIEF | {"max_iter": 4}).fit(bars)
    detector = ConvRobustAutoencoder(warm_start=True, **BRIEF).fit(bars)
    save(detector, tmp_path / "file")
    for begun in (detector, load(tmp_path / "file")):
        begun.set_params(max_iter=4).fit(bars)
        assert np.array_equal(begun.decision_scores_, whole.decision_scores_)
    detector = ConvRobustAutoencoder(warm_start=True, **BRIEF).fit(bars)
    with pytest.raises(ValueError, match="image_shape"):
        detector.set_params(max_iter=4).fit(bars.reshape(150, 12, 9))


@pytest.mark.parametrize("channels", [None, 2, 3])
def test_images_are_drawn_without_being_told_their_shape(bars, channels):
    images = bars if channels is None else np.stack([bars] * channels, axis=-1)
    detector = ConvRobustAutoencoder(**BRIEF).fit(images)
    for X in (images[:5], images[:5].reshape(5, -1)):
        display = DecompositionDisplay.from_estimator(detector, X, n_columns=3)
        drawn = [np.ma.filled(ax.images[0].get_array(), np.nan) for ax in display.ax_]
        size = (2 * 10 - 1, 3 * 13 - 1)
        assert drawn[0].shape == ((*size, 3) if channels == 3 else size)
        assert drawn[2].shape == size
        first = drawn[0][:9, :12]
        low, high = images[:5].min(), images[:5].max()
        if channels == 3:
            assert ((first >= 0) & (first <= 1)).all()
            assert np.corrcoef(first[..., 0].ravel(), images[0, ..., 0].ravel())[0, 1] > 0.999
        else:
            np.testing.assert_allclose(first, bars[0], atol=1e-6)
            assert low <= np.nanmin(first)
            assert np.nanmax(first) <= high


def test_pixels_up_to_255_are_told(bars):
    with pytest.warns(UserWarning, match="divide X by its largest value"):
        ConvRobustAutoencoder(**BRIEF).fit(255 * bars)


def test_a_pickle_holds_no_file(fitted, bars):
    import pickle

    again = pickle.load(io.BytesIO(pickle.dumps(fitted)))
    assert np.array_equal(again.decision_function(bars), fitted.decision_scores_)
