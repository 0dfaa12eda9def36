"""Fit detectors to Dask arrays and DataFrames, and score them, on one machine or on many."""

from importlib.util import find_spec

if not (find_spec("dask") and find_spec("distributed")):
    raise ImportError(
        "skrdae.dask needs Dask and its distributed scheduler: pip install 'skrdae[dask]'."
    )

from skrdae.dask.fitting import fit
from skrdae.dask.scoring import decision_function, explain, p_values, predict

__all__ = ["decision_function", "explain", "fit", "p_values", "predict"]
