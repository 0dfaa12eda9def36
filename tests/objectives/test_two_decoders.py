import pytest
import torch
from trainings import CPU, assert_member, member_rows, rows_for, trainer_of

from skrdae._random import member_generators
from skrdae.networks.two_decoders import MemberTwoDecoders
from skrdae.objectives.two_decoders import TwoDecodersLoss
from skrdae.training.rounds import Session, run
from skrdae.training.trainer import Epochs

KIND = "two decoders"


def _by_hand(layers, rows, last):
    """Return what a perceptron of pairs of weight and bias makes of rows, with ReLU inside."""
    for weight, bias in layers[:-1]:
        rows = torch.relu(rows @ weight + bias)
    weight, bias = layers[-1]
    return last(rows @ weight + bias)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_losses_are_those_of_the_paper(n):
    """‖·‖² of a window, averaged over the windows, as Audibert et al. weigh it in epoch n."""
    generators = member_generators([3, 4])
    network = MemberTwoDecoders(6, 2, (5, 4), 3, "relu", generators, CPU)
    W = 0.5 * torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0))
    objective = TwoDecodersLoss(torch.full((2,), float(n)))
    for k in range(2):
        E, D1, D2 = (
            [(w[k], b[k]) for w, b in zip(part.weights, part.biases, strict=True)]
            for part in (network.encoder, network.first, network.second)
        )
        z = _by_hand(E, W[k], torch.relu)
        AE1, AE2 = _by_hand(D1, z, torch.tanh), _by_hand(D2, z, torch.tanh)
        AE2AE1 = _by_hand(D2, _by_hand(E, AE1, torch.relu), torch.tanh)
        e1, e2, both = (torch.linalg.norm(W[k] - made, dim=1) ** 2 for made in (AE1, AE2, AE2AE1))
        first = (e1 / n + (1 - 1 / n) * both).mean()
        second = (e2 / n - (1 - 1 / n) * both).mean()
        for part, wanted, measured in (
            ("first", first, [e1.sum(), both.sum()]),
            ("second", second, [e2.sum()]),
        ):
            loss, measures = objective.loss(part, network, W, torch.empty(2, 9, 0))
            torch.testing.assert_close(loss[k], wanted)
            torch.testing.assert_close(measures[:, k], torch.stack(measured))


def test_a_batch_is_two_steps_of_adam_that_share_the_encoder():
    """Two optimisers of torch's, whose gradients do not mix, take the same way."""
    trainer, twin = trainer_of(KIND, [3], batch_size=50), trainer_of(KIND, [3], batch_size=50)
    E, D1, D2 = (
        list(part.parameters())
        for part in (twin.network.encoder, twin.network.first, twin.network.second)
    )
    settings = {"lr": trainer.optimisers["first"].lr, "eps": trainer.optimisers["first"].eps}
    theirs = {
        name: torch.optim.Adam([*E, *decoder], **settings)
        for name, decoder in (("first", D1), ("second", D2))
    }
    rows = rows_for(KIND)
    for epoch in range(1, 6):
        trainer.train(member_rows(rows, 1))
        twin.objective.epoch.fill_(epoch)
        for name, optimiser in theirs.items():
            with torch.enable_grad():
                twin.network.requires_grad_()
                loss, _ = twin.objective.loss(name, twin.network, rows[None], torch.empty(1, 50, 0))
                twin.network.zero_grad()
                loss.sum().backward()
            optimiser.step()
    for a, b in zip(trainer.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_each_decoder_is_moved_by_its_own_loss_alone():
    network = trainer_of(KIND, [3]).network
    objective = TwoDecodersLoss(torch.full((1,), 3.0))
    rows = rows_for(KIND)[None]
    for name, other in (("first", network.second), ("second", network.first)):
        part = objective.trained(network)[name]
        part.requires_grad_()
        with torch.enable_grad():
            loss, _ = objective.loss(name, network, rows, torch.empty(1, 50, 0))
            loss.sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in part.parameters())
        assert all(p.grad is None for p in other.parameters())
        for p in part.parameters():
            p.grad = None
        part.requires_grad_(False)


def test_epochs_are_counted_and_recorded():
    trainer = trainer_of(KIND, [0, 1])
    training = Epochs(trainer, member_rows(rows_for(KIND), 2))
    run(training, 3, Session())
    assert trainer.objective.epoch.tolist() == [3.0, 3.0]
    assert [row["epoch"] for row in training.history] == [1, 2, 3]
    assert set(training.history[0]) == {"epoch", "first_error", "second_error", "both_error"}
    state = training.state()
    # The encoder is in both parts and in the state once.
    assert len(state["tensors"]) == len(list(trainer.network.parameters())) + 1
    again = Epochs(trainer_of(KIND, [0, 1]), member_rows(rows_for(KIND), 2))
    again.restore(state)
    assert again.trainer.objective.epoch.tolist() == [3.0, 3.0]


def test_a_member_is_the_same_trained_alone():
    stacked = trainer_of(KIND, [5, 6, 7])
    stacked.train(member_rows(rows_for(KIND), 3), 4)
    for k, seed in enumerate([5, 6, 7]):
        alone = trainer_of(KIND, [seed])
        alone.train(member_rows(rows_for(KIND), 1), 4)
        assert_member(stacked.network, k, alone.network)
