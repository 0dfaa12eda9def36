import numpy as np
import torch
from detector_contract import DetectorContract

from skrdae import DenoisingDetector


class TestContract(DetectorContract):
    detector = DenoisingDetector
    brief = {"n_epochs": 10, "hidden_layer_sizes": (16, 16), "n_estimators": 2, "batch_size": 64}
    for_tables = {"n_epochs": 5, "n_estimators": 2}  # long trainings learn what is planted
    variants = (
        {},
        {"n_estimators": 1, "noise_levels": [0.2], "scaler": "robust"},
    )
    wrong = (
        ({"noise_levels": ()}, "noise_levels"),
        ({"noise_levels": 0.3}, "noise_levels"),
        ({"noise_levels": "0.3"}, "noise_levels"),
        ({"noise_levels": (0.1, "0.3")}, "noise_levels"),
        ({"noise_levels": (True,)}, "noise_levels"),
        ({"noise_levels": [(1, 2), 3]}, "noise_levels"),
        ({"batch_size": 2}, "batch_size"),
        ({"noise_levels": (0.1, -0.3)}, "noise_levels"),
        ({"noise_levels": (0.1, np.nan)}, "noise_levels"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"max_samples": 0}, "max_samples"),
    )
    after_fit = (({}, {"noise_levels": (0.2, 0.5)}),)


def test_of_normal_rows_it_learns_the_gradient_of_the_log_density():
    """Of N(0, 1) with noise of size σ the gradient is −x / (1 + σ²) (Tweedie's formula)."""
    X = np.random.default_rng(0).normal(size=(2000, 2))
    options = {"hidden_layer_sizes": (32, 32), "lr": 5e-3, "random_state": 0}
    detector = DenoisingDetector(noise_levels=(0.5, 1.0), **options).fit(X)
    rows = torch.tensor([[1.0, -1.0], [0.0, 1.5]])
    for sigma in (0.5, 1.0):
        made = detector.network_.denoise(rows[None], torch.tensor([[sigma]]))[0]
        np.testing.assert_allclose((made - rows) / sigma**2, -rows / (1 + sigma**2), atol=0.15)


def test_rows_in_a_gap_are_anomalous_and_a_rare_regime_is_not():
    """Bursts in all sensors at once are normal, if rare, and those in single ones are not."""
    rng = np.random.default_rng(0)

    def rows(n):
        X, burst = 0.3 * rng.normal(size=(n, 4)), rng.random(n) < 0.05
        X[burst] += rng.uniform(4, 8, size=(burst.sum(), 1))
        return X, burst

    new, burst = rows(1000)
    single = 0.3 * rng.normal(size=(100, 4))
    single[np.arange(100), rng.integers(4, size=100)] += rng.uniform(4, 8, size=100)
    options = {"hidden_layer_sizes": (64, 64), "n_epochs": 40, "random_state": 0}
    detector = DenoisingDetector(contamination=0.01, **options).fit(rows(1500)[0])
    assert detector.predict(single).mean() >= 0.9
    assert detector.predict(new[burst]).mean() <= 0.1
    assert detector.predict(new[~burst]).mean() <= 0.05
    shares = detector.explain(single)
    assert (shares.argmax(axis=1) == single.argmax(axis=1)).mean() > 0.9


def test_the_networks_have_the_averages_of_their_weights():
    """After t steps a_t = a_{t-1} + 9 (w_t - a_{t-1}) / (t + 9), from the initial weights on."""
    X = np.random.default_rng(0).normal(size=(64, 3))
    options = {"hidden_layer_sizes": (5,), "batch_size": 64, "random_state": 0, "lr": 0.01}
    fits = [DenoisingDetector(n_epochs=t, warm_start=True, **options).fit(X) for t in (1, 2)]
    kept = [fit._kept["state"]["tensors"] for fit in fits]
    averages, weights = ([tensors[n] for tensors in kept] for n in (len(kept[0]) // 2, 0))
    torch.testing.assert_close(averages[1], averages[0] + 9 / 11 * (weights[1] - averages[0]))
    assert torch.equal(fits[1].network_.weights[0], averages[1])


def test_denoised_rows_are_nearer_to_the_plane(plane):
    detector = DenoisingDetector(n_epochs=20, random_state=0).fit(plane[6:])
    rng = np.random.default_rng(1)
    noisy = plane[6:] + 0.3 * rng.normal(size=plane[6:].shape)
    made = detector.inverse_transform(detector.transform(noisy))
    off = np.linalg.svd(plane[6:])[2][2:]  # the directions off the plane
    assert np.linalg.norm(made @ off.T) < 0.7 * np.linalg.norm(noisy @ off.T)
