"""The published ℓ1 experiment: codes and images out of corrupted pixels.

    python benchmarks/mnist_l1.py
    python benchmarks/mnist_l1.py --network conv --bottlenecks 30 --shares 0.1 0.25 0.5

A share of the pixels is replaced by uniform noise. The robust autoencoder (``penalty="l1"``) and
the plain one (``lam=inf``) are the same network, trained from the same seed for the same number of
epochs on the same corrupted images: 784-200-10 or 784-200-30 and its mirror, or convolutions
around a code of the same size. A random forest
learns the digits from the codes of two thirds of the images and is tested on the rest; the images
that the codes stand for are held against the clean ones. λ lies inside (0, 1), because at 1 and
above, on pixels in [0, 1], S is zero and the robust network is the plain one: that is checked, too.
"""

import argparse
import time

import numpy as np
import torch
from datasets import add_data_argument, load_mnist
from matplotlib.figure import Figure
from report import PICTURES, read_csv, write_csv
from sklearn.ensemble import RandomForestClassifier
from tqdm import tqdm

from skrdae import ConvRobustAutoencoder, RobustDeepAutoencoder

SHARES = (0.05, 0.1, 0.25, 0.5)
BOTTLENECKS = (10, 30)
LAMS = (0.1, 0.2, 0.3, 0.4, 0.6)
PLAIN = np.inf
#: Too large for data in [0, 1].
PUBLISHED = 1.0
CSV = {"dense": "mnist_l1", "conv": "mnist_l1_conv"}
#: Convolutions take longer for an epoch, and need fewer of them.
N_ITERATIONS = {"dense": 50, "conv": 15}


def corrupted(X, share, seed):
    """Replace a share of the pixels by noise."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(X.shape) < share, rng.random(X.shape, dtype=np.float32), X)


def new_detector(lam, bottleneck, arguments):
    """Return a detector, not fitted."""
    shared = {
        "penalty": "l1",
        "output_activation": "sigmoid",
        "scaler": None,
        "max_iter": arguments.max_iter or N_ITERATIONS[arguments.network],
        "n_epochs": arguments.n_epochs,
        "lr": arguments.lr,
        "n_estimators": 1,
        "random_state": arguments.seed,
    }
    if arguments.network == "conv":
        return ConvRobustAutoencoder(
            lam,
            channels=(16, 32),
            code_size=bottleneck,
            decoder_activation=arguments.activation,
            batch_size=32,
            **shared,
        )
    return RobustDeepAutoencoder(
        lam,
        hidden_layer_sizes=(200, bottleneck),
        activation=arguments.activation,
        batch_size=128,
        **shared,
    )


def run(X, y, share, bottleneck, lam, arguments):
    """Return a row of the CSV, and the images that the codes stand for."""
    noisy = corrupted(X, share, arguments.seed)
    start = time.perf_counter()
    detector = new_detector(lam, bottleneck, arguments).fit(noisy)
    seconds = time.perf_counter() - start
    codes = detector.transform(noisy)
    images = detector.inverse_transform(codes)
    n_train = 2 * len(X) // 3
    forest = RandomForestClassifier(random_state=arguments.seed, n_jobs=arguments.threads)
    forest.fit(codes[:n_train], y[:n_train])
    row = {
        "images": len(X),
        "share": share,
        "bottleneck": bottleneck,
        "lam": lam,
        "forest_accuracy": float(forest.score(codes[n_train:], y[n_train:])),
        "denoising_error": float(np.square(images - X).mean()),
        "noise": float(np.square(noisy - X).mean()),
        "sparse_share": detector.history_[-1]["sparse_share"],
        "seconds": seconds,
    }
    return row, images


def summarise(rows):
    """Return a row a cell: the plain network beside the robust one at its best λ."""
    summary = []
    for bottleneck, share in sorted({(r["bottleneck"], r["share"]) for r in rows}):
        cell = [r for r in rows if (r["share"], r["bottleneck"]) == (share, bottleneck)]
        plain = next(r for r in cell if r["lam"] == PLAIN)
        robust = [r for r in cell if r["lam"] < PUBLISHED]
        best = max(robust, key=lambda r: r["forest_accuracy"])
        clean = min(robust, key=lambda r: r["denoising_error"])
        summary.append(
            {
                "bottleneck": bottleneck,
                "share": share,
                "accuracy_plain": plain["forest_accuracy"],
                "accuracy_robust": best["forest_accuracy"],
                "lam_of_accuracy": best["lam"],
                "relative_improvement": best["forest_accuracy"] / plain["forest_accuracy"] - 1,
                "error_plain": plain["denoising_error"],
                "error_robust": clean["denoising_error"],
                "lam_of_error": clean["lam"],
                "error_reduction": 1 - clean["denoising_error"] / plain["denoising_error"],
            }
        )
    return summary


def draw_images(X, noisy, made, path, n_images=8):
    """Show images as they were, corrupted, and as the networks make them out."""
    shown = {"clean": X, "corrupted": noisy} | made
    figure = Figure(figsize=(n_images, len(shown) + 0.3), layout="constrained")
    axes = figure.subplots(len(shown), n_images)
    for line, (name, images) in zip(axes, shown.items(), strict=True):
        for ax, image in zip(line, images[:n_images], strict=True):
            ax.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--network", choices=CSV, default="dense")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--activation", default="relu")
    parser.add_argument("--max-iter", type=int, help="default: 50, or 15 for conv")
    parser.add_argument("--n-epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--lams",
        type=float,
        nargs="+",
        default=(PLAIN, *LAMS, PUBLISHED),
        help="these only, of --shares and --bottlenecks; the CSV keeps what it has of others",
    )
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--bottlenecks", type=int, nargs="+", default=BOTTLENECKS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    X, y = load_mnist(arguments.data_dir)
    chosen = np.random.default_rng(arguments.seed).permutation(len(X))[: arguments.images]
    X, y = X[chosen], y[chosen]
    lams = [lam for lam in arguments.lams if lam != PUBLISHED]
    tasks = [(s, b, lam) for b in arguments.bottlenecks for s in arguments.shares for lam in lams]
    # Once, to see that it changes nothing.
    check = 0.25, 10, PUBLISHED
    if arguments.network == "dense" and PUBLISHED in arguments.lams:
        tasks.append(check)
    csv = CSV[arguments.network]
    rows = [r for r in read_csv(csv) if (r["share"], r["bottleneck"], r["lam"]) not in tasks]
    made = {}
    for share, bottleneck, lam in tqdm(tasks, unit="fit"):
        row, images = run(X, y, share, bottleneck, lam, arguments)
        rows.append(row)
        write_csv(csv, rows)
        if (share, bottleneck) == (0.5, 30) and lam in (PLAIN, *LAMS[:2]):
            made["plain" if lam == PLAIN else f"λ = {lam}"] = images
    errors = {(r["share"], r["bottleneck"], r["lam"]): r["denoising_error"] for r in rows}
    if check in errors:
        assert errors[check] == errors[0.25, 10, PLAIN], "λ = 1 should change nothing"
    if arguments.network == "dense" and len(made) == 3:
        draw_images(X, corrupted(X, 0.5, arguments.seed), made, PICTURES / "mnist_l1.png")
    summary = summarise(rows)
    if arguments.network == "conv":  # beside the dense one
        cells = {(r["bottleneck"], r["share"]) for r in summary}
        dense = [
            r for r in read_csv(f"{CSV['dense']}_summary") if (r["bottleneck"], r["share"]) in cells
        ]
        summary = [{"network": "dense"} | r for r in dense] + [
            {"network": "conv"} | r for r in summary
        ]
    write_csv(f"{csv}_summary", summary)
    for r in summary:
        print("  ".join(f"{k} {v}" for k, v in r.items()))


if __name__ == "__main__":
    main()
