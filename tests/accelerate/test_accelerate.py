"""Which models are recognised, which are not and why, and the report about it."""

import copy
import importlib
import re

import pytest
import torch
from torch import nn

import internet
from internet.accelerate import Report, api
from internet.accelerate.known import PEERS
from internet.accelerate.replacement import Replacement
from tests.support.peers import blocks, first_order, live_portrait
from tests.support.peers.models import MODELS, tensors

SAMPLE = MODELS["first-order-motion"]


def test_the_package_is_the_function():
    package = importlib.import_module("internet.accelerate")
    assert package is internet.accelerate
    assert isinstance(internet.accelerate(SAMPLE.model()), Report)
    assert internet.accelerate.restore is package.restore


def test_the_report_says_what_was_replaced():
    report = internet.accelerate(SAMPLE.model())
    rows = {row.path: row for row in report.rows}
    assert "soft_argmax" in rows["kp_detector"].replaced
    assert "affine_mixture" in rows["generator.dense_motion_network"].replaced
    assert rows["generator"].model == "first-order-motion"
    assert report.replaced == report.rows
    assert report.left == ()


def test_a_report_is_a_table():
    lines = str(internet.accelerate(SAMPLE.model())).splitlines()
    assert lines[0].split() == ["module", "class", "model", "computed", "by", "left", "as", "it", "was"]
    where = lines[0].index("class")
    classes = {line[where:].split(" ")[0] for line in lines[1:] if line[where - 2 : where] == "  "}
    assert {"KPDetector", "DenseMotionNetwork", "OcclusionAwareGenerator", "ResBlock2d"} <= classes
    assert max(map(len, lines)) < 320


def test_nothing_recognised():
    model = nn.Sequential(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match=r"no module of Sequential .* Looked for first-order-motion: .*KPDetector"):
        internet.accelerate(model)
    assert internet.accelerate(model, strict=False).rows == ()


@pytest.mark.parametrize("what", [None, 3, "model.pt", object()])
def test_not_a_module(what):
    for function in (internet.accelerate, internet.accelerate.restore):
        with pytest.raises(TypeError, match=f"module is {type(what).__name__}, expected a torch.nn.Module"):
            function(what)


def test_an_unknown_memory_format():
    with pytest.raises(ValueError, match="memory_format is 'nhwc'"):
        internet.accelerate(SAMPLE.model(), memory_format="nhwc")


def test_restoring_what_was_not_accelerated_changes_nothing():
    model = SAMPLE.model()
    internet.accelerate.restore(model)
    assert not any(isinstance(module, Replacement) for module in model.modules())


def test_convolutions_become_channels_last():
    model = SAMPLE.model()
    before = dict(model.named_parameters())
    internet.accelerate(model)
    weight = model.generator.bottleneck[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert before == dict(model.named_parameters()), "optimizers hold these"
    other = SAMPLE.model()
    internet.accelerate(other, memory_format=None)
    assert other.generator.bottleneck[0].conv1.weight.is_contiguous()


def test_a_part_is_restored_by_itself():
    model = SAMPLE.model()
    internet.accelerate(model, compile=True)
    part = model.generator.dense_motion_network
    internet.accelerate.restore(part)
    assert type(part) is first_order.DenseMotionNetwork
    assert all(weight.is_contiguous() for weight in part.parameters())
    assert all(module._compiled_call_impl is None for module in part.modules())
    assert isinstance(model.generator, Replacement)
    assert not model.generator.bottleneck[0].conv1.weight.is_contiguous()


def test_a_forward_that_was_set_on_an_instance():
    """It would be called instead of the replacement's."""
    model = SAMPLE.model()
    model.kp_detector.forward = model.kp_detector.forward
    (row,) = [row for row in internet.accelerate(model).rows if row.path == "kp_detector"]
    assert not row.replaced
    assert "its forward was set on the instance" in row.left
    assert not isinstance(model.kp_detector, Replacement)


@pytest.mark.parametrize(("setting", "value"), [("device", "meta"), ("dtype", torch.float64)])
def test_what_torch_makes_tensors_of_by_default_does_not_matter(setting: str, value):
    model = SAMPLE.model(torch.float32)
    switch = getattr(torch, f"set_default_{setting}")
    before = None if setting == "device" else torch.get_default_dtype()  # None: setting a device activates a mode
    switch(value)
    try:
        assert internet.accelerate(model).left == ()
    finally:
        switch(before)


class Sharper(first_order.DenseMotionNetwork):
    """A repository that kept the name but changed the code."""

    def forward(self, *arguments, **options):
        out = super().forward(*arguments, **options)
        return {**out, "mask": out["mask"].square()}


Sharper.__name__ = "DenseMotionNetwork"


class Longer(first_order.DenseMotionNetwork):
    def forward(self, *arguments, **options):
        return {**super().forward(*arguments, **options), "more": torch.ones(1)}


Longer.__name__ = "DenseMotionNetwork"


@pytest.mark.parametrize(("changed", "said"), [(Sharper, r"\['mask'\] differs"), (Longer, r"more")])
def test_code_that_was_changed_is_left_alone(changed, said):
    model = SAMPLE.model().eval()
    weights = model.generator.dense_motion_network.state_dict()
    model.generator.dense_motion_network = changed().double().eval()
    model.generator.dense_motion_network.load_state_dict(weights)
    theirs = copy.deepcopy(model)
    report = internet.accelerate(model)
    (row,) = [row for row in report.rows if row.path == "generator.dense_motion_network"]
    assert not row.replaced
    assert row in report.left
    assert "its code is not the one known here" in row.left
    assert re.search(said, row.left)
    assert type(model.generator.dense_motion_network) is changed
    source, frame = SAMPLE.images()
    with torch.no_grad():
        expected, given = tensors(theirs(source, frame)), tensors(model(source, frame))
    for name in given:
        torch.testing.assert_close(given[name], expected[name], rtol=1e-9, atol=1e-9)


def test_a_module_that_is_only_called_so():
    class KPDetector(nn.Module):
        pass

    model = nn.ModuleDict({"detector": KPDetector(), "generator": SAMPLE.model().generator})
    (row,) = [row for row in internet.accelerate(model).rows if row.path == "detector"]
    assert not row.replaced
    assert "not first-order-motion's, which has predictor, kp, jacobian" in row.left


def test_a_part_that_is_built_otherwise_is_left_alone():
    model = SAMPLE.model()
    model.kp_detector.predictor = nn.Sequential(model.kp_detector.predictor)
    (row,) = [row for row in internet.accelerate(model).rows if row.path == "kp_detector"]
    assert not row.replaced
    assert "not built as the one known here" in row.left


def test_the_comparison_leaves_no_trace():
    """It uses no random numbers, updates no statistics and changes no mode."""
    model = SAMPLE.model().train()
    model.generator.bottleneck.eval()
    modes = [module.training for module in model.modules()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    internet.accelerate(model)
    assert torch.rand(1) == expected
    assert [module.training for module in model.modules()] == modes
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, buffers[name])


def test_the_comparison_draws_no_random_numbers_of_theirs():
    """And gives both codes the same."""

    class Noisy(first_order.DenseMotionNetwork):
        def forward(self, *arguments, **options):
            torch.rand(1)
            return super().forward(*arguments, **options)

    Noisy.__name__ = "DenseMotionNetwork"
    model = SAMPLE.model()
    model.generator.dense_motion_network.__class__ = Noisy
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    internet.accelerate(model)
    assert torch.rand(1) == expected


def test_the_comparison_is_in_full_precision(monkeypatch: pytest.MonkeyPatch):
    """Without TF32, whose rounding may be greater than the tolerance; afterwards the settings are the user's."""
    settings = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before, during = [setting.fp32_precision for setting in settings], []
    forward = first_order.DenseMotionNetwork.forward

    def remember(self, *arguments, **options):
        during.append([setting.fp32_precision for setting in settings])
        return forward(self, *arguments, **options)

    monkeypatch.setattr(first_order.DenseMotionNetwork, "forward", remember)
    internet.accelerate(SAMPLE.model())
    assert during == [["ieee", "ieee"]]
    assert [setting.fp32_precision for setting in settings] == before != during[0]


def test_filters_that_were_changed_are_left_alone():
    """They have buffers and no parameters, and are compared all the same."""

    class Blurrier(blocks.AntiAliasInterpolation2d):
        def forward(self, input):
            return super().forward(input) / 2

    Blurrier.__name__ = "AntiAliasInterpolation2d"
    model = SAMPLE.model()
    model.generator.dense_motion_network.down.__class__ = Blurrier
    (row,) = [row for row in internet.accelerate(model).rows if row.path == "generator.dense_motion_network.down"]
    assert "its code is not the one known here" in row.left


def test_a_weight_that_is_computed_when_it_is_read_is_not_read():
    """A spectral norm in training changes its estimate at every reading."""
    model = SAMPLE.model().train()
    torch.nn.utils.parametrizations.spectral_norm(model.generator.bottleneck[0].conv1)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    internet.accelerate(model)
    internet.accelerate.restore(model)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_weights_that_processes_share_stay_shared():
    model = SAMPLE.model().share_memory()
    internet.accelerate(model)
    assert all(weight.is_shared() for weight in model.parameters())


class WithExtras(first_order.OcclusionAwareGenerator):
    extra = True

    def describe(self) -> str:
        return "a generator"


class WithItsOwnForward(first_order.OcclusionAwareGenerator):
    def forward(self, *arguments, **options):
        return {**super().forward(*arguments, **options), "extra": True}


def test_a_class_that_is_derived_from_one_that_is_known():
    model = SAMPLE.model().eval()
    model.generator.__class__ = WithExtras
    (row,) = [row for row in internet.accelerate(model).rows if row.path == "generator"]
    assert row.replaced
    assert model.generator.describe() == "a generator"
    internet.accelerate.restore(model)
    assert type(model.generator) is WithExtras


def test_a_derived_class_keeps_what_it_does_in_its_own_way():
    model = SAMPLE.model().eval()
    model.generator.__class__ = WithItsOwnForward
    (row,) = [row for row in internet.accelerate(model).rows if row.path == "generator"]
    assert "WithItsOwnForward has its own forward" in row.left
    assert not row.replaced
    with torch.no_grad():
        assert model(*SAMPLE.images())["extra"]


@pytest.mark.parametrize(
    "where", ["check.replace_if_equal", "layout.to_channels_last", "compiling.compile_convolutions"]
)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_ends_it_early_leaves_the_model_as_it_was(where: str, error, monkeypatch):
    model = SAMPLE.model()
    classes, strides = [type(module) for module in model.modules()], [p.stride() for p in model.parameters()]
    kept = [vars(module).keys() for module in model.modules()]
    holder, name = where.split(".")
    ours, calls = getattr(getattr(api, holder), name), []

    def fails_at_the_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise error("no memory")
        return ours(*arguments)

    monkeypatch.setattr(getattr(api, holder), name, fails_at_the_second)
    with pytest.raises(error, match="no memory"):
        internet.accelerate(model, compile=True)
    assert [type(module) for module in model.modules()] == classes
    assert [p.stride() for p in model.parameters()] == strides
    assert [vars(module).keys() for module in model.modules()] == kept


def test_what_ends_it_early_leaves_what_had_been_accelerated(monkeypatch):
    model = SAMPLE.model()
    internet.accelerate(model.kp_detector)

    def fails(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(api.layout, "to_channels_last", fails)
    with pytest.raises(RuntimeError):
        internet.accelerate(model)
    assert isinstance(model.kp_detector, Replacement)
    assert not isinstance(model.generator, Replacement)


def test_a_part_whose_attributes_are_of_other_types_is_left_alone():
    model = SAMPLE.model()
    model.generator.dense_motion_network.num_kp = "ten"
    report = internet.accelerate(model)
    (row,) = [row for row in report.rows if row.path == "generator.dense_motion_network"]
    assert "not built as the one known here (TypeError" in row.left


def test_restoring_twice_is_once():
    model = SAMPLE.model()
    internet.accelerate(model)
    for _ in range(2):
        internet.accelerate.restore(model)
        assert not any(isinstance(module, Replacement) for module in model.modules())


def test_a_model_on_no_device_is_replaced_without_being_called():
    model = SAMPLE.model(torch.float32).to("meta")
    assert internet.accelerate(model).replaced


def test_live_portraits_wrapper_is_no_module():
    wrapper = live_portrait.LivePortraitWrapper()
    wrapper.warping_module = torch.compile(wrapper.warping_module, backend="eager")
    report = internet.accelerate(wrapper)
    assert "warping_module._orig_mod" in {row.path for row in report.replaced}
    assert isinstance(wrapper.warping_module._orig_mod, Replacement)
    internet.accelerate.restore(wrapper)
    assert type(wrapper.warping_module._orig_mod) is live_portrait.WarpingNetwork


def test_every_part_that_is_known_is_tested():
    """Otherwise a part that no model in these tests has would not be tested."""
    known = {(peer.name, part.class_name) for peer in PEERS for part in (*peer.parts, *peer.blocks)}
    met = {(row.model, row.class_name) for s in MODELS.values() for row in internet.accelerate(s.model()).rows}
    blocks = {part.class_name for peer in PEERS for part in peer.blocks}
    assert known - met <= {(peer.name, name) for peer in PEERS for name in blocks}
    assert blocks <= {name for _, name in met}
