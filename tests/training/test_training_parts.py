"""The parts of the trainer, separately."""

import resource
import signal
from pathlib import Path

import pytest
import torch

from internet.model import INTERnet, INTERnetConfig, save_model
from internet.training import stop
from internet.training.checkpoint import Checkpoints, warm_start
from internet.training.config.sections import Optimizer
from internet.training.data import training_samples
from internet.training.ema import Ema
from internet.training.optimizers import make_optimizer, set_rates
from internet.training.sampler import BatchShard, EpochStream, StepSampler
from internet.training.stop import StopRequest
from internet.utils.files import OutputError
from internet.utils.run_checkpoints import latest_checkpoint
from tests.support.training import tiny


class Numbered:
    """A data set that returns the requested index."""

    def __init__(self, length: int) -> None:
        self.length, self.epoch = length, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self.epoch, index


# The order of samples


def test_each_epoch_shows_every_sample_once_in_an_order_of_its_own() -> None:
    row = [EpochStream(Numbered(10), 1)[number] for number in range(30)]
    assert [epoch for epoch, _ in row] == [0] * 10 + [1] * 10 + [2] * 10
    orders = [[index for _, index in row[begin : begin + 10]] for begin in (0, 10, 20)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert [EpochStream(Numbered(10), 2)[number] for number in range(10)] != row[:10]


def test_a_sample_of_the_row_does_not_depend_on_what_was_read_before() -> None:
    stream = EpochStream(Numbered(7), 0)
    forward = [stream[number] for number in range(40)]
    assert [stream[number] for number in reversed(range(40))] == forward[::-1]


def test_drawn_samples_are_never_drawn_twice() -> None:
    stream, length = training_samples(tiny("data.synthetic.length=4"))
    assert length == 4
    assert stream[1]["name"] != stream[1 + 8 * 4]["name"]  # eight samples share a clip


@pytest.mark.parametrize(("parts", "size"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_the_parts_of_all_processes_make_up_the_batch(parts: int, size: int) -> None:
    shards = [BatchShard(12, parts, rank, size) for rank in range(size)]
    pieces = [list(StepSampler(shard, 5, 7)) for shard in shards]
    assert all(len(mine) == 2 * parts == len(StepSampler(shards[0], 5, 7)) for mine in pieces)
    for step in range(2):
        taken = [n for mine in pieces for part in mine[step * parts : (step + 1) * parts] for n in part]
        assert sorted(taken) == list(range(12 * (5 + step), 12 * (6 + step)))
    assert pieces[-1][0] == list(range(60, 72))[shards[-1].rows(0)]


def test_a_batch_that_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match=r"run.batch is 16, expected a multiple of .* 1 x 3"):
        BatchShard(16, 1, 0, 3)


# Rates and running means


def test_the_rate_falls_at_the_milestones() -> None:
    section = Optimizer(milestones=(60, 90), discriminator_lr=1e-3)
    sides = tuple(make_optimizer(section, [torch.nn.Parameter(torch.zeros(1))]) for _ in range(2))
    assert all(isinstance(side, torch.optim.RAdam) for side in sides)
    for epoch, factor in ((0, 1), (59, 1), (60, 0.1), (89, 0.1), (90, 0.01)):
        set_rates(sides, section, epoch)
        assert [side.param_groups[0]["lr"] for side in sides] == pytest.approx([2e-4 * factor, 1e-3 * factor])


def test_the_running_mean_follows_the_weights() -> None:
    model = INTERnet(tiny().model)
    ema = Ema(model, 0.5)
    name, weight = next(iter(model.named_parameters()))
    first = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1)
    ema.update(model, 0)  # at the first steps a tenth is kept
    torch.testing.assert_close(ema.model.get_parameter(name), first + 0.9)
    ema.update(model, 1000)
    torch.testing.assert_close(ema.model.get_parameter(name), first + 0.95)
    assert not ema.model.training
    assert model.training


# Checkpoints


def test_the_last_checkpoints_are_kept_and_the_newest_has_a_name(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert kept.newest() is None
    for step in (5, 20, 100):
        kept.save(step, {"step": step})
    assert [path.name for path in kept.paths()] == ["step-00000020.pt", "step-00000100.pt"]
    assert (kept.folder / "latest.txt").read_text() == "step-00000100.pt\n"
    assert torch.load(latest_checkpoint(tmp_path), weights_only=True) == {"step": 100}
    assert kept.newest() == kept.folder / "step-00000100.pt"


@pytest.mark.parametrize("how", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(tmp_path: Path, how: str) -> None:
    kept = Checkpoints(tmp_path, keep=1)
    kept.keep = 2
    for step in (1, 2):
        kept.save(step, {"value": torch.full((1000,), float(step))})
    content = bytearray((tmp_path / "step-00000002.pt").read_bytes())
    if how == "flip":  # in the tensor, where torch itself would not notice it
        content[content.index(torch.tensor([2.0]).numpy().tobytes() * 9) + 16] ^= 1
    (tmp_path / "step-00000002.pt").write_bytes({"cut": content[:-100], "flip": content, "empty": b""}[how])
    (tmp_path / ".step-00000003.x.pt").write_bytes(b"begun")
    with pytest.warns(UserWarning, match=r"step-00000002.pt' is damaged .* now 'step-00000002.damaged'"):
        assert kept.newest() == tmp_path / "step-00000001.pt"
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000001.pt", "step-00000002.damaged", "latest.txt"}


def test_a_full_disk_leaves_the_checkpoints_there_are(tmp_path: Path) -> None:
    """A limit on the size of files, which the system enforces like the size of a disk."""
    kept = Checkpoints(tmp_path, keep=1)
    kept.save(1, {"value": torch.zeros(10)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write '.*step-00000002.pt'"):
            kept.save(2, {"value": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kept.newest() == tmp_path / "step-00000001.pt"
    assert torch.load(latest_checkpoint(tmp_path), weights_only=True)["value"].shape == (10,)
    assert len(list(tmp_path.iterdir())) == 2  # no incomplete file


def test_weights_to_start_from_must_fit(tmp_path: Path) -> None:
    other = INTERnet(tiny("model.anchors=3").model)
    save_model(tmp_path / "other.pt", other)
    with pytest.raises(ValueError, match=r"other.pt' do not fit:\n.*kp_detector"):
        warm_start(INTERnet(tiny().model), str(tmp_path / "other.pt"))
    fitting = INTERnet(tiny("model.anchors=3").model)
    warm_start(fitting, str(tmp_path / "other.pt"))
    assert all(torch.equal(a, b) for a, b in zip(fitting.parameters(), other.parameters(), strict=True))
    stage_one = INTERnetConfig.preset("tiny", stage_one="first-order", channels=[8, 8, 8], blocks=[1, 1, 1])
    given = INTERnet(stage_one).state_dict()
    torch.save({name: value for name, value in given.items() if "generator" not in name}, tmp_path / "stage_one.pth")
    model = INTERnet(stage_one)
    warm_start(model, str(tmp_path / "stage_one.pth"))
    assert torch.equal(model.state_dict()["kp_detector.kp.weight"], given["kp_detector.kp.weight"])


# Being asked to stop


def test_a_signal_is_taken_down_and_a_later_one_acts_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.default_int_handler  # processes that a shell starts in the background ignore the signal
    mine = signal.signal(signal.SIGINT, before)
    try:
        with StopRequest() as request:
            assert request.signal is None
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # its echo
            assert request.signal == signal.SIGINT
            monkeypatch.setattr(stop, "ECHO", 0.0)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, mine)


def test_the_clock_of_a_run() -> None:
    assert 50 < StopRequest(minutes=1).seconds_left <= 60
    assert StopRequest().seconds_left == float("inf")
