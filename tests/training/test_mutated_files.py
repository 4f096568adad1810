"""Files with random mistakes: each reader accepts them, or says in one line what is wrong."""

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from internet import cli
from internet.model import INTERnet, load_model, save_model
from internet.model.checkpoint import checkpoint_of
from internet.model.first_order import import_checkpoint
from internet.model.weights import read_weights
from internet.training.checkpoint import Checkpoints, warm_start
from internet.training.config import Config
from internet.training.distributed import World
from internet.training.trainer import Trainer, resume_or_create
from internet.utils.errors import format_error, is_expected
from internet.utils.files import save_tensors
from tests.support import first_order
from tests.support.training import SETTINGS, tiny

#: Replacements for an entry: of another type, out of range, of another shape, or missing.
STRANGE = (
    *(None, True, -1, 0, 2**70, 0.5, float("nan"), float("inf"), "", "internet", b"bytes", [], [1, "a"], {}, {"a": {}}),
    *(torch.zeros(()), torch.zeros(0), torch.zeros(3, 5), torch.ones(2, dtype=torch.int64), torch.ones(2).to_sparse()),
)


def mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    """One to four changes of bytes, anywhere, but more often at the beginning and the end."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        size = len(changed)
        edge = chance.randrange(min(size, 64))
        at = chance.choice((chance.randrange(size), edge, size - 1 - edge))
        length = chance.choice((1, 1, 4, 100, size // 2))
        kind = chance.choice(("flip", "cut", "repeat", "zero", "noise", "end"))
        if kind == "flip":
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            del changed[at : at + length]
        elif kind == "repeat":
            changed[at:at] = changed[at : at + length]
        elif kind == "zero":
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        elif kind == "noise":
            changed[at : at + length] = chance.randbytes(len(changed[at : at + length]))
        else:
            del changed[at:]
        if not changed:
            break
    return bytes(changed)


def mutated_entries(entries: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """One or two entries, at any depth, replaced or missing."""
    changed = copy.deepcopy(entries)
    for _ in range(chance.randint(1, 2)):
        at: Any = changed
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(at[key], (dict, list)) and at[key] and chance.random() < 0.7:
                at = at[key]
                continue
            if chance.random() < 0.3:
                del at[key]
            else:
                at[key] = chance.choice(STRANGE)
            break
    return changed


def attempt(read: Callable[[], object], number: int) -> bool:
    """Whether a reader accepted a file. Fails the test unless an error is one for users, with a message."""
    try:
        read()
    except Exception as error:
        if not is_expected(error) or not format_error(error).strip():
            pytest.fail(f"file {number}: {type(error).__name__}: {error}")
        return False
    return True


@pytest.fixture(scope="module")
def model() -> INTERnet:
    torch.manual_seed(0)
    return INTERnet(tiny().model)


@pytest.mark.filterwarnings("ignore")
def test_mutated_settings(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    whole = yaml.safe_dump(tiny("loss.schedule.style=[[0, 1], [9, 2]]").to_dict()).encode()
    chance, taken = random.Random(1), 0
    for number in range(300):
        path.write_bytes(mutated_bytes(whole, chance))
        taken += attempt(lambda: Config.load(path), number)
    assert 0 < taken < 300  # both happen


def test_mutated_words() -> None:
    chance, taken = random.Random(2), 0
    letters = "=.:#[]{}&*!|>'\"%@`,?-~ \t\n\0é🙂019abrunotdi"
    names = [word.partition("=")[0] for word in SETTINGS] + ["out", "data", "loss.schedule.style", "model.preset", ""]
    for number in range(500):
        text = "".join(chance.choices(letters, k=chance.randint(0, 8)))
        word = chance.choice((f"{chance.choice(names)}={text}", text, f"{text}={text}"))
        taken += attempt(lambda word=word: Config.load(None, [word]), number)  # type: ignore[misc]
    assert taken > 10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["model.pt", "old.pt", "model.safetensors"])
def test_mutated_bytes_of_checkpoints(name: str, model: INTERnet, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "old.pt":  # torch's format before 1.6, without checksums
        torch.save(checkpoint_of(model), path, _use_new_zipfile_serialization=False)
    else:
        save_model(path, model)
    whole, chance = path.read_bytes(), random.Random(name)

    def load() -> None:
        """An accepted file has the original content: some bytes have no meaning, such as a date in an archive."""
        found = load_model(path).state_dict()
        assert name == "old.pt" or all(torch.equal(found[key], value) for key, value in model.state_dict().items())

    load()
    for number in range(70):
        path.write_bytes(mutated_bytes(whole, chance))
        attempt(load, number)
        attempt(lambda: read_weights(path), number)


@pytest.mark.filterwarnings("ignore")
def test_mutated_entries_of_checkpoints(model: INTERnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, chance, taken = tmp_path / "model.pt", random.Random(3), 0
    entries = checkpoint_of(model, model.state_dict()) | {"step": 3, "metrics": {"psnr": 20.0}}
    for number in range(80):
        save_tensors(path, mutated_entries(entries, chance))
        taken += attempt(lambda: load_model(path), number)
        attempt(lambda: warm_start(copy.deepcopy(model), str(path)), number)
        assert cli.main(["info", "--checkpoint", str(path)]) in (0, 2)
    assert 5 < taken < 75
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_mutated_checkpoints_of_first_order_motion(tmp_path: Path) -> None:
    path, chance, taken = tmp_path / "vox.pth", random.Random(5), 0
    written = first_order.settings()
    entries = first_order.checkpoint(written)
    for number in range(80):
        save_tensors(path, mutated_entries(entries, chance))
        taken += attempt(lambda: import_checkpoint(read_weights(path), written), number)
        changed = mutated_entries(written, chance)
        taken += attempt(lambda changed=changed: import_checkpoint(entries, changed), number)  # type: ignore[misc]
    assert 5 < taken < 155


@pytest.mark.filterwarnings("ignore")
def test_a_run_goes_on_from_mutated_entries_or_says_why_not(tmp_path: Path) -> None:
    config = tiny(f"out={tmp_path}")
    trainer = resume_or_create(config, World())
    trainer.train_step(next(trainer.batches()))
    state, chance, taken = trainer.state_dict(), random.Random(4), 0
    for number in range(25):
        Checkpoints(tmp_path / "checkpoints", keep=1).save(1, mutated_entries(state, chance))
        resumed: list[Trainer] = []
        if attempt(lambda found=resumed: found.append(resume_or_create(config, World())), number):  # type: ignore[misc]
            taken += 1
            assert isinstance(resumed[0].step, int)
    assert taken < 25
