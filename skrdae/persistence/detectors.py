"""The detectors of rows: what their base classes keep, and what each of them adds."""

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
    each,
    either,
    history,
    mapping,
    misfit,
    nothing,
    number,
    size,
    text,
    whole,
)
from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.conv_robust_autoencoder import ConvRobustAutoencoder
from skrdae.detectors.decomposition import BaseDecomposition
from skrdae.detectors.denoising import DenoisingDetector
from skrdae.detectors.epochs import EpochsDetector
from skrdae.detectors.generative import GenerativeDetector
from skrdae.detectors.lam import multiple_of_median
from skrdae.detectors.lstm_robust_autoencoder import LSTMRobustAutoencoder
from skrdae.detectors.lstm_vae import LSTMVAEDetector
from skrdae.detectors.omni_anomaly import OmniAnomalyDetector
from skrdae.detectors.recurrent_vae import RecurrentVAEDetector
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.detectors.robust_autoencoder_cv import RobustDeepAutoencoderCV
from skrdae.detectors.robust_pca import RobustPCA
from skrdae.detectors.sequences import SequenceDetector
from skrdae.detectors.streaming import Stream
from skrdae.detectors.transformer_robust_autoencoder import TransformerRobustAutoencoder
from skrdae.detectors.usad import USADDetector
from skrdae.detectors.vae import VAEDetector
from skrdae.history import (
    AdversarialRecord,
    DenoisingRecord,
    EncoderRecord,
    IterationRecord,
    SequenceRecord,
    TwoDecodersRecord,
    VariationalRecord,
)
from skrdae.model import FittedModel
from skrdae.networks.denoiser import MemberDenoiser
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.networks.sequential import MemberLSTMVAE, MemberOmniAnomaly
from skrdae.networks.stacked import StackedModule
from skrdae.persistence.continued import RESUMED, STREAMED, check_kept, check_stream
from skrdae.persistence.kinds import (
    CLASSES,
    KINDS,
    Kind,
    column_names,
    instance,
    is_detector,
    of_data,
    of_type,
    parameters,
    simple,
)
from skrdae.persistence.labels import LABELLED, THRESHOLDER, check_thresholder
from skrdae.persistence.models import LAM, image_shape
from skrdae.persistence.splitters import SPLITTERS
from skrdae.persistence.templates import settle
from skrdae.registry import DETECTORS
from skrdae.scorers.base import Scorer
from skrdae.scorers.denoising import DenoisingScorer
from skrdae.scorers.generative import ElboScorer
from skrdae.scorers.likelihood import LikelihoodScorer
from skrdae.scorers.mismatch import MismatchScorer
from skrdae.scorers.residual import ResidualScorer
from skrdae.scorers.smoothed import SmoothedScorer
from skrdae.scorers.two_decoders import TwoDecodersScorer
from skrdae.training.schemas import (
    adam,
    alternating_state,
    shapes_of,
)

NAMES = {"feature_names_in_": column_names("features")}


#: Scorers that only one detector has, beside that of its base class.
_OWN_SCORERS: dict[type, tuple[type[Scorer], ...]] = {ConvRobustAutoencoder: (SmoothedScorer,)}


def _of(scorer: type[Scorer], network: type | None = None, more: Check = anything) -> Check:
    """Return a check of a detector's scorer and network, and another one after it."""

    def check(detector: Any, where: str, sizes: Sizes) -> None:
        model = detector.model_
        for name, found, cls in (
            ("scorer", model.scorer, scorer),
            ("network", model.network, network),
        ):
            # The subclass of a scorer is one detector's own, and checked there.
            own = _OWN_SCORERS.get(type(detector), ()) if name == "scorer" else ()
            if cls is not None and type(found) not in (cls, *own):
                misfit(f"{where}.model_.{name}", found, f"a {cls.__name__}")
        more(detector, where, sizes)

    return check


def _judged(detector: Any, where: str, sizes: Sizes) -> None:
    by_vote = detector.model_.by_vote
    if math.isinf(detector.threshold_) and detector.labels_.any() and not by_vote:
        raise ValueError(f"{where}.threshold_ is infinite, and labels_ flags rows")
    check_thresholder(detector, None if by_vote else detector.threshold_, where)


def _settled(detector: Any, where: str) -> None:
    """Give a stacked module its template."""
    network, where = detector.model_.network, f"{where}.model_.network"
    if isinstance(network, StackedModule):
        if not hasattr(detector, "_new_module"):
            misfit(where, network, f"what a {type(detector).__name__} has")
        settle(detector, network, where)


# ---------------------------------------------------------------------- robust decompositions


def _decomposed(detector: Any, where: str, sizes: Sizes) -> None:
    if ("low_rank_" in vars(detector)) != ("sparse_" in vars(detector)):
        raise ValueError(f"{where} has only one of low_rank_ and sparse_")
    several = isinstance(detector.lam_, np.ndarray) and sizes["members"] > 1
    check = array(np.float32, "members", low=0, high=math.inf) if several else number(0, math.inf)
    check(detector.lam_, f"{where}.lam_", sizes)


def _lam_of_scorer(detector: Any, where: str, sizes: Sizes) -> None:
    lam = detector.model_.scorer.lam.cpu().numpy()
    if not np.array_equal(detector.lam_, lam if sizes["members"] > 1 else lam[0]):
        raise ValueError(f"{where}.lam_ is not the λ that rows are scored with")


def _robust(detector: Any, where: str, sizes: Sizes) -> None:
    scorer, network = detector.model_.scorer, detector.model_.network
    _lam_of_scorer(detector, where, sizes)
    state = alternating_state(network, sizes["features"], scorer.penalty)
    check_kept(detector, state, where, sizes)

    def check(stream: Stream, where: str, sizes: Sizes) -> None:
        adam(shapes_of(network))(stream.adam, f"{where}.adam", sizes)
        LAM(stream.extra, f"{where}.extra", sizes)
        history(IterationRecord, "iterations")(stream.history, f"{where}.history", sizes)

    check_stream(detector, check, where, sizes)


def _images(detector: Any, where: str, sizes: Sizes) -> None:
    scorer = detector.model_.scorer
    if isinstance(scorer, SmoothedScorer) and scorer.image_shape != detector.image_shape_:
        misfit(f"{where}.model_.scorer.image_shape", scorer.image_shape, "that of the detector")


def _cross_validated(detector: Any, where: str, sizes: Sizes) -> None:
    best = detector.best_lam_
    multiple = multiple_of_median(best)
    if (best if multiple is None else multiple) not in detector.lams_:
        raise ValueError(f"{where}.best_lam_ is none of the λ tried")
    if multiple is None:
        used = detector.model_.scorer.lam.cpu().numpy()
        if detector.lam_ != best or (used != np.float32(best)).any():
            raise ValueError(f"{where}.lam_ is not best_lam_, or not what rows are scored with")
    else:
        _lam_of_scorer(detector, where, sizes)


def _pca(detector: Any, where: str, sizes: Sizes) -> None:
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
_MATRIX = of_data(np.float64, "rows", "features")


# ---------------------------------------------------------------------- trained by epochs


def _epochs(detector: Any, where: str, sizes: Sizes) -> None:
    check_kept(detector, detector._state_check(detector.network_), where, sizes)


# ------------------------------------------------------------------------- generative models


# Once their members were trained on all rows.
_ALL_ROWS = {"max_samples": lambda found: 1.0}


def _variational(detector: Any, where: str, sizes: Sizes) -> None:
    scorer, noise = detector.model_.scorer, vars(detector).get("noise_variance_")
    if (noise is not None) != (scorer.likelihood == "gaussian"):
        raise ValueError(f"{where}.noise_variance_ is there without a Gaussian, or missing with it")
    if noise is not None:
        found = scorer.variance[:, 0].cpu().numpy().astype(np.float64) * scorer.level**2
        if not np.allclose(noise, found, rtol=1e-5, atol=0):
            raise ValueError(f"{where}.noise_variance_ is not the one that rows are scored with")

    def check(stream: Stream, where: str, sizes: Sizes) -> None:
        nothing(stream.adam, f"{where}.adam", sizes)
        detector._state_check(detector.network_)(stream.extra, f"{where}.extra", sizes)
        history(VariationalRecord)(stream.history, f"{where}.history", sizes)

    check_stream(detector, check, where, sizes)


def _by_chunks(detector: Any, where: str, sizes: Sizes) -> None:
    def check(stream: Stream, where: str, sizes: Sizes) -> None:
        nothing(stream.adam, f"{where}.adam", sizes)
        of_type(dict)(stream.extra, f"{where}.extra", sizes)
        each(nothing)(stream.extra.get("history"), f"{where}.extra.history", sizes)
        state = stream.extra | {"history": stream.history}
        detector._state_check(detector.network_)(state, f"{where}.extra", sizes)

    check_stream(detector, check, where, sizes)


# -------------------------------------------------------------------------- models of windows


def _two_decoders(detector: Any, where: str, sizes: Sizes) -> None:
    scores = detector.model_.scorer.combined(torch.from_numpy(detector.errors_))
    found = detector.model_.weighted(scores.numpy().astype(np.float64))
    if not np.allclose(found, detector.decision_scores_, rtol=1e-5, atol=0):
        raise ValueError(f"{where}.errors_ are not those that decision_scores_ were made of")


# ------------------------------------------------------------------------------------- kinds

# Once codes were never sparse.
_NOT_SPARSE = {"sparsity": lambda found: 0.0}
#: class → what it adds to the kind of every class that derives from it
_PARTS = {
    BaseTorchDetector: Kind(
        fitted={
            **LABELLED,
            "model_": instance(FittedModel),
            "decision_scores_": array(np.float64, "rows"),
        },
        extra={**NAMES, **THRESHOLDER, "history_": each(mapping(text, _MEASURE))},
        whole=_judged,
    ),
    BaseDecomposition: Kind(
        fitted={
            "history_": history(IterationRecord, "iterations"),
            "n_iter_": size("iterations"),
            "lam_": anything,  # see _decomposed
        },
        extra={"low_rank_": _MATRIX, "sparse_": _MATRIX},
        whole=_of(ResidualScorer, more=_decomposed),
    ),
    BaseRobustAutoencoder: Kind(extra=RESUMED | STREAMED, whole=_robust),
    RobustDeepAutoencoder: Kind(whole=_of(ResidualScorer, MemberAutoencoder), later=_NOT_SPARSE),
    ConvRobustAutoencoder: Kind(
        fitted={"image_shape_": image_shape},
        whole=_of(ResidualScorer, StackedModule, _images),
    ),
    LSTMRobustAutoencoder: Kind(whole=_of(ResidualScorer, MemberRecurrentAutoencoder)),
    TransformerRobustAutoencoder: Kind(whole=_of(ResidualScorer, StackedModule)),
    RobustDeepAutoencoderCV: Kind(
        fitted={
            "lams_": array(np.float64, "λ", low=0, high=math.inf),
            "best_lam_": either(number(0, math.inf), text),
            "scores_path_": array(np.float64, "λ", "folds", low=-math.inf, high=math.inf, nan=True),
        },
        extra={"lam_max_": number(0, math.inf)},
        whole=_of(ResidualScorer, MemberAutoencoder, _cross_validated),
        # Once λ was chosen as a number only.
        later={**_NOT_SPARSE, "best_lam_": lambda found: found["lam_"]},
    ),
    RobustPCA: Kind(
        fitted={"history_": history(_PURSUIT, "iterations"), "rank_": anything},
        whole=_of(ResidualScorer, MemberAutoencoder, _pca),
    ),
    EpochsDetector: Kind(extra=RESUMED, whole=_epochs),
    GenerativeDetector: Kind(later=_ALL_ROWS),
    VAEDetector: Kind(
        fitted={"history_": history(VariationalRecord)},
        extra={"noise_variance_": array(np.float64, "members", "features", low=0), **STREAMED},
        whole=_of(ElboScorer, more=_variational),
    ),
    AnoGANDetector: Kind(
        fitted={
            "history_": history(AdversarialRecord),
            "encoder_history_": history(EncoderRecord),
        },
        whole=_of(MismatchScorer),
    ),
    SequenceDetector: Kind(extra=STREAMED, whole=_by_chunks),
    DenoisingDetector: Kind(
        fitted={"history_": history(DenoisingRecord)},
        extra=STREAMED,
        whole=_of(DenoisingScorer, MemberDenoiser, _by_chunks),
    ),
    RecurrentVAEDetector: Kind(
        fitted={"history_": history(SequenceRecord)}, whole=_of(LikelihoodScorer)
    ),
    LSTMVAEDetector: Kind(whole=_of(LikelihoodScorer, MemberLSTMVAE)),
    OmniAnomalyDetector: Kind(whole=_of(LikelihoodScorer, MemberOmniAnomaly)),
    USADDetector: Kind(
        fitted={
            "history_": history(TwoDecodersRecord),
            "errors_": array(np.float32, "members", "rows", 2, low=0),
        },
        whole=_of(TwoDecodersScorer, more=_two_decoders),
    ),
}


def _kind(cls: Any) -> Kind:
    """Return the kind of a detector, put together from those of the classes above it."""
    parts = [part for base, part in _PARTS.items() if issubclass(cls, base)]
    fitted = {name: check for part in parts for name, check in part.fitted.items()}
    extra = {name: check for part in parts for name, check in part.extra.items()}

    def check(detector: Any, where: str, sizes: Sizes) -> None:
        for part in parts:
            part.whole(detector, where, sizes)
        _settled(detector, where)

    return Kind(
        parameters(cls, cv=either(instance(*SPLITTERS), simple)),
        fitted,
        {name: one for name, one in extra.items() if name not in fitted},
        check,
        lambda detector: detector._check_parameters(),
        {name: make for part in parts for name, make in part.later.items()},
    )


def learn_detectors() -> None:
    """Make every detector that is registered known to files."""
    for name, cls in DETECTORS.items():
        if cls in KINDS or not is_detector(cls):
            continue
        # One that has the name of another class is told of when it is saved itself.
        if name not in CLASSES or issubclass(CLASSES[name], BaseTorchDetector):
            KINDS[cls] = _kind(cls)


learn_detectors()
