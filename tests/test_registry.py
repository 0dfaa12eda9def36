import inspect

import pytest
from sklearn.base import BaseEstimator, clone

import skrdae
from skrdae import registry
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.registry import DETECTORS, detector, parameters


@pytest.fixture
def detectors(monkeypatch):
    """The registry, which is afterwards as it was."""
    monkeypatch.setattr(registry, "DETECTORS", dict(DETECTORS))
    return registry.DETECTORS


def test_the_package_registers_its_detectors_of_rows():
    names = {
        "AnoGANDetector",
        "ConvRobustAutoencoder",
        "DenoisingDetector",
        "LSTMRobustAutoencoder",
        "LSTMVAEDetector",
        "OmniAnomalyDetector",
        "RobustDeepAutoencoder",
        "RobustDeepAutoencoderCV",
        "RobustPCA",
        "TransformerRobustAutoencoder",
        "USADDetector",
        "VAEDetector",
    }
    made = {name: getattr(skrdae, name) for name in names}
    assert {name: DETECTORS[name] for name in names} == made


def test_annotated_attributes_become_keyword_parameters(detectors):
    @detector
    class Own(BaseRobustAutoencoder):
        width: int = 7

    assert detectors["Own"] is Own
    signature = inspect.signature(Own)
    assert signature.parameters["width"].default == 7
    assert signature.parameters["width"].kind == inspect.Parameter.KEYWORD_ONLY
    assert signature.parameters["lam"].kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
    made = Own(2.0, width=9, n_estimators=3)
    assert (made.lam, made.width, made.n_estimators, made.penalty) == (2.0, 9, 3, "l21")
    assert clone(made).get_params() == made.get_params()
    assert set(made.get_params()) == set(signature.parameters)
    with pytest.raises(TypeError, match="wdith"):
        Own(wdith=9)


def test_parameters_are_stored_as_they_are():
    given = [64, 3]

    @parameters
    class Own(BaseRobustAutoencoder):
        hidden_layer_sizes: object = None

    assert Own(hidden_layer_sizes=given).hidden_layer_sizes is given


def test_estimators_are_compared_and_hashed_by_identity():
    one, other = skrdae.RobustDeepAutoencoder(), skrdae.RobustDeepAutoencoder()
    assert one != other
    assert len({one, other}) == 2


def test_a_name_that_is_taken_is_refused(detectors):
    with pytest.raises(ValueError, match="registered as RobustPCA already"):

        @detector
        class RobustPCA(BaseRobustAutoencoder):
            pass

    assert detectors["RobustPCA"] is skrdae.RobustPCA


def test_a_class_that_is_made_again_takes_its_own_place(detectors):
    def make():
        @detector
        class Own(BaseRobustAutoencoder):
            pass

        return Own

    first, second = make(), make()
    assert first is not second
    assert detectors["Own"] is second


def test_a_signature_begins_with_what_is_new():
    @parameters
    class Base(BaseEstimator):
        a: int = 1
        b: int = 2

    @parameters
    class Child(Base):
        a: int = 3  # another default
        c: int = 4

    assert list(inspect.signature(Child).parameters) == ["c", "a", "b"]
    assert Child().get_params() == {"a": 3, "b": 2, "c": 4}


def test_a_script_that_is_imported_too_may_register_twice(monkeypatch):
    monkeypatch.setattr(registry, "DETECTORS", {})
    first = registry.detector(type("Mine", (), {"__module__": "__main__", "__annotations__": {}}))
    second = registry.detector(type("Mine", (), {"__module__": "mine", "__annotations__": {}}))
    assert {"Mine": second} == registry.DETECTORS
    assert first is not second
    with pytest.raises(ValueError, match="registered"):
        registry.detector(type("Mine", (), {"__module__": "other", "__annotations__": {}}))
