"""One line makes first-order-motion's own code faster: `internet.accelerate(model)`.

    git clone https://github.com/AliaksandrSiarohin/first-order-model
    python accelerate_first_order_motion.py --repo first-order-model    # its networks, with random weights
    python accelerate_first_order_motion.py                             # two small networks of its structure, below

The frames are the same before and after. The report says what computes them now, and what was left as it was.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import internet

CONFIG = "config/vox-256.yaml"
KEY_POINTS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, help="a checkout of first-order-model")
    parser.add_argument("--frames", type=int, default=4, help="of the video, at least 2 (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.frames < 2:
        parser.error(f"--frames is {arguments.frames}, expected at least 2: the first encodes the source")
    if arguments.repo and not (arguments.repo / CONFIG).is_file():
        parser.error(f"--repo is {arguments.repo}, expected a checkout of first-order-model; it has no {CONFIG}")
    torch.manual_seed(0)
    model = (
        networks_of(arguments.repo) if arguments.repo else nn.ModuleList([KPDetector(), DenseMotionNetwork()]).eval()
    )
    source, *video = torch.rand(arguments.frames + 1, 1, 3, 8, 8)
    source, *video = (F.interpolate(frame, (256, 256), mode="bicubic") for frame in (source, *video))

    before, seconds = animate(model, source, video)
    print(internet.accelerate(model))
    after, fewer = animate(model, source, video)

    difference = max((a - b).abs().max().item() for a, b in zip(before, after, strict=True))
    print(f"\nlargest difference {difference:.1e}; {seconds / fewer:.2f} times as fast")
    internet.accelerate.restore(model)


@torch.no_grad()
def animate(model: nn.Module, source: Tensor, video: list[Tensor]) -> tuple[list[Tensor], float]:
    """What the generator (or the motion network) makes of each frame, and seconds a frame after the first."""
    detector, generator = model
    kp_source = detector(source)
    made = []
    for i, frame in enumerate(video):
        if i == 1:
            start = time.perf_counter()  # the first frame encodes the source
        outputs = generator(source, kp_source=kp_source, kp_driving=detector(frame))
        made.append(outputs["prediction" if "prediction" in outputs else "deformation"])
    return made, (time.perf_counter() - start) / (len(video) - 1)


def networks_of(repo: Path) -> nn.Module:
    """Key-point detector and generator, as `load_checkpoints` in its demo.py makes them."""
    import yaml

    sys.path.insert(0, str(repo))
    from modules.generator import OcclusionAwareGenerator
    from modules.keypoint_detector import KPDetector

    config = yaml.safe_load((repo / CONFIG).read_text())["model_params"]
    common = config["common_params"]
    detector = KPDetector(**config["kp_detector_params"], **common)
    return nn.ModuleList([detector, OcclusionAwareGenerator(**config["generator_params"], **common)]).eval()


# What first-order-motion writes in eager PyTorch, in short.


class Hourglass(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.down_blocks = nn.ModuleList([nn.Conv2d(channels, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 2, 1)])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.encoder.down_blocks:
            x = F.relu(block(x))
        return F.interpolate(x, scale_factor=4)


def grid(x: Tensor) -> Tensor:
    """(H, W, 2) coordinates of the pixels, from -1 to 1."""
    y, x = (torch.linspace(-1, 1, length) for length in x.shape[2:])
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


class KPDetector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.predictor, self.kp, self.jacobian = Hourglass(3), nn.Conv2d(16, KEY_POINTS, 7), None
        self.temperature, self.scale_factor = 0.1, 1

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.kp(self.predictor(x))
        heat = torch.softmax(logits.flatten(2) / self.temperature, 2).view_as(logits)
        return {"value": (heat.unsqueeze(-1) * grid(logits)).sum((2, 3))}


class DenseMotionNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hourglass, self.mask = Hourglass(4 * (KEY_POINTS + 1)), nn.Conv2d(16, KEY_POINTS + 1, 7, padding=3)
        self.num_kp, self.kp_variance, self.scale_factor, self.occlusion = KEY_POINTS, 0.01, 1, None

    def forward(self, source_image: Tensor, kp_driving: dict, kp_source: dict) -> dict[str, Tensor]:
        points = grid(source_image)
        driving, source = (kp["value"][:, :, None, None] for kp in (kp_driving, kp_source))
        heat = [torch.exp(-0.5 * (points - kp).square().sum(-1) / self.kp_variance) for kp in (driving, source)]
        heat = torch.cat([torch.zeros_like(heat[0][:, :1]), heat[0] - heat[1]], 1)
        offsets = points - driving
        if "jacobian" in kp_driving:
            jacobian = kp_source["jacobian"] @ torch.inverse(kp_driving["jacobian"])
            offsets = (jacobian[:, :, None, None] @ offsets.unsqueeze(-1)).squeeze(-1)
        motions = torch.cat([points.expand(1, 1, -1, -1, -1), offsets + source], 1)
        repeated = source_image.expand(self.num_kp + 1, -1, -1, -1)
        deformed = F.grid_sample(repeated, motions[0], align_corners=False)[None]
        mask = torch.softmax(self.mask(self.hourglass(torch.cat([heat[:, :, None], deformed], 2).flatten(1, 2))), 1)
        field = (motions * mask[..., None]).sum(1)
        return {"sparse_deformed": deformed, "mask": mask, "deformation": field}


if __name__ == "__main__":
    main()
