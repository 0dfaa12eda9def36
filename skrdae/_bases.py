"""Base classes of scikit-learn and PyOD, with the types that these do not publish.

A base class that is Any to a type checker would make every attribute of its subclasses Any.
"""

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from sklearn.utils import Tags

    class BaseEstimator:
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def get_metadata_routing(self) -> Any: ...
        def __getstate__(self) -> dict[str, Any]: ...
        def __sklearn_tags__(self) -> Tags: ...
        @classmethod
        def _get_param_names(cls) -> list[str]: ...

    class MetaEstimatorMixin: ...

    class OutlierMixin:
        def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.int64]: ...

    class TransformerMixin:
        def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any: ...
        def set_output(
            self, *, transform: Literal["default", "pandas", "polars"] | None = None
        ) -> Self: ...

    class ClassNamePrefixFeaturesOutMixin:
        def get_feature_names_out(
            self, input_features: ArrayLike | None = None
        ) -> NDArray[np.object_]: ...

    class BaseDetector(BaseEstimator):
        def fit(self, X: Any, y: Any = None) -> Self: ...
        def decision_function(self, X: Any) -> Any: ...
        def fit_predict_score(self, X: Any, y: Any, scoring: str = "roc_auc_score") -> Any: ...
        def compute_rejection_stats(self, *options: Any) -> tuple[float, float, float]: ...
        def set_predict_request(self, **requests: bool | str | None) -> Self: ...
        def set_predict_proba_request(self, **requests: bool | str | None) -> Self: ...

else:
    from pyod.models.base import BaseDetector
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        MetaEstimatorMixin,
        OutlierMixin,
        TransformerMixin,
    )

__all__ = [
    "BaseDetector",
    "BaseEstimator",
    "ClassNamePrefixFeaturesOutMixin",
    "MetaEstimatorMixin",
    "OutlierMixin",
    "TransformerMixin",
]
