"""The digit experiment in miniature, on the images that scikit-learn ships."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from tqdm.auto import tqdm

from skrdae._typing import FloatArray, IntArray
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LAMS = [f"{multiple:.1f}*median" for multiple in np.linspace(1.3, 2.0, 8)]
_CONTAMINATIONS: list[float] = np.linspace(0.02, 0.14, 7).round(2).tolist()
_N_FOLDS = 5


def one_class_digits(digit: int, seed: int, share: float = 0.05) -> tuple[FloatArray, IntArray]:
    """Return all images of one digit with a few of others among them.

    Parameters
    ----------
    digit : int
        The normal class, 0 to 9.
    seed : int
        Draws the others.
    share : float, default=0.05
        The others' share of the total.

    Returns
    -------
    X : ndarray of shape (n_samples, 64)
        Pixels in [0, 1].
    y : ndarray of shape (n_samples,)
        1 for the other digits.
    """
    rng = np.random.default_rng(seed)
    images, digits = load_digits(return_X_y=True)
    normal = np.flatnonzero(digits == digit)
    n_others = round(len(normal) * share / (1 - share))
    others = rng.choice(np.flatnonzero(digits != digit), n_others, replace=False)
    rows = rng.permutation(np.concatenate([normal, others]))
    return images[rows] / 16, (digits[rows] != digit).astype(int)


def run_demo(
    digit: int = 4, seed: int = 0, output: str | os.PathLike[str] = "skrdae-demo.png"
) -> list[dict[str, Any]]:
    """Tune both detectors, print the table, draw the picture.

    Parameters
    ----------
    digit, seed : int
        See :func:`one_class_digits`.
    output : str or path
        Where the picture goes.

    Returns
    -------
    list of dict
        The rows of the table.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    OSError
        If `output` cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'the demo draws a picture and needs matplotlib: pip install "skrdae[plot]"'
        ) from error
    output = Path(output)
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    if not output.parent.is_dir() or output.is_dir():
        raise OSError(f"{str(output)!r} is not a file in a folder that is there")
    formats = FigureCanvasAgg(figure).get_supported_filetypes()
    if output.suffix[1:] not in formats:
        raise ValueError(f"a picture is one of {', '.join(formats)}; got {str(output)!r}")

    X, y = one_class_digits(digit, seed)
    print(f"{len(X)} images of 8 x 8 pixels: the digit {digit}, and {y.sum()} others to find.")
    robust = RobustDeepAutoencoder(
        hidden_layer_sizes=(64, 10),
        output_activation="sigmoid",
        scaler=None,
        contamination="auto",
        max_iter=10,
        n_epochs=5,
        random_state=seed,
    )
    forest = IsolationForest(random_state=seed)
    searches: dict[str, tuple[Any, str, list[Any]]] = {
        "RobustDeepAutoencoder": (robust, "lam", _LAMS),
        "IsolationForest": (forest, "contamination", _CONTAMINATIONS),
    }
    folds = StratifiedKFold(_N_FOLDS, shuffle=True, random_state=seed)
    rows = []
    n_fits = sum(len(grid) for _, _, grid in searches.values()) * _N_FOLDS
    with tqdm(total=n_fits, desc="GridSearchCV", unit="fit") as bar:

        def f1(detector: Any, X: FloatArray, y: IntArray) -> float:
            bar.update()
            return f1_score(y, _flags(detector, X))

        for name, (detector, parameter, grid) in searches.items():
            start = time.perf_counter()
            search = GridSearchCV(detector, {parameter: grid}, scoring=f1, cv=folds).fit(X, y)
            seconds = time.perf_counter() - start
            best = search.best_estimator_
            scores = _scores(best, X)
            rows.append(
                {
                    "detector": name,
                    "chosen": f"{parameter}={search.best_params_[parameter]}",
                    "F1": f1_score(y, _flags(best, X)),
                    "ROC AUC": roc_auc_score(y, scores),
                    "AP": average_precision_score(y, scores),
                    "seconds": seconds,
                }
            )
            if name == "RobustDeepAutoencoder":
                robust = best
    print(_table(rows))
    print(
        "F1 is that of the images each flags; ROC AUC and average precision (AP) are of the scores."
    )
    _draw(figure, robust, X, y, output)
    print(f"The most anomalous images, and how they split: {output}")
    return rows


def _flags(detector: Any, X: FloatArray) -> IntArray:
    labels = detector.predict(X)
    # scikit-learn's own detectors say −1 where PyOD's say 1.
    return labels if hasattr(detector, "decision_scores_") else (labels == -1).astype(int)


def _scores(detector: Any, X: FloatArray) -> FloatArray:
    scores = detector.decision_function(X)
    return scores if hasattr(detector, "decision_scores_") else -scores


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{'detector':<23}{'chosen':<21}{'F1':>6}{'ROC AUC':>9}{'AP':>7}{'seconds':>9}",
        "-" * 75,
    ]
    for row in rows:
        lines.append(
            f"{row['detector']:<23}{row['chosen']:<21}{row['F1']:>6.3f}{row['ROC AUC']:>9.3f}"
            f"{row['AP']:>7.3f}{row['seconds']:>9.1f}"
        )
    return "\n".join(lines)


def _draw(
    figure: Figure,
    detector: RobustDeepAutoencoder,
    X: FloatArray,
    y: IntArray,
    output: Path,
    n_images: int = 8,
) -> None:
    scores = detector.decision_function(X)
    top = np.argsort(-scores)[:n_images]
    low_rank, sparse = detector.decompose(X[top])
    explained = detector.inverse_transform(detector.transform(X[top]))
    axes = figure.subplots(4, n_images)
    parts = (("X", X[top]), ("L", low_rank), ("S", sparse), ("D(E(L))", explained))
    reach = np.abs(sparse).max() or 1.0
    for line, (name, images) in zip(axes, parts, strict=True):
        style = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
        if name == "S":
            style = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
        for k, (ax, image) in enumerate(zip(line, images, strict=True)):
            ax.imshow(image.reshape(8, 8), **style)
            ax.set(xticks=[], yticks=[])
            if name == "X":
                kind = "foreign" if y[top[k]] else "own"
                ax.set_title(f"{kind}, {scores[top[k]]:.2f}", fontsize=9)
        line[0].set_ylabel(name, rotation=0, labelpad=22, va="center")
    figure.suptitle(
        f"The highest scores, X = L + S with λ = {detector.lam}; what the networks make of L"
    )
    figure.savefig(output, dpi=130)
