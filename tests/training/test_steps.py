"""Captured steps are eager ones, on a GPU and by graphs that are played on a CPU."""

import gc

import numpy as np
import pytest
import torch
from captures import FakeCUDA
from trainings import CPU, KINDS, member_rows, rows_for, trainer_of

from skrdae import (
    AnoGANDetector,
    DenoisingDetector,
    LSTMRobustAutoencoder,
    LSTMVAEDetector,
    OmniAnomalyDetector,
    RobustDeepAutoencoder,
    USADDetector,
    VAEDetector,
)
from skrdae._random import member_generators
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.objectives.adversarial import SPECTRAL_EVERY
from skrdae.penalties import L21
from skrdae.training import trainer as module
from skrdae.training.alternating import Schedule, alternate
from skrdae.training.lam_rule import LamRule
from skrdae.training.rounds import Session
from skrdae.training.steps import _WARM_UP, CapturedSteps, EagerSteps

# Seven batches an epoch, six of four rows and one of three, which are worth a capture here.
N_ROWS, BATCH, N_BATCHES = 27, 4, 7
WORTH_IT = 6
SEEDS = {1: [5], 3: [5, 6, 7]}
kinds = pytest.mark.parametrize("kind", KINDS)
members = pytest.mark.parametrize("n_members", SEEDS)


class Ways:
    """Trains by steps that are captured, or launched one by one."""

    def __init__(self, monkeypatch, device, fake):
        self.device, self.fake, self._patch = device, fake, monkeypatch
        monkeypatch.setattr(module, "epoch_kernel", lambda network, objective: None)
        monkeypatch.setattr("skrdae.training.steps._WORTH_IT", WORTH_IT)

    def use(self, steps):
        make = lambda trainer, rows, kernel: steps(trainer, rows, kernel(trainer))  # noqa: E731
        self._patch.setattr(module, "steps_for", make)

    def trained(self, steps, kind, n_members, n_epochs=3, **options):
        """Return a trainer of some steps after some epochs, and the measures of the last one."""
        self.use(steps)
        made = self.trainer(kind, n_members, **options)
        measures = made.train(self.rows(kind, n_members), n_epochs)
        return made, None if measures is None else measures.clone()

    def trainer(self, kind, n_members, **options):
        options = {"batch_size": BATCH, "device": self.device} | options
        return trainer_of(kind, SEEDS[n_members], **options)

    def rows(self, kind, n_members, n_rows=N_ROWS):
        return member_rows(rows_for(kind, n_rows).to(self.device), n_members)


@pytest.fixture(
    params=[
        "played",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ),
    ]
)
def ways(request, monkeypatch):
    if request.param == "cuda":
        return Ways(monkeypatch, torch.device("cuda"), None)
    return Ways(monkeypatch, CPU, FakeCUDA(monkeypatch))


@pytest.fixture
def played(monkeypatch):
    return Ways(monkeypatch, CPU, FakeCUDA(monkeypatch))


def _values(trainer):
    parts = trainer.objective.trained(trainer.network).values()
    return [p.clone() for part in parts for p in part.parameters()] + [
        tensor.clone() for tensor in trainer.objective.tensors()
    ]


def _same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(_values(one), _values(other), strict=True))
    assert one.counts() == other.counts()
    for name, optimiser in one.optimisers.items():
        mine, theirs = optimiser.state(), other.optimisers[name].state()
        assert all(torch.equal(mine[key], theirs[key]) for key in ("mean", "square"))
        assert optimiser._step.item() == optimiser.n_steps == theirs["n_steps"]


@kinds
@members
def test_captured_and_eager_steps_agree_to_the_last_bit(kind, n_members, ways):
    eager, expected = ways.trained(EagerSteps, kind, n_members)
    captured, measures = ways.trained(CapturedSteps, kind, n_members)
    assert captured._steps._graphs
    _same(captured, eager)
    assert (measures is None) == (expected is None)
    if measures is not None:
        assert torch.equal(measures, expected)
    assert not all(
        torch.equal(a, b)
        for a, b in zip(_values(captured), _values(ways.trainer(kind, n_members)), strict=True)
    )


@members
@pytest.mark.parametrize("kind", ["autoencoder", "lstm", "gaussian", "gan", "encoder"])
def test_steps_by_automatic_differentiation_agree_too(kind, n_members, ways, monkeypatch):
    monkeypatch.setattr(module, "step_kernel", lambda network, objective: None)
    eager, expected = ways.trained(EagerSteps, kind, n_members)
    captured, measures = ways.trained(CapturedSteps, kind, n_members)
    _same(captured, eager)
    assert torch.equal(measures, expected)


@kinds
def test_a_state_is_gone_on_from_in_the_middle(kind, ways):
    whole, _ = ways.trained(EagerSteps, kind, 3, n_epochs=4)
    first, _ = ways.trained(CapturedSteps, kind, 3, n_epochs=2)
    state, rows = first.state(), ways.rows(kind, 3)
    # By another trainer, which captures anew, and by the same, whose graphs stay.
    other = ways.trainer(kind, 3)
    other.restore(state)
    other.train(rows, 2)
    _same(other, whole)
    graphs = first._steps._graphs
    first.train(first._steps.rows, 1)
    first.restore(state)
    first.train(first._steps.rows, 2)
    assert first._steps._graphs is graphs
    _same(first, whole)


@pytest.mark.parametrize("kind", ["autoencoder", "lstm", "module"])
def test_members_that_are_left_go_on_in_graphs_of_their_own(kind, ways):
    found = []
    for steps in (EagerSteps, CapturedSteps):
        whole, _ = ways.trained(steps, kind, 3, n_epochs=2)
        some = whole.select(torch.tensor([2, 0], device=ways.device), whole.generators[1:])
        some.train(ways.rows(kind, 2), 2)
        found.append(some)
        assert some._steps is not whole._steps
    assert found[1]._steps._graphs
    _same(*found)


def test_an_alternation_whose_members_leave_agrees(ways):
    options = {"bound": 10.0, "max_iter": 12, "n_epochs": 1, "batch_size": BATCH, "lr": 3e-3}
    found = []
    for steps in (EagerSteps, CapturedSteps):
        ways.use(steps)
        generators = member_generators(SEEDS[3])
        network = MemberAutoencoder(5, (7, 3), "tanh", "identity", generators, ways.device)
        rows = ways.rows("autoencoder", 3, 103)
        result = alternate(
            network,
            rows,
            L21(),
            Schedule(**options, tol=0.08),
            generators,
            Session(),
            LamRule([0.5, 0.8, 0.95], "quantile"),
        )
        found.append((list(network.parameters()), result))
    (one, first), (other, second) = found
    assert len({row["n_training"] for row in first.history}) > 1  # some leave before others
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(first.lam, second.lam)
    assert first.history == second.history


# ------------------------------------------------------------------ which graphs there are


@members
@kinds
def test_there_is_a_graph_for_each_size_of_a_batch_and_variant_of_a_step(kind, n_members, played):
    trainer, _ = played.trained(CapturedSteps, kind, n_members)
    fake, n_steps = played.fake, 3 * N_BATCHES
    if kind == "gan":  # the discriminator's weights are bounded after every fifth step
        assert SPECTRAL_EVERY == 5
        variants = [(4, (False, False)), (4, (True, False)), (3, (False, False))]
    elif kind == "pairs":
        others = (False, False)
        variants = [(4, (False, *others)), (4, (True, *others)), (3, (False, *others))]
    else:
        # The weights of a denoiser are averaged after each step.
        same = (kind == "denoiser",) * len(trainer.optimisers)
        variants = [(4, same), (3, same)]
    assert sorted(fake.captures) == sorted((*key, n_members) for key in variants)
    assert set(trainer._steps._graphs) == set(variants)
    assert fake.eager == _WARM_UP == 3
    assert fake.replays == n_steps - 3
    assert trainer.counts() == [n_steps] * len(trainer.optimisers)


def test_a_bound_that_is_due_at_the_small_batch_has_a_graph_of_its_own(played):
    trainer, _ = played.trained(CapturedSteps, "gan", 1, n_epochs=5)  # 35 is one of its steps
    assert {size for size, (bounds, _) in trainer._steps._graphs if bounds} == {4, 3}
    expected, _ = played.trained(EagerSteps, "gan", 1, n_epochs=5)
    _same(trainer, expected)


@pytest.mark.parametrize(("n_batches", "captures"), [(WORTH_IT - 1, 0), (WORTH_IT, 1)])
def test_short_epochs_are_not_captured(n_batches, captures, played):
    played.use(CapturedSteps)
    trainer, rows = played.trainer("autoencoder", 1), played.rows("autoencoder", 1, 4 * n_batches)
    for _ in range(3):
        trainer.train(rows)
    assert len(played.fake.captures) == captures
    assert played.fake.eager == (3 if captures else 0)
    assert trainer.counts() == [3 * n_batches]


def test_the_position_is_where_the_epoch_is(played):
    trainer, _ = played.trained(CapturedSteps, "autoencoder", 3, n_epochs=1)
    steps = trainer._steps
    assert steps._places[0].item() == N_ROWS
    seen, make_step = [], steps._make_step

    def watched(size):
        seen.append((steps._places[0].item(), size))
        make_step(size)

    steps._make_step = watched
    trainer.train(steps.rows)
    assert [place for place, _ in seen] == list(np.cumsum([0] + [size for _, size in seen[:-1]]))
    assert sum(size for _, size in seen) == N_ROWS


def test_a_capture_that_only_records_counts_no_step(played):
    played.use(CapturedSteps)
    trainer = played.trainer("gan", 1)
    steps = CapturedSteps(trainer, played.rows("gan", 1), lambda x, noise: None)
    steps._captured = lambda size: trainer.set_counts([n + 1 for n in trainer.counts()])
    steps._capture(4)
    assert trainer.counts() == [0, 0]


def test_pinned_memory_is_written_to_when_it_has_been_read(played):
    played.trained(CapturedSteps, "gaussian", 1)
    assert played.fake.log == ["wait", "sent"] * 3


def test_averages_are_kept_from_becoming_denormal_between_graphs(played, monkeypatch):
    flushed = []
    adam = module.MemberAdam
    monkeypatch.setattr(adam, "flush", lambda self: flushed.append(self.n_steps))
    played.trained(CapturedSteps, "autoencoder", 1)
    assert flushed == list(range(1, 3 * N_BATCHES + 1))


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_collection_is_as_before_after_a_capture(enabled, fails, played):
    (gc.enable if enabled else gc.disable)()
    played.fake.fails = fails
    try:
        if fails:
            with pytest.raises(RuntimeError, match="capturing"):
                played.trained(CapturedSteps, "autoencoder", 1)
        else:
            played.trained(CapturedSteps, "autoencoder", 1)
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_a_graph_that_is_used_for_the_wrong_variant_would_be_noticed(played, monkeypatch):
    """The play itself is tested: a replay does what was decided at the capture."""
    monkeypatch.setattr(module.Trainer, "variant", lambda self: ())
    wrong, _ = played.trained(CapturedSteps, "gan", 1)
    monkeypatch.undo()
    # Without graphs, on a CPU.
    monkeypatch.setattr(module, "epoch_kernel", lambda network, objective: None)
    right = played.trainer("gan", 1)
    right.train(played.rows("gan", 1), 3)
    assert isinstance(right._steps, EagerSteps)
    assert not all(torch.equal(a, b) for a, b in zip(_values(wrong), _values(right), strict=True))


# ---------------------------------------------------------------------------- detectors on a GPU

DETECTORS = {
    "autoencoder": (RobustDeepAutoencoder, "max_iter", {}),
    "tol": (RobustDeepAutoencoder, "max_iter", {"tol": 0.3}),
    "VAE": (VAEDetector, "n_epochs", {}),
    "GAN": (AnoGANDetector, "n_epochs", {"n_encoder_epochs": 3}),
    "LSTM": (LSTMRobustAutoencoder, "max_iter", {}),
    "LSTM-VAE": (LSTMVAEDetector, "n_epochs", {}),
    "OmniAnomaly": (OmniAnomalyDetector, "n_epochs", {}),
    "denoising": (DenoisingDetector, "n_epochs", {}),
    "USAD": (USADDetector, "n_epochs", {}),
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:.*did not bring the members below tol")
@pytest.mark.filterwarnings("ignore:The generator of")
@members
@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_are_the_same_and_go_on_in_the_middle(name, n_members, plane, monkeypatch):
    cls, length, options = DETECTORS[name]
    options = options | {
        "n_estimators": n_members,
        "batch_size": 8,  # 38 batches
        "device": "cuda",
        "random_state": 0,
    }
    whole = cls(**options, **{length: 6}).fit(plane)
    parts = cls(**options, **{length: 3}, warm_start=True).fit(plane)
    parts.set_params(**{length: 6}).fit(plane)
    make = lambda trainer, rows, kernel: EagerSteps(trainer, rows, kernel(trainer))  # noqa: E731
    monkeypatch.setattr(module, "steps_for", make)
    eager = cls(**options, **{length: 6}).fit(plane)
    for found in (whole, parts):
        assert np.array_equal(found.decision_scores_, eager.decision_scores_)
        assert found.history_ == eager.history_
        assert np.array_equal(found.transform(plane), eager.transform(plane))
