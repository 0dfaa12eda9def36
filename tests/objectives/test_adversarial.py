import pytest
import torch
from trainings import CPU, assert_member, member_rows, plane, rows_for, trainer_of

from skrdae._random import member_generators
from skrdae.networks.gan import MemberGAN
from skrdae.objectives.adversarial import GeneratorInversion, HingeGAN
from skrdae.training import trainer as module
from skrdae.training.rounds import Session, run
from skrdae.training.trainer import Epochs, Trainer

OPTIONS = {"batch_size": 32, "lr": 2e-3}


def _network(d, generators, sizes=(8,), latent_dim=2, critic=(6, 4)):
    return MemberGAN(d, sizes, latent_dim, critic, "tanh", "identity", True, generators, CPU)


def _train(data, seeds, n_epochs=4, n_encoder_epochs=3, **shape):
    generators = member_generators(seeds)
    network = _network(data.shape[1], generators, **shape)
    rows, histories = member_rows(data, len(seeds)), []
    for objective, n in ((HingeGAN(network), n_epochs), (GeneratorInversion(), n_encoder_epochs)):
        training = Epochs(Trainer(network, objective, generators=generators, **OPTIONS), rows)
        run(training, n, Session())
        histories.append(training.history)
    return network, *histories


def test_the_losses_are_the_hinges_of_the_discriminator_and_what_it_says_of_the_generator():
    trainer = trainer_of("gan", [3, 4])
    network, objective = trainer.network, trainer.objective
    x, noise = rows_for("gan").expand(2, -1, -1), torch.randn(2, 50, 2)
    real, fake = network.discriminator(x), network.discriminator(network.generator(noise))
    hinge = torch.relu(1 - real).sum(dim=(1, 2)) + torch.relu(1 + fake).sum(dim=(1, 2))
    assert 0 < (real < 1).double().mean() < 1  # some on either side of the hinge
    loss, measures = objective.loss("critic", network, x, noise)
    torch.testing.assert_close(loss, hinge / 50)
    torch.testing.assert_close(measures, hinge[None])
    loss, measures = objective.loss("maker", network, x, noise)
    torch.testing.assert_close(loss, -fake.mean(dim=(1, 2)))
    torch.testing.assert_close(measures, -fake.sum(dim=(1, 2))[None])


def test_the_discriminators_loss_leaves_the_generator_alone():
    network = trainer_of("gan", [3]).network
    objective = HingeGAN(network)
    network.requires_grad_()
    with torch.enable_grad():
        loss, _ = objective.loss("critic", network, rows_for("gan")[None], torch.randn(1, 50, 2))
        loss.sum().backward()
    assert all(p.grad is None for p in network.generator.parameters())
    assert any(p.grad.any() for p in network.discriminator.parameters())


def test_the_encoders_loss_is_that_of_rows_and_of_features():
    network = trainer_of("encoder", [3, 4]).network
    x = rows_for("encoder").expand(2, -1, -1)
    loss, measures = GeneratorInversion().loss("adam", network, x, torch.empty(2, 50, 0))
    made = network.generator(network.encoder(x))
    on_x, on_made = (network.features(rows)[-1] for rows in (x, made))
    error, by_feature = (made - x).square().sum(dim=-1), (on_made - on_x).square().sum(dim=-1)
    torch.testing.assert_close(loss, (error + 5 / 4 * by_feature).mean(dim=1))
    torch.testing.assert_close(measures, torch.stack([error.sum(dim=1), by_feature.sum(dim=1)]))


@pytest.mark.parametrize("way", ["compiled", "stacked"])
def test_spectral_norms_stay_near_one(way, monkeypatch):
    if way == "stacked":
        monkeypatch.setattr(module, "epoch_kernel", lambda network, objective: None)
    generators = member_generators([0, 1])
    network = _network(5, generators, sizes=(32,), critic=(64, 32))
    largest = []

    def watch(_):  # after ten steps, of which the last is followed by a bound
        weights = network.discriminator.weights
        largest.append(max(torch.linalg.matrix_norm(w, 2).max() for w in weights))

    trainer = Trainer(network, HingeGAN(network), generators=generators, **OPTIONS)
    run(Epochs(trainer, member_rows(plane(300), 2)), 50, Session(watch))
    assert len(largest) == 50
    assert max(largest) < 1.4
    assert largest[-1] < 1.02


def test_rows_of_the_histories():
    objective = HingeGAN(trainer_of("gan", [0]).network)
    expected = {"epoch": 1, "discriminator_loss": 2.0, "generator_loss": 0.5}
    assert objective.record(1, [2.0, 0.5]) == expected
    expected = {"epoch": 4, "error": 3.0, "feature_error": 1.0}
    assert GeneratorInversion().record(4, [3.0, 1.0]) == expected


@pytest.mark.parametrize(
    ("sizes", "latent_dim", "critic", "d"),
    [((8,), 2, (6, 4), 5), ((12, 1), 1, (5,), 3), ((300,), 4, (280, 30), 60)],
)
def test_a_member_is_the_same_fit_made_alone(sizes, latent_dim, critic, d):
    options = {"sizes": sizes, "latent_dim": latent_dim, "critic": critic}
    stacked, *_ = _train(plane(70, d), [5, 6, 7], **options)
    for k, seed in enumerate([5, 6, 7]):
        alone, *_ = _train(plane(70, d), [seed], **options)
        assert_member(stacked, k, alone)


def test_the_generator_learns_where_the_data_are():
    generator = torch.Generator().manual_seed(0)
    centre = torch.tensor([3.0, -2.0, 0.5, 4.0])
    scale = torch.tensor([0.5, 0.3, 1.0, 0.4])
    data = centre + scale * torch.randn(600, 4, generator=generator)
    network, history, _ = _train(
        data, [0, 1], n_epochs=150, sizes=(32,), critic=(32, 16), latent_dim=4
    )
    z = torch.randn(2, 1000, 4, generator=generator)
    made = network.generator(z)
    assert (made.mean(dim=(0, 1)) - centre).abs().max() < 0.8
    assert (made.std(dim=1).mean(dim=0) / scale).log().abs().max() < 1.0
    assert len(history) == 150
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in history)
    norms = [torch.linalg.matrix_norm(w, 2).max() for w in network.discriminator.weights]
    assert max(norms) < 1.1


def test_the_encoder_learns_and_leaves_generator_and_discriminator_alone():
    data, generators = plane(300), member_generators([0])
    network = _network(5, generators, sizes=(16,))
    rows, options = member_rows(data, 1), {"generators": generators, **OPTIONS}
    run(Epochs(Trainer(network, HingeGAN(network), **options), rows), 60, Session())
    frozen = [p.clone() for n in (network.generator, network.discriminator) for p in n.parameters()]
    training = Epochs(Trainer(network, GeneratorInversion(), **options), rows)
    run(training, 30, Session())
    history = training.history
    after = [p for n in (network.generator, network.discriminator) for p in n.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(frozen, after, strict=True))
    assert history[-1]["error"] < 0.5 * history[0]["error"]
    assert history[-1]["feature_error"] < history[0]["feature_error"]
