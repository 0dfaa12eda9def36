"""Where a fit spends its time, by operation.

    python benchmarks/profile_fit.py

Makes the fit of ``mnist_l21.py`` under torch's profiler and lists the operations by their own
time.
"""

import argparse

import torch
from datasets import add_data_argument, load_mnist, one_class
from mnist_l21 import robust
from report import write_csv
from sklearn.base import clone
from torch.profiler import ProfilerActivity, profile

PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    X, _ = one_class(*load_mnist(arguments.data_dir), digit=4, seed=0)
    detector = robust(0, contamination=0.05)
    clone(detector).set_params(max_iter=1).fit(X)  # warms up
    with profile(activities=[ProfilerActivity.CPU]) as run:
        detector.fit(X)
    events = sorted(run.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in events)
    rows = [
        {"operation": e.key, "calls": e.count, "share": e.self_cpu_time_total / total}
        for e in events
        if e.self_cpu_time_total > 0.002 * total
    ]
    write_csv("profile_fit", rows)
    for row in rows:
        print(f"{row['operation']:<32}{row['calls']:>8}{row['share']:>8.1%}")
    products = sum(e.self_cpu_time_total for e in events if e.key in PRODUCTS) / total
    print(f"matrix products: {products:.1%} of {total / 1e6:.1f} s")


if __name__ == "__main__":
    main()
