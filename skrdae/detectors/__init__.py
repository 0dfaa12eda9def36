"""The estimators: hyper-parameters and wiring, one a file."""
