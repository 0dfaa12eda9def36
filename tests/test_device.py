import pytest
import torch

from skrdae._device import resolve_device


def test_names_and_objects():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else None
    if expected is None and not torch.backends.mps.is_available():
        expected = "cpu"
    assert expected is None or resolve_device("auto").type == expected


@pytest.mark.parametrize(
    ("device", "error"),
    [
        ("toaster", ValueError),
        ("cuda:77", ValueError),
        ("meta", ValueError),
        ("hpu", ValueError),
        (None, TypeError),
    ],
)
def test_what_is_not_there_is_an_error(device, error):
    with pytest.raises(error, match="device"):
        resolve_device(device)
