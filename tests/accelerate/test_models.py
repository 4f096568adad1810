"""Each supported model computes the same when accelerated, in everything that people do with it."""

import copy
import io
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import internet
from internet.accelerate import blocks
from internet.accelerate.replacement import Replacement
from tests.support.peers.models import MODELS, Sample, tensors

ROOT = Path(__file__).parents[2]

every_model = pytest.mark.parametrize("sample", MODELS.values(), ids=MODELS.keys())


def assert_same(theirs: dict[str, Tensor], ours: dict[str, Tensor], tolerance: float = 1e-9) -> None:
    assert theirs.keys() == ours.keys()
    for name in theirs:
        torch.testing.assert_close(
            ours[name], theirs[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def pair(sample: Sample, dtype: torch.dtype = torch.float64, **options) -> tuple[nn.Module, nn.Module]:
    """A model in evaluation mode, and the same accelerated."""
    theirs = sample.model(dtype).eval()
    ours = copy.deepcopy(theirs)
    report = internet.accelerate(ours, **options)
    assert not any("known here" in row.left for row in report.rows), str(report)
    return theirs, ours


@every_model
def test_frames_of_a_clip_are_the_same(sample: Sample):
    theirs, ours = pair(sample)
    source, *frames = sample.images(count=3)
    with torch.no_grad():
        for frame in frames:
            assert_same(tensors(theirs(source, frame)), tensors(ours(source, frame)))


@every_model
def test_frames_are_the_same_where_upsampled_images_are_computed_whole(sample: Sample, monkeypatch: pytest.MonkeyPatch):
    """As on a GPU."""
    monkeypatch.setattr(blocks, "_gains_by_fewer_multiplications", lambda device: False)
    theirs, ours = pair(sample)
    images = sample.images()
    with torch.no_grad():
        assert_same(tensors(theirs(*images)), tensors(ours(*images)))


@every_model
def test_a_batch_is_the_same(sample: Sample):
    theirs, ours = pair(sample)
    source, frame = sample.images(batch=3)
    with torch.no_grad():
        assert_same(tensors(theirs(source, frame)), tensors(ours(source, frame)))


@every_model
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_gradients_are_the_same(sample: Sample, training: bool):
    theirs, ours = pair(sample)
    results = []
    for model in (theirs, ours):
        model.train(training)
        images = [image.clone().requires_grad_() for image in sample.images(batch=2)]
        outputs = tensors(model(*images))
        sum((output * output.detach().sin()).sum() for output in outputs.values()).backward()
        wanted = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        results.append(outputs | wanted | {f"image {i}": image.grad for i, image in enumerate(images)})
    assert_same(*results)


@every_model
def test_single_precision(sample: Sample):
    theirs, ours = pair(sample, torch.float32)
    source, frame = sample.images(torch.float32)
    with torch.inference_mode():
        assert_same(tensors(theirs(source, frame)), tensors(ours(source, frame)), 1e-4)


@every_model
def test_autocast(sample: Sample):
    """On average: their coordinates are matrix products, which autocast rounds to bfloat16; ours are not."""
    theirs, ours = pair(sample, torch.float32)
    source, frame = sample.images(torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, given = (tensors(model(source, frame)) for model in (theirs, ours))
    assert expected.keys() == given.keys()
    for name, tensor in expected.items():
        scale = tensor.float().abs().mean()
        assert (given[name].float() - tensor.float()).abs().mean() < 0.1 * scale, name


@every_model
def test_autocast_leaves_nothing_behind(sample: Sample):
    """Weights that are computed from others under autocast were rounded."""
    theirs, ours = pair(sample, torch.float32)
    source, frame = sample.images(torch.float32)
    with torch.no_grad():
        for enabled in (False, True, False):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                ours(source, frame)
        assert_same(tensors(theirs(source, frame)), tensors(ours(source, frame)), 1e-4)


@every_model
def test_a_model_that_inference_mode_has_seen_can_be_trained(sample: Sample):
    ours = sample.model().eval()
    with torch.inference_mode():
        internet.accelerate(ours)
        ours(*sample.images(batch=2))
    ours.train()
    for _ in range(2):
        sum(output.sum() for output in tensors(ours(*sample.images(batch=2))).values()).backward()
        torch.optim.SGD(ours.parameters(), 1e-9).step()
        with torch.inference_mode():
            internet.accelerate.restore(ours)


@every_model
def test_everything_else_about_a_model_stays(sample: Sample):
    theirs, ours = pair(sample)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    for (name, before), (same_name, after) in zip(theirs.named_modules(), ours.named_modules(), strict=True):
        assert name == same_name
        assert isinstance(after, type(before))
        assert type(after).__name__ == type(before).__name__


@every_model
def test_restored_it_is_what_it_was(sample: Sample):
    theirs = sample.model(torch.float32).eval()
    ours = copy.deepcopy(theirs)
    source, frame = sample.images(torch.float32)
    with torch.no_grad():
        expected = tensors(theirs(source, frame))
        internet.accelerate(ours, compile=True)
        internet.accelerate.restore(ours)
        assert_same(expected, tensors(ours(source, frame)), 0)
    for before, after in zip(theirs.modules(), ours.modules(), strict=True):
        assert type(after) is type(before)
        assert vars(after).keys() == vars(before).keys()
    for before, after in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert after.stride() == before.stride()


@every_model
def test_twice_is_once(sample: Sample):
    theirs, ours = pair(sample)
    classes = [type(module) for module in ours.modules()]
    again = internet.accelerate(ours)
    assert [type(module) for module in ours.modules()] == classes
    assert again.replaced
    source, frame = sample.images()
    with torch.no_grad():
        assert_same(tensors(theirs(source, frame)), tensors(ours(source, frame)))


@every_model
def test_copies(sample: Sample):
    _, ours = pair(sample)
    source, frame = sample.images()
    with torch.no_grad():
        expected = tensors(ours(source, frame))
        saved = io.BytesIO()
        torch.save(ours, saved)
        saved.seek(0)
        for other in (
            copy.deepcopy(ours),
            copy.copy(ours),
            pickle.loads(pickle.dumps(ours)),
            torch.load(saved, weights_only=False),
        ):
            assert [type(module) for module in other.modules()] == [type(module) for module in ours.modules()]
            assert_same(expected, tensors(other(source, frame)), 0)
            internet.accelerate.restore(other)
            assert not any(isinstance(module, Replacement) for module in other.children())
            internet.accelerate(ours)


def test_a_pickle_is_read_in_another_process(tmp_path: Path):
    sample = MODELS["first-order-motion"]
    _, ours = pair(sample)
    source, frame = sample.images()
    with torch.no_grad():
        torch.save((ours, source, frame, ours(source, frame)["prediction"]), tmp_path / "model.pt")
    read = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); torch.set_grad_enabled(False)\n"
        "model, source, frame, prediction = torch.load(sys.argv[2], weights_only=False)\n"
        "assert (model(source, frame)['prediction'] == prediction).all()\n"
        "print(type(model.generator).__mro__[1])\n"
    )
    command = [sys.executable, "-c", read, str(ROOT), str(tmp_path / "model.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "internet.accelerate.first_order" in done.stdout


@every_model
def test_compiled_as_one_graph(sample: Sample):
    theirs, ours = pair(sample)
    source, frame = sample.images()
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
        assert_same(tensors(theirs(source, frame)), tensors(compiled(source, frame)))


@pytest.mark.parametrize("gradients", [False, True])
def test_blocks_do_the_work_of_their_neighbours_when_they_are_compiled_too(gradients: bool, monkeypatch):
    """In inference, but not if gradients of the weights may be requested."""
    theirs, ours = pair(MODELS["first-order-motion"])
    block, x = ours.generator.up_blocks[0], torch.rand(1, 16, 8, 8, dtype=torch.float64)
    made: list[int] = []
    of_upsampled = blocks.of_upsampled
    monkeypatch.setattr(blocks, "of_upsampled", lambda *given: (made.append(1), of_upsampled(*given))[1])
    torch._dynamo.reset()
    with torch.set_grad_enabled(gradients):
        compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), theirs.generator.up_blocks[0](x), rtol=1e-9, atol=1e-9)
    assert len(made) == (0 if gradients else 1)


@pytest.mark.parametrize("name", ["first-order-motion", "articulated-animation"])
def test_exported_and_traced(name: str):
    """Both support only plain dictionaries."""
    theirs, ours = pair(MODELS[name])
    images = tuple(MODELS[name].images())
    with torch.no_grad():
        expected = tensors(theirs(*images))
        assert_same(expected, tensors(torch.export.export(ours, images).module()(*images)))
        assert_same(expected, tensors(torch.jit.trace(ours, images, strict=False, check_trace=False)(*images)))


@pytest.mark.parametrize("name", ["first-order-motion", "articulated-animation"])
def test_a_batch_of_frames_by_vmap(name: str):
    theirs, ours = pair(MODELS[name])
    source, *frames = MODELS[name].images(count=3)
    with torch.no_grad():
        expected, given = (
            torch.func.vmap(lambda frame, m=model: m(source, frame))(torch.stack(frames)) for model in (theirs, ours)
        )
        assert_same(tensors(expected), tensors(given))


def test_blocks_are_traced_by_fx():
    theirs, ours = pair(MODELS["first-order-motion"])
    x = torch.rand(1, theirs.generator.bottleneck[0].conv1.in_channels, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        traced = torch.fx.symbolic_trace(ours.generator.bottleneck)
        torch.testing.assert_close(traced(x), theirs.generator.bottleneck(x))


@every_model
def test_threads_that_animate_different_sources(sample: Sample):
    theirs, ours = pair(sample)
    *sources, first, second = sample.images(count=4)
    pairs = [(source, frame) for source in sources for frame in (first, second)]
    with torch.no_grad():
        expected = {pair: tensors(theirs(*pair)) for pair in pairs}

    @torch.no_grad()
    def animate(source: Tensor) -> None:
        for _ in range(3):
            for frame in (first, second):
                assert_same(expected[source, frame], tensors(ours(source, frame)))

    with ThreadPoolExecutor(len(sources)) as threads:
        list(threads.map(animate, sources))


def test_accelerated_after_it_was_compiled():
    sample = MODELS["first-order-motion"]
    theirs = sample.model().eval()
    compiled = torch.compile(copy.deepcopy(theirs), backend="aot_eager")
    source, frame = sample.images()
    with torch.no_grad():
        for _ in range(2):
            assert_same(tensors(theirs(source, frame)), tensors(compiled(source, frame)))
            assert internet.accelerate(compiled).replaced


def test_its_convolutions_compiled(monkeypatch):
    compiled: list[str] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    pair(MODELS["first-order-motion"], compile=True)
    assert {"Hourglass", "SameBlock2d", "DownBlock2d", "UpBlock2d", "Sequential", "Conv2d"} <= set(compiled)
    assert "DenseMotionNetwork" not in compiled, "it has a source cache"


@every_model
def test_a_replica_of_data_parallel(sample: Sample):
    theirs, ours = pair(sample)
    replica = replicated(ours)
    source, frame = sample.images()
    with torch.no_grad():
        expected = tensors(theirs(source, frame))
        assert_same(expected, tensors(ours(source, frame)))
        assert_same(expected, tensors(replica(source, frame)))
        assert_same(tensors(theirs(frame, source)), tensors(replica(frame, source)))
        assert_same(expected, tensors(nn.DataParallel(ours)(source, frame)))


def replicated(module: nn.Module) -> nn.Module:
    """As `torch.nn.parallel.replicate` does on each GPU."""
    replica = module._replicate_for_data_parallel()
    for name, parameter in module._parameters.items():
        setattr(replica, name, None if parameter is None else parameter.detach())
    for name, child in module.named_children():
        replica._modules[name] = replicated(child)
    return replica


def test_a_step_of_distributed_data_parallel(tmp_path: Path):
    sample = MODELS["first-order-motion"]
    theirs, ours = pair(sample)
    images = sample.images(batch=2)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        gradients = []
        wrapped = DistributedDataParallel(sample.model(), static_graph=True)
        internet.accelerate(wrapped)
        for model in (theirs, DistributedDataParallel(ours), wrapped):
            model.train()
            model(*images)["prediction"].square().mean().backward()
            gradients.append({name.removeprefix("module."): p.grad for name, p in model.named_parameters()})
        for given in gradients[1:]:
            assert_same(gradients[0], given)
    finally:
        torch.distributed.destroy_process_group()
