"""Training loops over tensors. Nothing here knows of an estimator."""
