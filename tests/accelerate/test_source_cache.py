"""The features of a source are reused for the next frame, and never those of another source."""

import copy
import gc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import internet
from internet.accelerate.source_cache import SourceCache, Weights, _Memory
from tests.support.peers.models import MODELS, tensors


class Encoder(nn.Module):
    """An encoder that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.conv(x)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder().eval()


@pytest.fixture
def ask(encoder) -> Callable[[Tensor], int]:
    """Get a source's features from the cache and check them; returns how often the encoder was called."""
    cache: SourceCache[Tensor] = SourceCache()

    def ask(source: Tensor) -> int:
        calls = encoder.calls
        features = cache.get(source, [encoder], encoder)
        done = encoder.calls - calls
        torch.testing.assert_close(features, encoder(source), rtol=0, atol=0)
        return done

    return ask


@pytest.fixture
def source() -> Tensor:
    return torch.rand(1, 3, 4, 4)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def test_a_source_is_encoded_once(ask, source):
    assert [ask(source) for _ in range(3)] == [1, 0, 0]


def test_views_and_equal_copies_are_the_same_source(ask, source):
    ask(source)
    assert ask(source[:]) == ask(source.clone()) == ask(source.detach()) == 0


def test_one_source_is_kept(ask, source):
    other = source + 1
    assert [ask(source), ask(other), ask(source), ask(source)] == [1, 1, 1, 0]


def write_in_place(source: Tensor) -> None:
    source.add_(1)


def write_past_the_counter(source: Tensor) -> None:
    source.data.add_(1)


def write_through_numpy(source: Tensor) -> None:
    source.numpy()[0, 0, 0, 0] += 1


def write_through_a_view(source: Tensor) -> None:
    source[0, 1].zero_()


@pytest.mark.parametrize("write", [write_in_place, write_past_the_counter, write_through_numpy, write_through_a_view])
def test_a_source_that_is_written_to_is_another(ask, source, write):
    ask(source)
    write(source)
    assert [ask(source), ask(source)] == [1, 0]


def test_a_new_source_at_the_same_address(ask):
    """Frames that are decoded into the memory of the previous frame."""
    addresses = set()
    for i in range(20):
        source = torch.full((1, 3, 64, 64), float(i))
        addresses.add(source.data_ptr())
        assert ask(source) == 1
        del source
        gc.collect()
    assert len(addresses) < 20, "every source had memory of its own: nothing was tested"


def test_a_numpy_array_that_is_filled_again(ask):
    array = np.zeros((1, 3, 4, 4), dtype=np.float32)
    for i in range(3):
        array.fill(i)
        assert ask(torch.from_numpy(array)) == 1


def test_other_shape_dtype_or_strides(ask, encoder, source):
    ask(source)
    assert ask(source[:, :, :2]) == 1
    assert ask(source.contiguous(memory_format=torch.channels_last)) == 1
    encoder.double()
    assert ask(source.double()) == 1


def test_not_a_number_is_never_the_same(ask, source):
    source[0, 0, 0, 0] = torch.nan
    cache: SourceCache[Tensor] = SourceCache()
    calls = []
    for _ in range(2):
        cache.get(source, [], lambda source: calls.append(1) or source)
    assert len(calls) == 2


def write_past_the_counter(encoder: Encoder) -> None:
    encoder.conv.weight.data.mul_(0.9)


def write_one_value_past_the_counter(encoder: Encoder) -> None:
    encoder.conv.weight.data[1, 2, 0, 0] += 1e-6


def write_through_numpy(encoder: Encoder) -> None:
    encoder.conv.weight.detach().numpy()[0, 1] *= 2


def put_averaged_weights_in(encoder: Encoder) -> None:
    for weight in encoder.parameters():
        weight.data.copy_(weight.data.lerp(torch.ones_like(weight), 0.1))


def step_of_an_optimizer(encoder: Encoder) -> None:
    encoder.conv.weight.grad = torch.ones_like(encoder.conv.weight)
    torch.optim.SGD(encoder.parameters(), lr=1).step()


def load_other_weights(encoder: Encoder) -> None:
    encoder.load_state_dict(Encoder().state_dict())


def give_it_another_parameter(encoder: Encoder) -> None:
    encoder.conv.bias = nn.Parameter(encoder.conv.bias + 1)


def give_its_parameter_other_memory(encoder: Encoder) -> None:
    encoder.conv.bias.data = encoder.conv.bias.data + 1


def give_it_another_layer(encoder: Encoder) -> None:
    encoder.conv = nn.Conv2d(3, 2, 1)
    encoder.eval()


@pytest.mark.parametrize(
    "change",
    [
        write_past_the_counter,
        write_one_value_past_the_counter,
        write_through_numpy,
        put_averaged_weights_in,
        step_of_an_optimizer,
        load_other_weights,
        give_it_another_parameter,
        give_its_parameter_other_memory,
        give_it_another_layer,
    ],
)
def test_changed_weights(ask, source, encoder, change):
    ask(source)
    change(encoder)
    assert [ask(source), ask(source)] == [1, 0]


def test_weights_at_the_address_of_earlier_ones(ask, source, encoder):
    """Memory stays allocated while it is compared: an address alone would not distinguish these."""
    for i in range(10):
        encoder.conv.bias.data = torch.full((2,), float(i))
        assert ask(source) == 1


def test_weights_of_inference_mode_count_no_writes(source):
    with torch.inference_mode():
        encoder = Encoder().eval()
        cache: SourceCache[Tensor] = SourceCache()
        cache.get(source, [encoder], encoder)
        encoder.conv.bias.add_(1)
        torch.testing.assert_close(cache.get(source, [encoder], encoder), encoder(source))


def test_other_settings(ask, source):
    ask(source)
    with torch.autocast("cpu", torch.bfloat16):
        assert [ask(source), ask(source)] == [1, 0]
    with torch.inference_mode():
        assert ask(source) == 1
    assert ask(source) == 1


def test_not_where_gradients_may_be_asked_for(ask, source):
    with torch.enable_grad():
        assert [ask(source), ask(source)] == [1, 1]


def test_not_in_training(ask, source, encoder):
    encoder.train()
    assert [ask(source), ask(source)] == [1, 1]


def test_not_where_somebody_waits_for_a_call(ask, source, encoder):
    ask(source)
    handle = encoder.conv.register_forward_hook(lambda *_: None)
    assert ask(source) == 1
    handle.remove()
    assert ask(source) == 0


def test_not_where_somebody_waits_for_all_calls(ask, source):
    ask(source)
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert ask(source) == 1
    handle.remove()
    assert ask(source) == 0


def test_what_was_written_into_is_not_given_again(encoder, source):
    cache: SourceCache[list[Tensor]] = SourceCache()
    for _ in range(3):
        (features,) = cache.get(source, [encoder], lambda source: [encoder(source)])
        torch.testing.assert_close(features, encoder(source), rtol=0, atol=0)
        features.add_(1)


def test_not_under_transforms(encoder, source):
    cache: SourceCache[Tensor] = SourceCache()
    several = torch.stack([source, source + 1])
    made = torch.func.vmap(lambda source: cache.get(source, [encoder], encoder))(several)
    torch.testing.assert_close(made, torch.stack([encoder(source) for source in several]))


def test_memory_that_is_not_the_cpus_is_known_by_its_counter(source):
    memory = _Memory(source)
    assert memory.is_unchanged_in(source)
    assert memory.is_unchanged_in(source[:])
    assert not memory.is_unchanged_in(source.clone())
    assert not memory.is_unchanged_in(source[:, :2])
    source.add_(1)
    assert not memory.is_unchanged_in(source)
    with torch.inference_mode():
        uncounted = torch.rand(3)
    assert not _Memory(uncounted).is_unchanged_in(uncounted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_model_that_moves_to_a_gpu_and_back(ask, source, encoder):
    ask(source)
    for device in ("cuda", "cpu", "cuda"):
        encoder.to(device)
        moved = source.to(device)
        assert [ask(moved), ask(moved)] == [1, 0]
        moved.add_(1)
        assert ask(moved) == 1


def test_weights_are_compared_in_order(encoder):
    weights = Weights([encoder])
    assert weights.are_those_of([encoder])
    assert not weights.are_those_of([encoder, encoder])
    assert not weights.are_those_of([copy.deepcopy(encoder)])


MOTION = MODELS["first-order-motion"]


@pytest.mark.parametrize("name", MODELS)
def test_a_models_weights_that_are_written_past_the_counter(name: str):
    """As when averaged weights are swapped in for validation, and out again."""
    sample = MODELS[name]
    model = sample.model().eval()
    internet.accelerate(model)
    source, frame = sample.images()
    model(source, frame)
    for weight in model.parameters():
        weight.data.mul_(0.9)
    theirs = sample.model().eval()
    theirs.load_state_dict(model.state_dict())
    for key, tensor in tensors(model(source, frame)).items():
        torch.testing.assert_close(tensor, tensors(theirs(source, frame))[key], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_weights_of_a_model_that_are_loaded(name: str):
    """Folded weights are computed again, too."""
    sample = MODELS[name]
    model = sample.model().eval()
    internet.accelerate(model)
    source, frame = sample.images()
    model(source, frame)
    theirs = sample.make().double().eval()
    model.load_state_dict(theirs.state_dict())
    for key, tensor in tensors(theirs(source, frame)).items():
        torch.testing.assert_close(tensors(model(source, frame))[key], tensor, rtol=1e-9, atol=1e-9)


def test_a_model_without_the_cache():
    model = MOTION.model().eval()
    internet.accelerate(model, cache_source=False)
    source, frame = MOTION.images()
    model(source, frame)
    assert model.generator._source_cache._entry is None
    internet.accelerate(model)
    model(source, frame)
    assert model.generator._source_cache._entry is not None


def test_copies_of_a_model_begin_with_nothing():
    model = MOTION.model().eval()
    internet.accelerate(model)
    model(*MOTION.images())
    assert copy.deepcopy(model).generator._source_cache._entry is None
