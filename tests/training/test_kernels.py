"""Every registered kernel is held to automatic differentiation."""

import pytest
import torch
from trainings import KINDS, member_rows, rows_for, trainer_of

from skrdae.networks.mlp import ACTIVATIONS, MemberAutoencoder
from skrdae.objectives.reconstruction import Reconstruction
from skrdae.training import trainer as module
from skrdae.training.kernels import epoch_kernel, registry, step_kernel

# The kinds whose networks have activations of one's choice.
_CHOICE = ("autoencoder", "sparse", "gaussian", "bernoulli", "gan", "pairs", "encoder")
_CHOICE += ("two decoders",)
CASES = [(kind, activation) for kind in _CHOICE for activation in ACTIVATIONS]
CASES += [("lstm", "tanh"), ("gru", "tanh")]
KERNELS = ["epochs", "steps"]


def _without(monkeypatch, *names):
    for name in names:
        monkeypatch.setattr(module, name, lambda network, objective: None)


def _trained(kind, n_members, **options):
    trainer = trainer_of(kind, range(3, 3 + n_members), **options)
    rows = member_rows(rows_for(kind, 90), n_members)
    for n_epochs in (2, 1):  # the optimiser goes on where it was
        measures = trainer.train(rows, n_epochs)
    return trainer, measures


def test_every_kernel_is_tested():
    tested = {(type(t.network), type(t.objective)) for t in (trainer_of(k, [0]) for k in KINDS)}
    assert set(registry._EPOCHS) | set(registry._STEPS) <= tested
    made = [trainer_of(kind, [0]) for kind, _ in CASES]
    pairs = [(t.network, t.objective) for t in made]
    assert all(epoch_kernel(*pair) or step_kernel(*pair) for pair in pairs)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("n_members", "kind", "activation"),
    [(3, *case) for case in CASES] + [(1, *case) for case in CASES if case[1] == "tanh"],
)
def test_a_kernel_does_what_autograd_does(kernel, kind, activation, n_members, monkeypatch):
    start = trainer_of(kind, range(3, 3 + n_members), activation=activation)
    find = epoch_kernel if kernel == "epochs" else step_kernel
    if find(start.network, start.objective) is None:
        pytest.skip(f"has no kernel for {kernel}")
    if kernel == "steps":
        _without(monkeypatch, "epoch_kernel")
    found, measures = _trained(kind, n_members, activation=activation)
    _without(monkeypatch, "epoch_kernel", "step_kernel")
    right, expected = _trained(kind, n_members, activation=activation)
    assert isinstance(right._steps._step, module.AutogradStep)
    for name, part in right.objective.trained(right.network).items():
        mine = found.objective.trained(found.network)[name].parameters()
        before = start.objective.trained(start.network)[name].parameters()
        for a, b, c in zip(mine, part.parameters(), before, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
            assert not torch.allclose(b, c, rtol=0, atol=1e-3)
        assert found.optimisers[name].n_steps == right.optimisers[name].n_steps == 18
    for a, b in zip(found.objective.tensors(), right.objective.tensors(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    if measures is not None:  # which kernels of autoencoders leave out
        torch.testing.assert_close(measures.double(), expected.double(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("output", ACTIVATIONS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_output_activations_are_those_of_autograd(kernel, output, monkeypatch):
    if kernel == "steps":
        _without(monkeypatch, "epoch_kernel")
    found, _ = _trained("autoencoder", 2, output=output)
    _without(monkeypatch, "epoch_kernel", "step_kernel")
    right, _ = _trained("autoencoder", 2, output=output)
    for a, b in zip(found.network.parameters(), right.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_batches_learnt_in_pieces_are_those_of_autograd(monkeypatch):
    found = []
    for _ in range(2):
        trainer = trainer_of("autoencoder", [0], 60, sizes=(200, 4), batch_size=300)
        trainer.train(member_rows(rows_for("autoencoder", 600, 60), 1), 2)
        found.append(list(trainer.network.parameters()))
        _without(monkeypatch, "epoch_kernel", "step_kernel")
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_a_kernel_is_for_exactly_its_classes():
    class Other(MemberAutoencoder):
        """May compute something else."""

    made = trainer_of("autoencoder", [0])
    assert epoch_kernel(made.network, made.objective) is not None
    made.network.__class__ = Other
    assert epoch_kernel(made.network, made.objective) is None
    assert step_kernel(made.network, made.objective) is None


def test_a_kernel_registered_for_a_network_is_used(monkeypatch):
    class Own(MemberAutoencoder):
        """One's own."""

    monkeypatch.setattr(registry, "_STEPS", dict(registry._STEPS))
    seen = []

    @registry.steps_of(Own, Reconstruction)
    def step_of(trainer):
        return lambda x, noise: seen.append(tuple(x.shape))

    trainer = trainer_of("autoencoder", [0, 1])
    trainer.network.__class__ = Own
    assert trainer.train(member_rows(rows_for("autoencoder"), 2)) is None
    assert seen == [(2, 13, 5), (2, 13, 5), (2, 12, 5), (2, 12, 5)]
