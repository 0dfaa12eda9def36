import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from trainings import CPU, KINDS, assert_member, member_rows, rows_for, trainer_of

from skrdae._random import member_generators
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.objectives.reconstruction import Reconstruction
from skrdae.preprocessing import ColumnScaler
from skrdae.rows import HeldMemberRows, LazyRows
from skrdae.training import trainer as module
from skrdae.training.rounds import Session, run
from skrdae.training.trainer import Epochs, Trainer

SEEDS = [5, 6, 7]
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(params=["kernels", "autograd"])
def way(request, monkeypatch):
    """Train by what is registered, or by automatic differentiation."""
    if request.param == "autograd":
        for name in ("epoch_kernel", "step_kernel"):
            monkeypatch.setattr(module, name, lambda network, objective: None)
    return request.param


def _parameters(trainer):
    return [p.clone() for p in trainer.network.parameters()]


def _trained(kind, seeds=SEEDS, n_epochs=2, **options):
    trainer = trainer_of(kind, seeds, **options)
    trainer.train(member_rows(rows_for(kind), len(seeds)), n_epochs)
    return trainer


@kinds
@pytest.mark.usefixtures("way")
def test_a_member_equals_itself_trained_alone(kind):
    whole = _trained(kind)
    for k, seed in enumerate(SEEDS):
        assert_member(whole.network, k, _trained(kind, [seed]).network)


@kinds
@pytest.mark.usefixtures("way")
def test_the_number_of_threads_does_not_matter(kind):
    before, found = torch.get_num_threads(), []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        found.append(_parameters(_trained(kind)))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@kinds
@pytest.mark.usefixtures("way")
def test_the_error_falls(kind):
    if kind in ("gan", "two decoders"):
        pytest.skip("plays against itself")
    trainer = trainer_of(kind, SEEDS, lr=1e-2)
    rows = rows_for(kind).expand(3, -1, -1)
    size = trainer.objective.noise_size(trainer.network)
    noise = torch.randn(3, 50, size, generator=torch.Generator().manual_seed(0))

    def error():
        return trainer.objective.loss("adam", trainer.network, rows, noise)[1][0]

    first = error()
    trainer.train(member_rows(rows_for(kind), 3), 30 if kind == "bernoulli" else 15)
    assert (error() < 0.97 * first).all()


@kinds
@pytest.mark.usefixtures("way")
def test_a_state_is_gone_on_from(kind):
    whole = _trained(kind)
    first, rows = _trained(kind, n_epochs=1), member_rows(rows_for(kind), 3)
    state = first.state()
    again = trainer_of(kind, SEEDS)
    again.restore(state)
    first.train(rows)  # which must not change the state
    again.train(rows)
    trained = again.objective.trained(again.network)
    for name, part in whole.objective.trained(whole.network).items():
        for a, b in zip(part.parameters(), trained[name].parameters(), strict=True):
            assert torch.equal(a, b)
    for a, b in zip(whole.objective.tensors(), again.objective.tensors(), strict=True):
        assert torch.equal(a, b)
    assert {name: o.n_steps for name, o in again.optimisers.items()} == {
        name: o.n_steps for name, o in whole.optimisers.items()
    }


@pytest.mark.parametrize("kind", ["autoencoder", "lstm", "module"])
def test_selected_members_go_on_as_if_the_others_had_not_been_there(kind):
    whole, rows = _trained(kind), member_rows(rows_for(kind), 3)
    generators = member_generators([1, 2])
    states = [whole.generators[k].get_state() for k in (2, 0)]
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    some = whole.select(torch.tensor([2, 0]), generators)
    before = _parameters(whole)
    some.train(member_rows(rows_for(kind), 2))
    assert all(torch.equal(a, b) for a, b in zip(before, whole.network.parameters(), strict=True))
    whole.train(rows)
    for place, k in enumerate((2, 0)):
        for a, b in zip(some.network.parameters(), whole.network.parameters(), strict=True):
            assert torch.equal(a[place], b[k])


@kinds
def test_released_parameters_have_memory_of_their_own(kind):
    trainer = _trained(kind, n_epochs=1)
    parameters = [
        p for part in trainer.objective.trained(trainer.network).values() for p in part.parameters()
    ]
    before = [p.clone() for p in parameters]
    assert any(p.untyped_storage().nbytes() > 4 * p.numel() for p in parameters)
    trainer.release()
    assert all(p.untyped_storage().nbytes() == 4 * p.numel() for p in parameters)
    assert all(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))


@kinds
def test_rows_that_are_made_when_asked_for_train_as_held_ones_do(kind):
    X = rows_for(kind).numpy()
    scaler = ColumnScaler(None).fit(csr_array(X))
    lazy, held = trainer_of(kind, SEEDS), trainer_of(kind, SEEDS)
    lazy.train(LazyRows(csr_array(X), scaler, CPU).of_members(None, 3), 2)
    held.train(member_rows(rows_for(kind), 3), 2)
    for a, b in zip(lazy.network.parameters(), held.network.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_epochs_are_rounds_whose_rows_the_objective_makes():
    trainer = trainer_of("gaussian", SEEDS)
    training = Epochs(trainer, member_rows(rows_for("gaussian"), 3))
    run(training, 2, Session())
    assert [row["epoch"] for row in training.history] == [1, 2]
    assert set(training.history[0]) == {"epoch", "error", "kl", "variance"}


def test_only_what_is_trained_changes():
    trainer = trainer_of("encoder", SEEDS)
    before = _parameters(trainer)
    trainer.train(member_rows(rows_for("encoder"), 3))
    encoder = set(map(id, trainer.network.encoder.parameters()))
    for old, new in zip(before, trainer.network.parameters(), strict=True):
        assert torch.equal(old, new) == (id(new) not in encoder)


@pytest.mark.parametrize(
    "returned",
    [
        lambda error: error,
        lambda error: (error.sum(), error[None]),
        lambda error: (error, error),
        lambda error: (error, error[None], error),
    ],
)
def test_a_loss_of_the_wrong_shape_is_told(returned):
    class Wrong(Reconstruction):
        def loss(self, part, network, x, noise):
            return returned((network(x) - x).square().sum(dim=(1, 2)))

    generators = member_generators([0, 1])
    network = MemberAutoencoder(5, (2,), "tanh", "identity", generators, CPU)
    trainer = Trainer(network, Wrong(3.0), lr=1e-3, batch_size=8, generators=generators)
    with pytest.raises(TypeError, match=r"Wrong\.loss must return a loss for each member"):
        trainer.train(HeldMemberRows(torch.randn(2, 20, 5)))
