import numpy as np
import pytest
import torch
from trainings import rows_for, trainer_of

from skrdae.detectors.labelling import judged, label
from skrdae.model import FittedModel
from skrdae.penalties import L21
from skrdae.preprocessing import ColumnScaler
from skrdae.scorers.residual import ResidualScorer


class _Above:
    """As pythresh has it: 1 for what is above twice the mean."""

    def fit(self, scores):
        self.limit_ = 2 * np.mean(scores)
        self.labels_ = self.predict(scores)
        return self

    def predict(self, scores):
        return (np.asarray(scores) > self.limit_).astype(int)

    eval = predict


@pytest.fixture(scope="module")
def model():
    X = rows_for("module").double().numpy()
    scorer = ResidualScorer(3.0, L21(), torch.tensor([1.0, 1.5, 2.0]))
    network = trainer_of("module", [0, 1, 2]).network
    return FittedModel(ColumnScaler("standard").fit(X), network, scorer, np.full(3, 1 / 3))


@pytest.fixture(scope="module")
def rows(model):
    return model.rows(rows_for("module").double().numpy())


@pytest.fixture(scope="module")
def scores(model, rows):
    return model.weighted(model.map(model.scorer.scores, rows))


def test_a_share_flags_that_many_rows(model, scores, rows):
    found = judged(model, scores, 0.2, rows)
    assert set(found) == {"model_", "decision_scores_", "labels_", "threshold_"}
    assert found["labels_"].sum() == 10
    assert np.array_equal(found["labels_"], scores > found["threshold_"])
    assert (found["model_"].share, found["model_"].by_vote) == (0.2, False)
    assert found["decision_scores_"] is scores


def test_auto_lets_the_members_vote(model, scores, rows):
    found = judged(model, scores, "auto", rows)
    votes = model.votes(rows)
    assert 0 < votes.sum() < len(votes)
    assert np.array_equal(found["labels_"], votes)
    assert found["model_"].by_vote
    assert found["model_"].share == pytest.approx(votes.mean())
    assert np.array_equal(label(found["model_"], scores, np.nan, rows), votes)


def test_the_score_from_which_on_members_vote_is_the_threshold_if_there_is_one(model, scores, rows):
    assert judged(model, scores, "auto", rows, 1.25)["threshold_"] == 1.25
    told = judged(model, scores, "auto", rows)["threshold_"]
    assert scores.min() <= told <= scores.max()


def test_a_pythresh_object_is_copied_and_sets_the_threshold(model, scores, rows):
    given = _Above()
    found = judged(model, scores, given, rows)
    assert not hasattr(given, "limit_")
    assert found["thresholder_"].limit_ == pytest.approx(2 * scores.mean())
    assert np.array_equal(found["labels_"], scores > 2 * scores.mean())
    assert found["model_"].share == pytest.approx(found["labels_"].mean())


def test_a_row_without_a_score_is_not_above_the_threshold(model, rows):
    assert label(model, np.array([np.nan, 1.0, 3.0]), 2.0, rows).tolist() == [0, 0, 1]
