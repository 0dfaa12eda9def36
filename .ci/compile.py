#!/usr/bin/env python
"""Compile what the package compiles, once, before several processes would each do so.

    python .ci/compile.py

trains every network and objective of the package for an epoch, so that the machine code of its
loops lies in the folders of the sources beside this one. It takes a minute.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from trainings import KINDS, member_rows, rows_for, trainer_of  # noqa: E402

from skrdae import AnoGANDetector, RobustDeepAutoencoder  # noqa: E402

for kind in KINDS:
    trainer_of(kind, [0]).train(member_rows(rows_for(kind), 1))

# Of kinds of arrays that trainings of single objectives do not have.
X = np.random.default_rng(0).normal(size=(600, 60))
warnings.simplefilter("ignore")  # nothing has been learnt
for inference in ("hybrid", "bidirectional"):
    AnoGANDetector(inference=inference, n_epochs=1, n_encoder_epochs=1, n_search_iter=1).fit(X)
RobustDeepAutoencoder(hidden_layer_sizes=(200, 4), batch_size=300, max_iter=1).fit(X)
