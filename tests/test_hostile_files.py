"""Files with a right checksum and a content that does not fit together."""

import copy

import numpy as np
import pytest
from edited_file import EditedFile, refused
from optional import Optional
from sklearn.model_selection import ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

from skrdae import (
    AnoGANDetector,
    ConvRobustAutoencoder,
    DenoisingDetector,
    LSTMRobustAutoencoder,
    LSTMVAEDetector,
    OmniAnomalyDetector,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    TransformerRobustAutoencoder,
    USADDetector,
    VAEDetector,
    WindowedDetector,
    load,
    save,
)
from skrdae.persistence.kinds import CLASSES, KINDS
from skrdae.tables import TableEncoder
from skrdae.thresholds import PeaksOverThreshold

pd = Optional("pandas")

SMALL = {"hidden_layer_sizes": (5, 3), "n_estimators": 2, "random_state": 0}
RDA = SMALL | {"max_iter": 2}
VAE = SMALL | {"n_epochs": 2}
GAN = VAE | {"n_encoder_epochs": 1, "discriminator_layer_sizes": (5, 4)}
CONV = {"image_shape": (2, 2), "channels": (3,), "code_size": 2, "scaler": "robust"}
CONV |= {"n_estimators": 2, "max_iter": 1, "random_state": 0}
LSTM = SMALL | {"max_iter": 1}
PEAKS = PeaksOverThreshold(0.05, level=0.7)
DETECTORS = {
    "rda": RobustDeepAutoencoder(**RDA),
    "columns": RobustDeepAutoencoder(penalty="l21_features", store_decomposition=True, **RDA),
    "votes": RobustDeepAutoencoder(contamination="auto", **RDA),
    "cv": RobustDeepAutoencoderCV([2.0, 4.0], cv=ShuffleSplit(2), **RDA),
    "pca": RobustPCA(),
    "peaks": RobustPCA(contamination=PEAKS),
    "peaks of windows": WindowedDetector(
        RobustPCA(contamination=PEAKS), window_size=5, channels="joint"
    ),
    "vae": VAEDetector(n_samples=2, **VAE),
    "bernoulli": VAEDetector(likelihood="bernoulli", **VAE),
    "gan": AnoGANDetector(**GAN),
    "pairs": AnoGANDetector(inference="bidirectional", warm_start=True, **GAN),
    "search": AnoGANDetector(inference="search", n_search_iter=2, **GAN),
    "conv": ConvRobustAutoencoder(**CONV),
    "lstm": LSTMRobustAutoencoder(**LSTM),
    "gru": LSTMRobustAutoencoder(cell="gru", n_channels=2, **LSTM),
    "lstm vae": LSTMVAEDetector(n_channels=2, **VAE),
    "warm lstm vae": LSTMVAEDetector(warm_start=True, **VAE),
    "omni anomaly": OmniAnomalyDetector(n_channels=2, **VAE),
    "usad": USADDetector(n_channels=2, **VAE),
    "transformer": TransformerRobustAutoencoder(
        n_estimators=2,
        width=8,
        n_heads=2,
        code_size=2,
        patch_size=3,
        max_iter=1,
        random_state=0,
    ),
    "windows": WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=5),
    "loudest": WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=5, channels="loudest"),
    "adapter": OutlierAdapter(RobustDeepAutoencoder(**RDA)),
    "scaled": make_pipeline(StandardScaler(), RobustScaler(), RobustPCA()),
    "warm": RobustDeepAutoencoder(warm_start=True, **RDA),
    "warm columns": RobustDeepAutoencoder(warm_start=True, penalty="l21_features", **RDA),
    "warm vae": VAEDetector(warm_start=True, **VAE),
    "warm gan": AnoGANDetector(warm_start=True, **GAN),
    "denoising": DenoisingDetector(warm_start=True, **VAE),
    "warm usad": USADDetector(warm_start=True, **VAE),
}
STREAMS = {
    "stream": RobustDeepAutoencoder(**RDA),
    "window stream": LSTMRobustAutoencoder(n_channels=2, **LSTM),
    "image stream": ConvRobustAutoencoder(**CONV),
    "vae stream": VAEDetector(**VAE),
    "usad stream": USADDetector(n_channels=2, **VAE),
    "denoising stream": DenoisingDetector(**VAE),
    "omni stream": OmniAnomalyDetector(n_channels=2, **VAE),
}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(60, 4))
    X[:4] += rng.normal(scale=5, size=(4, 4))
    return X


@pytest.fixture(scope="module")
def fitted(X):
    found = {name: copy.deepcopy(detector).fit(X) for name, detector in DETECTORS.items()}
    for name, detector in STREAMS.items():
        found[name] = copy.deepcopy(detector)
        for chunk in np.array_split(X, 2):
            found[name].partial_fit(chunk)
    table = pd.DataFrame(X, columns=list("abcd")).assign(kind=["open", "shut"] * 30)
    encoder = TableEncoder(categories="one-hot", missing="mean")
    found["table"] = make_pipeline(encoder, RobustPCA()).fit(table)
    return found


@pytest.fixture
def file_of(fitted, tmp_path):
    return lambda name: EditedFile(fitted[name], tmp_path / "file")


def test_a_file_that_is_only_written_again_is_read(fitted, file_of):
    for name in fitted:
        file = file_of(name)
        file.write()
        load(file.path)


# ------------------------------------------------------------------------------------- arrays

N = np.float32("nan")
#: kind, the array's place, what becomes of it
ARRAYS = [
    ("rda", "model_ network weight_1", lambda a: np.concatenate([a] * 500)),
    ("rda", "model_ network weight_3", lambda a: np.zeros((1 << 40, 0, 0), np.float32)),
    ("rda", "model_ network bias_3", lambda a: np.zeros((2, 1, 0), np.float32)),
    ("rda", "model_ network weight_0", lambda a: a[:, :2]),
    ("rda", "model_ network weight_0", lambda a: a.astype(np.float64)),
    ("rda", "model_ network weight_0", lambda a: a.astype(np.int64)),
    ("rda", "model_ network bias_0", lambda a: a[:, 0]),
    ("rda", "model_ network bias_0", lambda a: a * N),
    ("rda", "model_ network bias_0", lambda a: a * np.float32("inf")),
    ("rda", "model_ network weight_2", lambda a: a + np.float32(1e30)),
    ("rda", "model_ weights", lambda a: a[:1]),
    ("rda", "model_ weights", lambda a: 2 * a),
    ("rda", "model_ weights", lambda a: -a),
    ("rda", "model_ scorer lam", lambda a: -a),
    ("rda", "model_ scorer lam", lambda a: a[::-1].copy()),
    ("rda", "lam_", lambda a: a + 1),
    ("rda", "model_ scorer scale", lambda a: 0 * a),
    ("rda", "model_ scorer scale", lambda a: a[:, :, :1]),
    ("rda", "model_ scaler scale_", lambda a: 0 * a),
    ("rda", "model_ scaler scale_", lambda a: a[:1]),
    ("rda", "model_ scaler center_", lambda a: a * N),
    ("rda", "decision_scores_", lambda a: a[1:]),
    ("rda", "decision_scores_", lambda a: a * N),
    ("rda", "labels_", lambda a: 2 * a),
    ("rda", "labels_", lambda a: a.astype(float)),
    ("rda", "classes_", lambda a: a[::-1].copy()),
    ("votes", "labels_", lambda a: 0 * a - 1),
    ("peaks", "thresholder_ labels_", lambda a: a + 2),
    ("peaks", "thresholder_ labels_", lambda a: a.astype(float)),
    ("columns", "model_ scorer norms", lambda a: a[..., :1]),
    ("columns", "low_rank_", lambda a: a[:, :3]),
    ("cv", "lams_", lambda a: a[:1]),
    ("cv", "lams_", lambda a: a + 1),
    ("pca", "model_ network weight_0", lambda a: a[..., :1]),
    ("vae", "model_ network encoder weight_2", lambda a: a[..., :3]),
    ("vae", "model_ network decoder bias_2", lambda a: a[..., :3]),
    ("vae", "model_ scorer variance", lambda a: 0 * a),
    ("vae", "model_ scorer variance", lambda a: 2 * a),
    ("vae", "noise_variance_", lambda a: 2 * a),
    ("vae", "model_ scorer draws", lambda a: a[..., :1]),
    ("vae", "model_ scorer draws", lambda a: np.zeros((2, 20_000, 2), np.float32)),
    ("gan", "model_ network discriminator weight_1", lambda a: a[:, :, :2]),
    ("gan", "model_ network generator weight_0", lambda a: a[:, :1]),
    ("gan", "model_ network discriminator weight_0", lambda a: np.concatenate([a, a[:, :1]], 1)),
    ("pairs", "model_ network discriminator weight_0", lambda a: a[:, :4]),
    ("pairs", "model_ network discriminator weight_0", lambda a: a[:, :5]),
    ("pairs", "_kept state gan coder mean", lambda a: a[:-1]),
    ("gan", "model_ network encoder weight_2", lambda a: a[..., :1]),
    ("conv", "model_ network down/0/weight", lambda a: a[:, :2]),
    ("conv", "model_ network to_code/bias", lambda a: a * N),
    ("conv", "model_ scorer lam", lambda a: a[:1]),
    ("lstm", "model_ network layer_0", lambda a: a[:, :16]),
    ("lstm", "model_ network layer_1", lambda a: np.concatenate([a, a], 1)),
    ("gru", "model_ network readout_weight", lambda a: a[..., :1]),
    ("lstm vae", "model_ network layer_1", lambda a: a[:, :16]),
    ("lstm vae", "model_ network code_weight", lambda a: a[..., :2]),
    ("lstm vae", "model_ network value_bias", lambda a: a * N),
    ("warm lstm vae", "_kept state tensors 1", lambda a: a[:, :-1]),
    ("warm lstm vae", "_kept state adam mean", lambda a: a[:1]),
    ("omni anomaly", "model_ network before_weight", lambda a: a[..., :1]),
    ("omni anomaly", "model_ network flow_weight", lambda a: a[:, :1]),
    ("omni anomaly", "model_ network flow_bias", lambda a: a * N),
    ("usad", "model_ network first weight_1", lambda a: a[:, :2]),
    ("usad", "model_ network encoder weight_0", lambda a: a[..., :3]),
    ("usad", "errors_", lambda a: a[:1]),
    ("usad", "errors_", lambda a: 2 * a),
    ("usad", "errors_", lambda a: -a),
    ("usad", "errors_", lambda a: a.astype(float)),
    ("transformer", "model_ network position", lambda a: a[:, :1]),
    ("transformer", "model_ network encoder/0/to_heads/weight", lambda a: a[..., :4]),
    ("transformer", "model_ network read_out/bias", lambda a: a + np.float32(1e30)),
    ("windows", "decision_scores_", lambda a: a[1:]),
    ("windows", "window_scores_", lambda a: np.concatenate([a, a])),
    ("scaled", "steps 0 1 mean_", lambda a: a[:3]),
    ("scaled", "steps 0 1 scale_", lambda a: 0 * a),
    ("scaled", "steps 1 1 center_", lambda a: a * np.nan),
    ("table", "steps 0 1 fill_values_", lambda a: a[:2]),
    ("table", "steps 0 1 fill_values_", lambda a: np.where(np.arange(4) < 2, np.nan, a)),
    ("warm", "_kept seeds", lambda a: a[:1]),
    ("warm", "_kept state weights 1", lambda a: a[..., :1]),
    ("warm", "_kept state stack tensors 0", lambda a: a[:, 1:]),
    ("warm", "_kept state stack tensors 1", lambda a: a[:, 1:]),
    ("warm", "_kept state stack tensors 0", lambda a: a * N),
    ("warm", "_kept state stack adam mean", lambda a: a[:1]),
    ("warm", "_kept state stack members", lambda a: a[::-1].copy()),
    ("warm", "_kept state stack members", lambda a: a + 1),
    ("warm", "_kept state found 0", lambda a: a[:1]),
    ("warm columns", "_kept state norms 0", lambda a: a[..., :1]),
    ("warm columns", "_kept state found 1", lambda a: a[..., :1]),
    ("warm vae", "_kept state tensors 0", lambda a: a[:1]),
    ("warm vae", "_kept state adam square", lambda a: -a - 1),
    ("warm usad", "_kept state tensors 18", lambda a: a + 1),
    ("loudest", "detector_ typical", lambda a: a[:1]),
    ("warm usad", "_kept state second mean", lambda a: a[:1]),
    ("warm gan", "_kept state gan tensors 12", lambda a: a[..., :1]),
    ("warm gan", "_kept state gan critic mean", lambda a: a[:-1]),
    ("warm gan", "_kept state encoder adam mean", lambda a: a[:1]),
    ("stream", "_stream network weight_3", lambda a: a[..., :1]),
    ("stream", "_stream adam mean", lambda a: np.zeros(1, np.float32)),
    ("stream", "_stream adam square", lambda a: -a - 1),
    ("stream", "_stream extra", lambda a: a[:1]),
    ("stream", "_stream rows", lambda a: a[1:]),
    ("stream", "_stream rows", lambda a: a * np.nan),
    ("stream", "_stream generators 0", lambda a: a[:-1]),
    ("image stream", "_stream network down/0/weight", lambda a: a[:, :2]),
    ("image stream", "_stream network to_code/bias", lambda a: a * N),
    ("image stream", "_stream adam mean", lambda a: a[..., :-1]),
    ("window stream", "_stream network layer_0", lambda a: a[..., :-1]),
    ("window stream", "_stream extra", lambda a: a[:1]),
    ("usad stream", "_stream extra tensors 0", lambda a: a[..., :1]),
    ("usad stream", "_stream extra tensors 18", lambda a: a + 1),
    ("usad stream", "_stream extra first mean", lambda a: a[..., :-1]),
    ("usad stream", "errors_", lambda a: a[1:]),
    ("omni stream", "_stream extra tensors 0", lambda a: a * N),
    ("vae stream", "_stream extra adam mean", lambda a: a[:1]),
    ("vae stream", "_stream extra tensors 0", lambda a: a[..., :1]),
]


@pytest.mark.parametrize(("name", "place", "change"), ARRAYS)
def test_an_array_that_does_not_fit_is_named(name, place, change, file_of):
    file = file_of(name)
    names = [int(n) if n.isdigit() else n for n in place.split()]
    file.put(change(file.array(*names)), *names)
    file.write()
    refused(file, "does not describe a detector")


def test_weights_that_are_too_large_together(X, tmp_path):
    for activation in ("relu", "identity"):
        detector = RobustDeepAutoencoder(activation=activation, **RDA).fit(X)
        file = EditedFile(detector, tmp_path / "file")
        for layer in range(4):
            file.put(
                3e4 * file.array("model_", "network", f"weight_{layer}"),
                "model_",
                "network",
                f"weight_{layer}",
            )
        file.write()
        refused(file, "too large together")
    deep = {"hidden_layer_sizes": (300,) * 8, "activation": "relu", "lr": 0.01}
    save(RobustDeepAutoencoder(**RDA | deep | {"n_estimators": 1}).fit(X), tmp_path / "file")
    load(tmp_path / "file")


def test_sizes_that_agree_with_each_other_but_not_with_the_rest(file_of):
    file = file_of("rda")  # a decoder that does not mirror the encoder
    for name, shape in (("weight_2", (2, 3, 7)), ("bias_2", (2, 1, 7)), ("weight_3", (2, 7, 4))):
        file.put(np.zeros(shape, np.float32), "model_", "network", name)
    file.write()
    refused(file, r"model_\.network\.weight_2")
    file = file_of("rda")  # three members in the network, two elsewhere
    for layer in range(4):
        for name in (f"weight_{layer}", f"bias_{layer}"):
            array = file.array("model_", "network", name)
            file.put(np.concatenate([array, array[:1]]), "model_", "network", name)
    file.write()
    refused(file, r"model_\.scorer\.lam .*\(2,\), not one of float32 of shape \(3\)")
    file = file_of("vae stream")  # and in what chunks are trained on
    file.put({"is": "dict", "items": [["n_estimators", "3"]]}, "_stream", "settings")
    file.write()
    refused(file, "of 2 members")


def test_steps_and_channels_of_windows_are_not_exchanged(file_of):
    file = file_of("loudest")  # windows of 5 steps and 4 channels, not of 4 and 5
    inside = file.at("detector_")["state"]
    inside["n_steps"], inside["n_channels"] = inside["n_channels"], inside["n_steps"]
    for name, n_more in (("centers", 2), ("below", 2), ("above", 2), ("typical", 1)):
        array = file.array("detector_", name)
        file.put(np.r_[array, np.ones(n_more)], "detector_", name)
    file.write()
    refused(file, r"detector_\.n_steps")


# ------------------------------------------------------------------------------------ numbers

NAN, INF = {"is": "float", "value": "nan"}, {"is": "float", "value": "inf"}
NUMBERS = [
    ("rda", "n_features_in_", [0, -1, 5, 2**70, 4.0, True, "4", None, [4], {}, NAN]),
    ("rda", "threshold_", [NAN, "x", None, True, []]),
    ("rda", "model_ share", [-0.1, 1.1, NAN]),
    ("rda", "model_ by_vote", [0, None, "x"]),
    ("rda", "n_iter_", [0, 3, 10**12]),
    ("rda", "model_ network n_encoder_layers", [0, 1, 3, -2, 10**12, None]),
    ("rda", "model_ network activations 0", ["relu", "x", 3, None]),
    ("rda", "model_ scaler bound_", [0, -3, 4, NAN, INF]),
    ("rda", "model_ scorer bound", [0, 4, NAN, "3", None]),
    ("rda", "model_ scaler method", ["x", None, 3]),
    ("rda", "history_ 0 iteration", [0, 2, "1", None]),
    ("rda", "n_estimators", [0, -1, "x", 2.5]),
    ("rda", "hidden_layer_sizes", [[], [0], "x", 3, None]),
    ("rda", "lam", [-1, NAN, "x", None]),
    ("rda", "verbose", ["x", -1]),
    ("rda", "random_state", ["x", -1, 0.5]),
    ("pca", "rank_", [-1, 5, 0.5]),
    ("cv", "lam_", [3.0, NAN]),
    ("cv", "cv n_splits", [0, -1, 10**12, 2.0, None]),
    ("cv", "cv _default_test_size", [0.5, -1, "x"]),
    ("vae", "model_ scorer level", [0, -1, NAN, INF, 2**70]),
    ("vae", "model_ scorer beta", [-1, NAN, 1e30]),
    ("vae", "model_ scorer likelihood", ["bernoulli", "x", None]),
    ("vae", "model_ network latent_dim", [0, 1, 3, 10**12]),
    ("bernoulli", "model_ scorer likelihood", ["gaussian"]),
    ("search", "model_ scorer n_search_iter", [0, -1, 10**12, 0.5]),
    ("gan", "model_ scorer lam", [-0.1, 1.1, NAN]),
    ("pairs", "model_ scorer n_search_iter", [1]),
    ("pairs", "model_ network encoder", [None]),
    ("conv", "image_shape_", [[2, 2], None, "x", {"is": "tuple", "items": [4, 4]}]),
    ("conv", "image_shape_", [{"is": "tuple", "items": [1, 4]}, {"is": "tuple", "items": [4]}]),
    ("conv", "model_ scorer image_shape", [{"is": "tuple", "items": [1, 4]}, None, [2, 2]]),
    ("conv", "model_ scorer level", [0, -1, NAN, INF, "x", None]),
    ("conv", "model_ network code_size", [0, 3, 10**12, None]),
    ("conv", "channels", [[], [4], [10**9], "x"]),
    ("conv", "code_size", [0, 3, 10**9, None]),
    ("lstm", "model_ network n_channels", [0, 2, 4, -1]),
    ("lstm", "model_ network n_steps", [0, 5, 10**12]),
    ("lstm", "model_ network cell", ["gru", "x"]),
    ("lstm", "model_ network n_encoder_layers", [0, 1, 4]),
    ("lstm", "model_ network shapes 1 0", [0, 4, -1, 10**12]),
    ("lstm", "model_ network shapes", [[], [[1, 5]]]),
    ("lstm vae", "model_ network cell", ["gru", "x"]),
    ("lstm vae", "model_ network latent_dim", [0, 1, 3, 10**12]),
    ("lstm vae", "model_ network n_steps", [0, 4, 10**12]),
    ("lstm vae", "model_ network shapes 1 0", [0, 4, -1, 10**12]),
    ("lstm vae", "model_ scorer level", [0, -1, NAN]),
    ("omni anomaly", "model_ network n_flows", [0, 1, -1, 10**12]),
    ("omni anomaly", "model_ network cell", ["lstm", "x"]),
    ("usad", "model_ scorer alpha", [-0.1, 1.1, NAN, None]),
    ("usad", "model_ network latent_dim", [0, 1, 10**12]),
    ("usad", "model_ network n_channels", [0, 4, 10**12]),
    ("usad", "alpha", [-0.1, 2, "x"]),
    ("transformer", "n_channels", [0, 2, 3, 4, 10**12]),
    ("transformer", "patch_size", [0, 1, 5, 10**12, "auto", None]),
    ("transformer", "n_heads", [0, 3, 4, 10**12]),
    ("transformer", "n_layers", [0, 2, 10**12]),
    ("transformer", "width", [0, 12, 16, 10**12]),
    ("transformer", "code_size", [0, 3, 10**12]),
    ("transformer", "model_ network code_size", [0, 3, 10**12]),
    ("windows", "window_size_", [0, 4, 10**12, 5.0]),
    ("loudest", "detector_ n_steps", [4, 10]),
    ("windows", "_stride", [0, -1, 10**12, 2**70]),
    ("windows", "_aggregate", ["sum", None]),
    ("windows", "_spacing", [0, -1, NAN, "x"]),
    ("windows", "window_threshold_", [NAN, "x"]),
    ("peaks", "contamination risk", [0, 0.3, 1, -1, NAN, INF, "x", None, [0.05], True]),
    ("peaks", "contamination level", [0, 1, 0.96, NAN, None]),
    ("peaks", "thresholder_ risk", [0.3, None]),
    ("peaks", "thresholder_ thresh_", [NAN, INF, 1.0, -1e9, "x", None]),
    ("peaks", "thresholder_ initial_threshold_", [NAN, 1e99, None]),
    ("peaks", "thresholder_ shape_", [-1.1, NAN, INF, None]),
    ("peaks", "thresholder_ scale_", [-1, NAN, None]),
    ("peaks", "thresholder_", [None, 0.1, "x"]),
    ("peaks", "threshold_", [1e9]),
    ("peaks of windows", "window_threshold_", [1e9, None]),
    ("peaks of windows", "thresholder_ thresh_", [1e9]),
    ("peaks of windows", "detector_ thresholder_ thresh_", [1e9]),
    ("adapter", "n_features_in_", [3, 5]),
    ("adapter", "offset_", [NAN, None]),
    ("table", "steps 0 1 time_format_", ["x" * 300, "%Y %Y", 3]),
    ("table", "steps 0 1 _by_name", [False]),
    ("warm", "_kept state iteration", [1, 10**12, -1]),
    ("warm", "_kept state all_done", [1, None]),
    ("warm", "_kept state stack adam n_steps", [-1, 2**60, 0.5]),
    ("stream", "_stream n_seen", [0, 59, 10**12]),
    ("stream", "n_samples_seen_", [59]),
    ("usad stream", "_stream extra history", [[{}], "x", None]),
    ("usad stream", "_stream history", [[], [{}], None]),
    ("usad stream", "_stream extra", [None, {}, []]),
    ("omni stream", "_stream adam", [0, {}]),
]


@pytest.mark.parametrize(("name", "place", "values"), NUMBERS)
def test_a_number_that_cannot_be_isrefused(name, place, values, file_of):
    file = file_of(name)
    names = [int(n) if n.isdigit() else n for n in place.split()]
    for value in values:
        file.put(value, *names)
        file.write()
        refused(file)


# -------------------------------------------------------------------------------------- names


def test_no_attribute_is_missing_or_more_than_there_are(fitted, file_of):
    may_be_left_out = {"feature_names_in_", "_kept", "_index_kind"}
    for name in ("rda", "columns", "vae", "gan", "windows", "adapter", "stream", "warm", "peaks"):
        file = file_of(name)
        whole = copy.deepcopy(file.tree)
        later = KINDS[CLASSES[whole["class"]]].later  # which earlier versions did not write
        for key in {*whole["state"]} - may_be_left_out - {*later}:
            file.tree = copy.deepcopy(whole)
            del file.tree["state"][key]
            file.write()
            refused(file)
        for key in ("decision_function", "__class__", "__dict__", "fit", "_score", "x", "other_"):
            file.tree = copy.deepcopy(whole)
            file.tree["state"][key] = None
            file.write()
            refused(file, f"'{key}', which is not known")
    file = file_of("rda")
    for part, key in (("plain", "forward"), ("plain", "_parameters"), ("parameters", "weight_4")):
        changed = copy.deepcopy(file.tree)
        network = file.at("model_", "network")["state"]
        network[part][key] = network["parameters"]["weight_0"] if part == "parameters" else 1
        file.write()
        refused(file)
        file.tree = changed


def test_only_what_belongs_in_a_place_is_taken_there(file_of):
    file = file_of("stream")
    whole = file.tree
    stream, scaler, network = (
        file.at(*place) for place in (["_stream"], ["model_", "scaler"], ["model_", "network"])
    )
    for tree in (
        stream,
        scaler,
        network,
        file.at("model_", "scorer", "penalty"),
        file.at("model_"),
        [whole],
        "x",
        None,
    ):
        file.tree = tree
        file.write()
        refused(file, "does not describe a detector")
    for place, node in (
        (["model_"], stream),
        (["model_", "scaler"], network),
        (["model_", "network"], scaler),
        (["model_", "scorer"], stream),
        (["model_", "scorer", "penalty"], stream),
    ):
        file.tree = copy.deepcopy(whole)
        file.put(node, *place)
        file.write()
        refused(file)
    for cls in (
        "VAEDetector",
        "RobustPCA",
        "RobustDeepAutoencoderCV",
        "FittedModel",
        "ElboScorer",
        "KFold",
        "MemberMLP",
        "Stream",
        "Pipeline",
        "Popen",
    ):
        file.tree = {**whole, "class": cls}
        file.write()
        refused(file)


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_a_network_of_another_kind_is_refused(name, file_of):
    other = file_of("rda")
    file = file_of(name)
    for node in file.at("model_", "network")["state"]["parameters"].values():
        del file.arrays[node["key"]]
    network = other.at("model_", "network")
    for node in network["state"]["parameters"].values():
        file.arrays[f"other {node['key']}"] = other.arrays[node["key"]]
        node["key"] = f"other {node['key']}"
    file.put(network, "model_", "network")
    file.write()
    refused(file, r"model_\.network")


def test_weights_come_in_their_order(file_of):
    file = file_of("rda")
    network = file.at("model_", "network")["state"]
    network["parameters"] = dict(reversed(network["parameters"].items()))
    file.write()
    refused(file, "network has the weights")


def test_steps_of_a_pipeline_fit_each_other(file_of):
    file = file_of("table")
    encoder = file.at("steps", 0, 1)
    encoder["state"]["categories_"]["items"][0][1] = ["open"]  # and so a column less
    file.write()
    refused(file, "TableEncoder gives 5 columns, and the RobustPCA after it takes 6")
    for values in (["shut", "open"], ["open", "open"], ["open", 3], "open"):
        encoder["state"]["categories_"]["items"][0][1] = values
        file.write()
        refused(file)
    file = file_of("scaled")
    file.at("steps")[0]["items"][0] = "robustscaler"
    file.write()
    refused(file, "one of a name twice")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("rda", ["hidden_layer_sizes"]),
        ("rda", ["lam"]),
        ("rda", ["device"]),
        ("cv", ["lams"]),
        ("cv", ["cv"]),
        ("cv", ["cv", "test_size"]),
        ("table", ["steps", 0, 1, "ignore"]),
        ("windows", ["detector", "hidden_layer_sizes"]),
    ],
)
def test_no_parameter_is_an_axis_without_end(name, place, file_of):
    for shape in ((1 << 40, 0), (1 << 40, 0, 3)):
        file = file_of(name)
        file.arrays["endless"] = np.zeros(shape, np.int64)
        file.put({"is": "array", "key": "endless"}, *place)
        file.write()
        refused(file)
