"""A detector of rows fitted to the windows of a series."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from skrdae._typing import FloatRows
from skrdae.detectors.base import BaseTorchDetector
from skrdae.preprocessing import ColumnScaler, Windows


def fitted_to_windows(detector: Any, windows: Windows, chosen: NDArray[np.intp]) -> Any:
    """Fit a clone of a detector to some windows.

    Parameters
    ----------
    detector : object
        See :class:`WindowedDetector`.
    windows : Windows
    chosen : ndarray of int
        The places of the windows to fit to.

    Returns
    -------
    object
        The fitted clone.
    """
    n_channels = windows.series.shape[1]
    fitted: Any = clone(detector)
    automatic = [k for k, v in fitted.get_params().items() if _is_auto_score(k, v)]
    fitted.set_params(**dict.fromkeys(automatic, "norm"))
    if hasattr(fitted, "n_channels"):
        fitted.set_params(n_channels=n_channels)
    if getattr(fitted, "image_shape", ()) is None:
        fitted.set_params(image_shape=(1, windows.size, n_channels))
    # What fit returns is not used: with some of PyOD's it is None.
    if isinstance(fitted, BaseTorchDetector):
        fitted.warns_of_constants = False  # of steps of windows; the channels are looked at
        fitted.fit(windows.rows(chosen))
        del fitted.warns_of_constants
        _scale_constants(fitted, windows.series)
    else:
        fitted.fit(windows.rows(chosen))
    return fitted


def _scale_constants(detector: BaseTorchDetector, series: FloatRows) -> None:
    """Give steps that did not change in the windows fitted to the scale of their channel.

    A change in a channel that changes now and then is less strange than one in a channel that never
    changes.
    """
    scaler = detector.scaler_
    steps = np.flatnonzero(scaler.constant_)
    if not len(steps):
        return
    by_channel = ColumnScaler(scaler.method, scaler.bound).fit(series)
    channels = steps % series.shape[1]
    changing = ~by_channel.constant_[channels]
    scaler = scaler.with_columns(
        steps[changing], scale_=by_channel.scale_[channels[changing]], constant_=False
    )
    detector.model_ = replace(detector.model_, scaler=scaler)


def _is_auto_score(name: str, value: object) -> bool:
    """Whether a parameter, maybe of a nested estimator, is a score_function left open."""
    return name.split("__")[-1] == "score_function" and isinstance(value, str) and value == "auto"
