"""How AnoGANDetector finds a row's code: its four modes of inference beside each other.

    python benchmarks/anogan_inference.py

Each has its defaults and is fitted to sets of ADBench, whose ``decision_scores_`` are held against
the labels, which it does not see. "Fit" and "score" are the processor's seconds for a fit and for
scoring the rows again, on one thread.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from datasets import add_data_argument, load_adbench
from report import write_csv
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from skrdae import AnoGANDetector

MODES = ("encoder", "search", "hybrid", "bidirectional")


def run(X, y, inference, seed):
    """Fit once; return the figures of a set."""
    detector = AnoGANDetector(inference=inference, random_state=seed)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector.fit(X)
    fitted = time.process_time()
    scores = detector.decision_function(X)
    return {
        "roc_auc": float(roc_auc_score(y, scores)),
        "average_precision": float(average_precision_score(y, scores)),
        "fit_s": fitted - start,
        "score_s": time.process_time() - fitted,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--max-rows", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sets = list(load_adbench(arguments.data_dir, arguments.max_rows))
    rows = []
    for inference in MODES:
        run(*sets[0][1:], inference, 0)  # compiles the loops
        found = [
            run(X, y, inference, seed)
            for _, X, y in tqdm(sets, desc=inference)
            for seed in range(arguments.seeds)
        ]
        means = {key: float(np.mean([r[key] for r in found])) for key in found[0]}
        rows.append({"inference": inference, "sets": len(sets)} | means)
        print(*rows[-1].values())
        write_csv("anogan_inference", rows)


if __name__ == "__main__":
    main()
