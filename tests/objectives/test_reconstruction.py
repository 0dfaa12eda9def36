import torch
from trainings import rows_for, trainer_of

from skrdae.objectives.reconstruction import Reconstruction, SparseReconstruction


def test_the_loss_is_the_mean_squared_error_of_a_row():
    network = trainer_of("module", [0, 1]).network
    x = torch.stack([rows_for("module", 20), -rows_for("module", 20)])
    loss, measures = Reconstruction(1.5).loss("adam", network, x, torch.empty(2, 20, 0))
    assert x.abs().max() > 1.5  # some values are clipped, as input and as target
    shown = x.clamp(-1.5, 1.5)
    for k in range(2):
        error = sum(((network(shown)[k, i] - shown[k, i]) ** 2).sum() for i in range(20))
        torch.testing.assert_close(loss[k], error / 20)
        torch.testing.assert_close(measures[0, k], error)


def test_rows_are_not_overwritten_and_measures_are_detached():
    network = trainer_of("module", [0]).network.requires_grad_()
    x = 10 * rows_for("module", 20)[None]
    before = x.clone()
    with torch.enable_grad():
        loss, measures = Reconstruction(1.5).loss("adam", network, x, torch.empty(1, 20, 0))
    assert torch.equal(x, before)
    assert loss.requires_grad
    assert not measures.requires_grad


def test_a_row_of_the_history_is_numbered_and_has_the_loss():
    assert Reconstruction(1.5).record(3, [0.25]) == {"epoch": 3, "loss": 0.25}


def test_it_needs_no_noise_and_trains_the_whole_network():
    network = trainer_of("autoencoder", [0]).network
    objective = Reconstruction(1.5)
    assert objective.noise_size(network) == 0
    assert objective.trained(network) == {"adam": network}
    assert objective.tensors() == []


def test_the_penalty_is_the_norm_of_the_code():
    network = trainer_of("module", [0, 1]).network
    x = rows_for("module", 20).expand(2, -1, -1)
    plain, error = Reconstruction(1.5).loss("adam", network, x, torch.empty(2, 20, 0))
    loss, measures = SparseReconstruction(1.5, 0.7).loss("adam", network, x, torch.empty(2, 20, 0))
    for k in range(2):
        codes = network.encode(x.clamp(-1.5, 1.5))[k]
        norms = sum(abs(unit) for code in codes.tolist() for unit in code)
        assert abs(loss[k] - plain[k] - 0.7 * norms / 20) < 1e-4
    assert torch.equal(measures, error)  # the history tells of the error alone
