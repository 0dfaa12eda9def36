import pytest
import torch
from trainings import CPU, assert_member, member_rows, plane, rows_for, trainer_of

from skrdae._random import member_generators
from skrdae.networks.gan import MemberGAN
from skrdae.objectives.adversarial import BidirectionalGAN, GeneratorInversion, HingeGAN
from skrdae.training import trainer as module
from skrdae.training.rounds import Session, run
from skrdae.training.trainer import Epochs, Trainer

OPTIONS = {"batch_size": 32, "lr": 2e-3}


def _network(d, generators, sizes=(8,), latent_dim=2, critic=(6, 4), joint=False):
    shape = d, sizes, latent_dim, critic, "tanh", "identity", True
    return MemberGAN(*shape, generators, CPU, joint)


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


def _pairs(network, x, z):
    """What the discriminator says of (x, E(x)) and (G(z), z), written from the formulas."""

    def through(layers, h):
        pairs = list(zip(layers.weights, layers.biases, strict=True))
        for number, (weight, bias) in enumerate(pairs):
            h = torch.einsum("knd,kde->kne", h, weight) + bias
            h = torch.tanh(h) if number + 1 < len(pairs) else h
        return h

    real = torch.cat([x, through(network.encoder, x)], dim=2)
    fake = torch.cat([through(network.generator, z), z], dim=2)
    return tuple(through(network.discriminator, pairs)[..., 0] for pairs in (real, fake))


def test_pairs_are_told_apart_by_the_hinges():
    trainer = trainer_of("pairs", [3, 4])
    network, objective = trainer.network, trainer.objective
    assert network.joint
    x, noise = rows_for("pairs").expand(2, -1, -1), torch.randn(2, 50, 3)
    real, fake = _pairs(network, x, noise)
    assert 0 < (real < 1).double().mean() < 1  # some on either side of the hinge
    expected = {
        "critic": torch.relu(1 - real).mean(dim=1) + torch.relu(1 + fake).mean(dim=1),
        "maker": -fake.mean(dim=1),
        "coder": real.mean(dim=1),
    }
    assert list(objective.trained(network)) == list(expected)
    for part, right in expected.items():
        loss, measures = objective.loss(part, network, x, noise)
        torch.testing.assert_close(loss, right)
        torch.testing.assert_close(measures, 50 * right[None])
    record = objective.record(3, [1.5, -0.25, 0.75])
    assert record == {"epoch": 3, "discriminator_loss": 1.5, "generator_loss": 0.5}


def test_an_untrained_discriminator_tells_pairs_apart_as_chance_does():
    network = _network(5, member_generators(range(400)), latent_dim=2, joint=True)
    objective = BidirectionalGAN(network)
    x, noise = rows_for("pairs", 40).expand(400, -1, -1), torch.randn(400, 40, 2)
    real, fake = _pairs(network, 0.3 * x, noise)
    says_real = (real[:, :, None] > fake[:, None]).double().mean(dim=(1, 2))  # shape: (K,)
    assert abs(says_real.mean() - 0.5) < 3 * says_real.std() / 20
    loss, _ = objective.loss("critic", network, 0.3 * x, noise)
    # What is lost by one that says 0 of all pairs; a hinge makes it a little more.
    assert abs(loss.mean() - 2) < 3 * loss.std() / 20 + 0.05
    shared = sum(objective.loss(part, network, 0.3 * x, noise)[0] for part in ("maker", "coder"))
    assert abs(shared.mean()) < 3 * shared.std() / 20


def test_each_part_of_a_bidirectional_gan_steps_along_its_own_half():
    trainer = trainer_of("pairs", [3, 4])
    network, objective = trainer.network, trainer.objective
    x, noise = rows_for("pairs").expand(2, -1, -1), torch.randn(2, 50, 3)
    network.requires_grad_()
    with torch.enable_grad():
        real, fake = _pairs(network, x, noise)
        shared = (real - fake).mean(dim=1).sum()  # of which generator and encoder each have half
        hinges = (torch.relu(1 - real) + torch.relu(1 + fake)).mean(dim=1).sum()
        for part, module in objective.trained(network).items():
            weights = list(module.parameters())
            right = torch.autograd.grad(
                hinges if part == "critic" else shared, weights, retain_graph=True
            )
            loss, _ = objective.loss(part, network, x, noise)
            found = torch.autograd.grad(loss.sum(), weights)
            for a, b in zip(found, right, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
        # The discriminator's loss leaves both alone.
        loss, _ = objective.loss("critic", network, x, noise)
        others = [*network.generator.parameters(), *network.encoder.parameters()]
        assert set(torch.autograd.grad(loss.sum(), others, allow_unused=True)) == {None}


def test_the_bidirectional_gan_learns_to_invert():
    # Rows in a plane: with their codes from the encoder, they are near what is made of these.
    data, generators = plane(300), member_generators([0])
    network = _network(5, generators, sizes=(32,), critic=(32, 16), joint=True)
    error = []

    def watch(_):
        made = network.generator(network.encoder(data[None]))
        error.append((made - data).square().sum(dim=-1).mean().item())

    trainer = Trainer(network, BidirectionalGAN(network), generators=generators, **OPTIONS)
    run(Epochs(trainer, member_rows(data, 1)), 200, Session(watch))
    assert error[-1] < 0.5 * error[0]


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
