"""The dictionary that computes some of its values on access."""

import copy
import pickle

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from internet.accelerate.outputs import Outputs


@pytest.fixture
def made() -> list[str]:
    return []


@pytest.fixture
def outputs(made) -> Outputs:
    outputs = Outputs()
    outputs["now"] = torch.zeros(1)

    def make():
        made.append("later")
        return torch.ones(1)

    outputs.later("later", make)
    return outputs


def test_a_value_is_made_once_and_when_it_is_asked_for(outputs, made):
    assert len(outputs) == 2
    assert "later" in outputs
    assert list(outputs) == list(outputs.keys()) == ["now", "later"]
    assert made == []
    assert outputs["later"] is outputs["later"]
    assert outputs.get("later") is outputs["later"]
    assert outputs.get("never", 3) == 3
    assert made == ["later"]


@pytest.mark.parametrize(
    "read",
    [
        lambda o: dict(o),
        lambda o: {**o},
        lambda o: o.copy(),
        lambda o: o | {},
        lambda o: {} | o,
        lambda o: dict(o.items()),
        lambda o: dict(zip(o, o.values(), strict=True)),
        lambda o: copy.copy(o),
        lambda o: copy.deepcopy(o),
        lambda o: pickle.loads(pickle.dumps(o)),
        lambda o: {name: o.pop(name) for name in list(o)},
        lambda o: dict([o.popitem(), o.popitem()]),
        lambda o: {name: o.setdefault(name) for name in o},
        lambda o: (lambda d: d.update(o) or d)({}),
        lambda o: type(o)((name, o[name]) for name in o),
    ],
)
def test_whoever_reads_it_gets_tensors(outputs, read):
    result = read(outputs)
    assert all(type(dict.__getitem__(result, name)) is torch.Tensor for name in result)
    assert result["later"] == 1
    assert result["now"] == 0


def test_it_is_a_dictionary(outputs):
    assert isinstance(outputs, dict)
    assert outputs == {"now": torch.zeros(1), "later": torch.ones(1)}
    assert "tensor([1.])" in repr(outputs)
    outputs["later"] = 5
    assert outputs["later"] == 5
    outputs.update({"more": 6})
    assert outputs.pop("more") == 6
    with pytest.raises(KeyError):
        outputs["more"]


def test_another_dictionary_has_it_without_making_it(outputs, made):
    other = Outputs()
    other.share(outputs, "later", "never")
    other.share({"plain": 1}, "plain")
    assert made == []
    assert list(other) == ["later", "plain"]
    assert other["later"] == 1


def test_transforms_see_what_it_holds(outputs):
    held, form = tree_flatten(outputs)
    assert held == [torch.zeros(1), torch.ones(1)]
    assert tree_unflatten(held, form) == outputs


def test_what_it_would_be_made_of_has_been_written_to():
    image = torch.ones(1)
    outputs = Outputs()
    for name in ("before", "after"):
        outputs.later(name, lambda: image * 2, of=image)
    assert outputs["before"] == 2
    image.zero_()
    assert outputs["before"] == 2
    with pytest.raises(RuntimeError, match=r"'after' is computed when it is read, and the image .* written to since"):
        outputs["after"]


@pytest.mark.parametrize("gradients", [True, False])
def test_it_is_made_with_or_without_gradients_as_it_would_have_been_at_once(gradients):
    x = torch.ones(1, requires_grad=True)
    outputs = Outputs()
    with torch.set_grad_enabled(gradients):
        outputs.later("y", lambda: x * 2)
    with torch.set_grad_enabled(not gradients):
        assert outputs["y"].requires_grad == gradients


def test_it_is_made_in_the_precision_of_autocast():
    x = torch.ones(2, 2)
    outputs = Outputs()
    with torch.autocast("cpu", torch.bfloat16):
        outputs.later("y", lambda: x @ x)
    assert outputs["y"].dtype == torch.bfloat16
