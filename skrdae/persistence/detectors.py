"""The detectors of rows: what they share, and what each of them keeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from skrdae._schema import (
    Check,
    Sizes,
    anything,
    array,
    boolean,
    choice,
    each,
    either,
    history,
    mapping,
    misfit,
    nothing,
    number,
    optional,
    record,
    size,
    tensor,
    text,
    whole,
)
from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.lstm_robust_autoencoder import LSTMRobustAutoencoder
from skrdae.detectors.resuming import KEPT
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.detectors.robust_autoencoder_cv import RobustDeepAutoencoderCV
from skrdae.detectors.robust_pca import RobustPCA
from skrdae.detectors.streaming import _MEMORY, Stream
from skrdae.detectors.vae import VAEDetector
from skrdae.networks.variational import MemberVAE
from skrdae.penalties import PENALTIES
from skrdae.persistence.kinds import (
    KINDS,
    Kind,
    column_names,
    instance,
    of_data,
    of_type,
    parameters,
    simple,
)
from skrdae.persistence.networks import ADVERSARIAL, AUTOENCODER, RECURRENT, VARIATIONAL
from skrdae.persistence.splitters import SPLITTERS
from skrdae.preprocessing import SCALERS, ColumnScaler
from skrdae.training.history import (
    AdversarialRecord,
    EncoderRecord,
    IterationRecord,
    VariationalRecord,
)
from skrdae.training.schemas import adam, generators, shapes_of, state_of, variance

INTEGERS = (np.int32, np.int64)
# Steps of a search, and draws of codes, for each row that is scored.
_MOST_STEPS = _MOST_DRAWS = 10_000
# A normal number beyond that was not drawn.
_FARTHEST_DRAW = 100.0
# Levels and β that single precision has.
_LEAST_LEVEL, _LARGEST_LEVEL, _LARGEST_BETA = 1e-44, 1e37, 1e9

_PENALTIES = tuple(type(penalty) for penalty in PENALTIES.values())
_PENALTY = instance(*_PENALTIES)
for _class in _PENALTIES:
    KINDS[_class] = Kind({})


def _bounded(scaler: ColumnScaler, where: str, sizes: Sizes) -> None:
    # Data that are left as they are have the bound in multiples of the largest value, or of one.
    if scaler.bound_ < scaler.bound or (scaler.method and scaler.bound_ != scaler.bound):
        misfit(f"{where}.bound_", scaler.bound_, f"what bound={scaler.bound:g} gives")
    moves = scaler.center_.any() or (scaler.scale_ != 1).any() or scaler.constant_.any()
    if scaler.method is None and moves:
        raise ValueError(f"{where} leaves the data as they are, but its attributes do not")


KINDS[ColumnScaler] = Kind(
    {
        "method": choice(*SCALERS),
        "bound": number(1e-6, 1e15),
        "bound_": number(1e-6, 1e15),
        "center_": of_data(np.float64, "features"),
        "scale_": of_data(np.float64, "features", low=math.ulp(0.0)),
        "constant_": array(np.bool_, "features"),
    },
    whole=_bounded,
    later={"constant_": lambda found: np.zeros(len(found["scale_"]), bool)},
)


# ----------------------------------------------------------------------------- what all share


def close(value: float, wanted: float, where: str, wide: float = 0.0) -> None:
    """Raise unless a number is the one it should be, but for rounding of numbers up to `wide`."""
    if not abs(value - wanted) <= 1e-6 * max(abs(wanted), wide):
        misfit(where, value, f"{wanted:g}")


def check_spread(detector: Any, scores: Any, where: str) -> None:
    """Raise unless a detector's mean and deviation are those of its scores."""
    wide = float(np.abs(scores).max())
    close(detector._mu, float(scores.mean()), f"{where}._mu", wide)
    close(detector._sigma, float(scores.std()), f"{where}._sigma", wide)


def _judged(detector: Any, where: str, sizes: Sizes) -> None:
    scores = detector.decision_scores_
    check_spread(detector, scores, where)
    if math.isinf(detector.threshold_) and detector.labels_.any() and not detector._by_vote:
        raise ValueError(f"{where}.threshold_ is infinite, and labels_ flags rows")
    if detector._by_vote and type(detector)._member_votes is None:
        raise ValueError(f"{where}._by_vote is set, and its members have no votes")
    n_members = sizes["members"]
    close(float((1 / detector._weights).sum()), n_members**2, f"the sum of 1 / {where}._weights")
    kept = vars(detector).get("_kept")
    if kept is not None:
        _check_kept(detector, kept, f"{where}._kept", sizes)


def _check_kept(detector: Any, kept: Any, where: str, sizes: Sizes) -> None:
    """Check what a training with warm_start goes on from."""
    record(KEPT)(kept, where, sizes)
    array(np.int64, "members", low=0)(kept["seeds"], f"{where}.seeds", sizes)
    check = state_of(detector.network_, sizes["features"], getattr(detector, "_penalty", None))
    check(kept["state"], f"{where}.state", sizes)


LABELS = array(INTEGERS, "rows", low=0, high=1)


def classes(value: Any, where: str, sizes: Sizes) -> None:
    """Check that a value is the array of 0 and 1."""
    array(INTEGERS, 2)(value, where, sizes)
    if value.tolist() != [0, 1]:
        raise ValueError(f"{where} holds {value.tolist()}, not 0 and 1")


#: Of every detector, with labels of what it was fitted to.
LABELLED: dict[str, Check] = {
    "n_features_in_": size("features"),
    "_classes": choice(2),
    "classes_": classes,
    "labels_": LABELS,
    "threshold_": number(high=math.inf),
    "_mu": number(),
    "_sigma": number(0),
    "_share": number(0, 1),
}


def _fitted(network: Check, **checks: Check) -> dict[str, Check]:
    """Return checks of what a detector of rows has, once it is fitted."""
    return {
        **LABELLED,
        "device_": of_type(torch.device),
        "scaler_": instance(ColumnScaler),
        "network_": network,
        "_weights": array(np.float64, "members", low=math.ulp(0.0)),
        "decision_scores_": array(np.float64, "rows"),
        "_by_vote": boolean,
        **checks,
    }


NAMES = {"feature_names_in_": column_names("features")}


def _own(detector: Any) -> None:
    detector._check_parameters()


# ---------------------------------------------------------------------- robust decompositions


def _decomposition(network: Check, row: Any = IterationRecord, **checks: Check) -> dict[str, Check]:
    return _fitted(
        network,
        history_=history(row, "iterations"),
        n_iter_=size("iterations"),
        lam_=anything,  # see _decomposed
        _lam=tensor(torch.float32, "members", low=0, high=math.inf),
        _norms=optional(tensor(torch.float32, "members", 1, "features", low=0)),
        _penalty=_PENALTY,
        _residual_scale=optional(
            tensor(torch.float32, "members", 1, "features", low=1e-13, high=1e20)
        ),
        **checks,
    )


_MATRIX = of_data(np.float64, "rows", "features")
_STORED = {"low_rank_": _MATRIX, "sparse_": _MATRIX, **NAMES}


def _decomposed(detector: Any, where: str, sizes: Sizes) -> None:
    _judged(detector, where, sizes)
    if detector._penalty.across_rows != (detector._norms is not None):
        misfit(f"{where}._norms", detector._norms, f"what goes with {detector._penalty}")
    if ("low_rank_" in vars(detector)) != ("sparse_" in vars(detector)):
        raise ValueError(f"{where} has only one of low_rank_ and sparse_")


def _robust(detector: Any, where: str, sizes: Sizes) -> None:
    _decomposed(detector, where, sizes)
    lam, of_members = detector.lam_, detector._lam.cpu().numpy()
    if sizes["members"] > 1:
        array(np.float32, "members", low=0, high=math.inf)(lam, f"{where}.lam_", sizes)
    else:
        number(0, math.inf)(lam, f"{where}.lam_", sizes)
    if not np.array_equal(lam, of_members if sizes["members"] > 1 else of_members[0]):
        raise ValueError(f"{where}.lam_ is not the λ that rows are scored with")
    _check_stream(detector, where, sizes)


def _cross_validated(detector: Any, where: str, sizes: Sizes) -> None:
    _decomposed(detector, where, sizes)
    number(0, math.inf)(detector.lam_, f"{where}.lam_", sizes)
    if detector.lam_ != detector._chosen or detector.lam_ not in detector.lams_:
        raise ValueError(f"{where}.lam_ is none of the λ tried")


def _pca(detector: Any, where: str, sizes: Sizes) -> None:
    _decomposed(detector, where, sizes)
    number(0, math.inf)(detector.lam_, f"{where}.lam_", sizes)
    n_features = sizes["features"]
    whole(0, n_features)(detector.rank_, f"{where}.rank_", sizes)
    # Of as many directions as features one is left out, and of none there is one of zeros.
    wanted = max(1, min(detector.rank_, n_features - 1))
    if (sizes["members"], detector.network_.code_size) != (1, wanted):
        raise ValueError(f"{where}.network_ has not the {wanted} directions of rank_")


_COUNT, _MEASURE = whole(), number(-math.inf, math.inf, nan=True)
_PURSUIT = {
    "iteration": _COUNT,
    "objective": _MEASURE,
    "rank": _COUNT,
    "sparse_share": _MEASURE,
    "constraint": _MEASURE,
    "change": _MEASURE,
}
_ROBUST = {"penalty": either(_PENALTY, choice(*PENALTIES))}

KINDS[RobustDeepAutoencoder] = Kind(
    parameters(RobustDeepAutoencoder, **_ROBUST),
    _decomposition(AUTOENCODER),
    {**_STORED, "_kept": anything, "_stream": instance(Stream), "n_samples_seen_": whole(1)},
    _robust,
    _own,
)
KINDS[LSTMRobustAutoencoder] = Kind(
    parameters(LSTMRobustAutoencoder, **_ROBUST),
    _decomposition(RECURRENT),
    {**_STORED, "_kept": anything},
    _robust,
    _own,
)
KINDS[RobustDeepAutoencoderCV] = Kind(
    {
        **parameters(RobustDeepAutoencoderCV, cv=either(instance(*SPLITTERS), simple), **_ROBUST),
        # Of the class above it, and never anything else.
        "warm_start": choice(False),
        "checkpoint_path": nothing,
    },
    _decomposition(
        AUTOENCODER,
        lams_=array(np.float64, "λ", low=0, high=math.inf),
        scores_path_=array(np.float64, "λ", "folds", low=-math.inf, high=math.inf, nan=True),
        _chosen=number(0, math.inf),
    ),
    {**_STORED, "lam_max_": number(0, math.inf)},
    _cross_validated,
    _own,
)
KINDS[RobustPCA] = Kind(
    parameters(RobustPCA),
    _decomposition(AUTOENCODER, _PURSUIT, rank_=anything),
    _STORED,
    _pca,
    _own,
)


# ------------------------------------------------------------------------- generative models


# Once their members were trained on all rows.
_ALL_ROWS = {"max_samples": lambda found: 1.0}


def _variational(detector: Any, where: str, sizes: Sizes) -> None:
    _judged(detector, where, sizes)
    whole(0, _MOST_DRAWS)(sizes["draws"], f"{where}'s number of draws", sizes)
    noise = vars(detector).get("noise_variance_")
    if (noise is not None) != (detector._likelihood == "gaussian"):
        raise ValueError(f"{where}.noise_variance_ is there without a Gaussian, or missing with it")
    if noise is not None:
        found = detector._variance[:, 0].cpu().numpy().astype(np.float64) * detector._level**2
        if not np.allclose(noise, found, rtol=1e-5, atol=0):
            raise ValueError(f"{where}.noise_variance_ is not the one that rows are scored with")
    _check_stream(detector, where, sizes)


def _adversarial(detector: Any, where: str, sizes: Sizes) -> None:
    _judged(detector, where, sizes)
    if detector.network_.encoder is None and not detector._searches:
        raise ValueError(f"{where} has neither an encoder nor a search")


KINDS[VAEDetector] = Kind(
    parameters(VAEDetector),
    _fitted(
        VARIATIONAL,
        history_=history(VariationalRecord),
        _likelihood=choice("gaussian", "bernoulli"),
        _beta=number(0, _LARGEST_BETA),
        _level=number(_LEAST_LEVEL, _LARGEST_LEVEL),
        _variance=variance(),
        _draws=tensor(
            torch.float32,
            "members",
            "draws",
            "latent",
            low=-_FARTHEST_DRAW,
            high=_FARTHEST_DRAW,
            empty=True,
        ),
    ),
    {
        **NAMES,
        "noise_variance_": array(np.float64, "members", "features", low=0),
        "_kept": anything,
        "_stream": instance(Stream),
        "n_samples_seen_": whole(1),
    },
    _variational,
    _own,
    _ALL_ROWS,
)
KINDS[AnoGANDetector] = Kind(
    parameters(AnoGANDetector),
    _fitted(
        ADVERSARIAL,
        history_=history(AdversarialRecord),
        encoder_history_=history(EncoderRecord),
        _lam=number(0, 1),
        _level=number(_LEAST_LEVEL, _LARGEST_LEVEL),
        _n_search_iter=whole(1, _MOST_STEPS),
        _searches=boolean,
    ),
    {**NAMES, "_kept": anything},
    _adversarial,
    _own,
    _ALL_ROWS,
)


# ----------------------------------------------------------------------------------- streams

KINDS[Stream] = Kind(
    {
        "settings": mapping(text, text),
        "network": anything,  # see _check_stream
        "adam": anything,
        "extra": anything,
        "generators": generators(),
        "rows": of_data((np.float32, np.float64), "rows", "features"),
        "history": each(anything),
        "n_seen": whole(1),
        "random": of_type(np.random.RandomState),
    }
)


def _check_stream(detector: Any, where: str, sizes: Sizes) -> None:
    """Check what partial_fit goes on from."""
    stream = vars(detector).get("_stream")
    if (stream is None) != ("n_samples_seen_" not in vars(detector)):
        raise ValueError(f"{where} has only one of n_samples_seen_ and what chunks left")
    if stream is None:
        return
    network, where = detector.network_, f"{where}._stream"
    instance(type(network))(stream.network, f"{where}.network", sizes)
    if isinstance(network, MemberVAE):
        nothing(stream.adam, f"{where}.adam", sizes)
        state_of(network, sizes["features"])(stream.extra, f"{where}.extra", sizes)
        history(VariationalRecord)(stream.history, f"{where}.history", sizes)
    else:
        adam(shapes_of(network))(stream.adam, f"{where}.adam", sizes)
        lam = tensor(torch.float32, "members", low=0, high=math.inf)
        lam(stream.extra, f"{where}.extra", sizes)
        history(IterationRecord, "iterations")(stream.history, f"{where}.history", sizes)
    if stream.settings.get("n_estimators") != str(sizes["members"]):
        raise ValueError(f"{where}.settings are not of {sizes['members']} members")
    n_seen = stream.n_seen
    if n_seen != detector.n_samples_seen_ or len(stream.rows) != min(n_seen, _MEMORY):
        raise ValueError(f"{where} remembers {len(stream.rows)} of {n_seen} rows")
    if "_kept" in vars(detector):
        raise ValueError(f"{where} is there beside a training by fit")
