"""Files and pickles of version 0.1, in ``data/format_1.zip``.

They were made by fitting small detectors of that version to the 24 rows ``X`` of ``expected.npz``:
one hidden layer of two units (LSTM: one), one or two members, one iteration or epoch,
``random_state=0``, and otherwise as the names say: ``warm`` with ``warm_start=True``, ``stream`` by
``partial_fit`` in two chunks of twelve rows, ``columns`` with ``penalty="l21_features"``. Each was
written by ``save``, or pickled, and its scores of X stored under its name; under ``further`` are
those after another iteration, epoch or chunk X.
"""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from edited_file import EditedFile, refused

from skrdae import load, save

ARCHIVE = Path(__file__).parent / "data" / "format_1.zip"
with zipfile.ZipFile(ARCHIVE) as _archive:
    CONTENTS = {name: _archive.read(name) for name in _archive.namelist()}
with np.load(io.BytesIO(CONTENTS["expected.npz"])) as _arrays:
    EXPECTED = dict(_arrays)
X = EXPECTED["X"]
FILES = [Path(name).stem for name in CONTENTS if name.endswith(".safetensors")]
PICKLES = [name for name in CONTENTS if name.endswith(".pickle")]
OF_GAN = "ignore:.*holds a training of AnoGANDetector"
# Bit for bit on the processor that they were made on; others round otherwise.
same = np.testing.assert_allclose


def test_there_are_files_of_every_detector():
    assert len(FILES) == 15
    assert len(PICKLES) == 2


# Which is the case on other versions of it.
@pytest.mark.filterwarnings("ignore:.*holds estimators of scikit-learn")
@pytest.mark.filterwarnings(OF_GAN)
@pytest.mark.parametrize("name", FILES)
def test_a_file_scores_as_it_did(name, tmp_path):
    (tmp_path / "file").write_bytes(CONTENTS[f"{name}.safetensors"])
    detector = load(tmp_path / "file")
    scores = detector.decision_function(X)
    same(scores, EXPECTED[name], rtol=1e-5)
    if name != "windows":
        assert 0 < (detector.predict(X) == 1).sum() < 24
    save(detector, tmp_path / "new")
    assert np.array_equal(load(tmp_path / "new").decision_function(X), scores)


@pytest.mark.parametrize("name", ["robust_stream", "vae_stream"])
def test_a_stream_goes_on(name, tmp_path):
    (tmp_path / "file").write_bytes(CONTENTS[f"{name}.safetensors"])
    detector = load(tmp_path / "file").partial_fit(X)
    same(detector.decision_function(X), EXPECTED[f"{name}, further"], rtol=1e-4)


@pytest.mark.parametrize("name", ["robust_one_warm", "vae_warm"])
def test_a_training_goes_on_in_the_version_that_began_it(name, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(CONTENTS[f"{name}.safetensors"])
    detector = load(tmp_path / "file")
    longer = {"max_iter": 2} if name.startswith("robust") else {"n_epochs": 2}
    monkeypatch.setattr("skrdae.detectors.resuming.__version__", "99.0")
    with pytest.raises(ValueError, match=r"version=0\.1\.0\.dev0, and here it is 99\.0: set warm"):
        detector.set_params(**longer).fit(X)
    monkeypatch.setattr("skrdae.detectors.resuming.__version__", "0.1.0.dev0")
    detector.fit(X)
    same(detector.decision_function(X), EXPECTED[f"{name}, further"], rtol=1e-4)


def test_a_training_of_a_gan_begins_anew(tmp_path):
    (tmp_path / "file").write_bytes(CONTENTS["gan_warm.safetensors"])
    with pytest.warns(UserWarning, match="the next fit begins anew"):
        detector = load(tmp_path / "file")
    assert not hasattr(detector, "_kept")
    assert detector.warm_start
    assert len(detector.fit(X).history_) == 1


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_is_refused(name):
    with pytest.raises(ValueError, match=r"was pickled by skrdae 0\.1\. Load it with skrdae==0\.1"):
        pickle.loads(CONTENTS[name])


@pytest.mark.parametrize(
    ("name", "attributes"),
    {
        "robust": ["_weights", "_lam", "_share", "_penalty", "scaler_", "network_", "device_"],
        "vae": ["_variance", "_draws", "_level", "_likelihood"],
        "gan_hybrid": ["_searches", "_n_search_iter", "_lam"],
    }.items(),
)
def test_a_file_without_an_attribute_is_refused(name, attributes, tmp_path):
    for attribute in attributes:
        (tmp_path / "file").write_bytes(CONTENTS[f"{name}.safetensors"])
        file = EditedFile(None, tmp_path / "file")
        del file.tree["state"][attribute]
        file.write()
        refused(file, "does not describe a detector")


def test_what_the_upgrade_moves_is_checked(tmp_path):
    for attribute, value in (
        ("_share", 2),
        ("_by_vote", 0),
        ("_lam", None),
        ("scaler_", {"is": "object", "class": "ColumnScaler", "state": []}),
        ("device_", {"is": "device", "name": 3}),
        ("_weights", {"is": "array", "key": "0"}),
    ):
        (tmp_path / "file").write_bytes(CONTENTS["robust.safetensors"])
        file = EditedFile(None, tmp_path / "file")
        file.tree["state"][attribute] = value
        file.write()
        refused(file, "does not describe a detector")
