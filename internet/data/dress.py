"""A drawn figure's clothes: a texture for each part of its body."""

from collections.abc import Sequence

import numpy as np

from internet.data.figure import LIMBS, Part
from internet.data.textures import Patch, Stripes, Texture

#: The parts that a sleeve or a trouser leg covers, from its beginning.
_SLEEVE, _TROUSER = ("upper arm", "forearm"), ("thigh", "shin")

#: The contrast of skin and hair.
_SKIN_CONTRAST = 0.06


def dressed(body: Sequence[Part], rng: np.random.Generator, facing: float) -> dict[str, Texture]:
    """Textures by the part's name, in the part's own coordinates.

    Shirt, trousers and shoes have random colours, patterns and lengths, with bare skin below; skin and hair differ
    from figure to figure, and no two parts have the same waves.

    Args:
        body: of :class:`~internet.data.figure.Walk`.
        rng: the source of all random choices.
        facing: the sign of x in which the figure looks; its hair is on the other side.
    """
    skin = np.array([0.80, 0.58, 0.46]) * rng.uniform(0.4, 1.15)
    colours = {name: rng.uniform(0.08, 0.92, 3) for name in ("shirt", "trousers", "shoes")}
    patterns = {name: _pattern(rng) for name in ("shirt", "trousers")}
    bare = {"arm": _bare(body, _SLEEVE, rng.uniform(0.35, 2.6)), "leg": _bare(body, _TROUSER, rng.uniform(0.8, 2.6))}
    hair = _hair(rng, facing)
    cloth_of = {"arm": "shirt", "torso": "shirt", "leg": "trousers", "foot": "shoes"}
    textures = {}
    for part in body:
        limb = LIMBS[part.name]
        cloth = cloth_of.get(limb)
        colour = skin if cloth is None else colours[cloth]
        patches = [hair] if limb == "head" else []
        if part.name in bare.get(limb, {}):
            patches.append(Patch(skin, (0.0, 1.0), bare[limb][part.name]))
        contrast, stripes = patterns.get(cloth or "", (_SKIN_CONTRAST, None))
        textures[part.name] = Texture(rng, colour, contrast=contrast, stripes=stripes, patches=patches)
    return textures


def _pattern(rng: np.random.Generator) -> tuple[float, Stripes | None]:
    """The contrast of a cloth, and, for a third of cloths, stripes across or along the limb."""
    contrast, striped = rng.uniform(0.05, 0.13), rng.random() < 1 / 3
    across = rng.random() < 0.7
    stripes = Stripes(rng.uniform(0.07, 0.16), (0.0, 1.0) if across else (1.0, 0.0), rng.uniform(0.1, 0.2))
    return contrast, stripes if striped else None


def _bare(body: Sequence[Part], limb: tuple[str, str], covered: float) -> dict[str, float]:
    """Where each part of a limb begins to be bare, if cloth covers `covered` (0 to 2, or more) of its two parts."""
    starts = {}
    for part in body:
        kind = part.name.removeprefix("far ").removeprefix("near ")
        if kind in limb:
            share = covered - limb.index(kind)
            if share < 1:
                starts[part.name] = part.length * share if share > 0 else -1.0  # -1: all of it
    return starts


def _hair(rng: np.random.Generator, facing: float) -> Patch:
    """Hair on the top and the back of the head, of random length."""
    colour = rng.uniform(0.03, 0.6) * np.array([1.0, rng.uniform(0.6, 0.95), rng.uniform(0.3, 0.9)])
    back = rng.uniform(0.2, 1.2)
    direction = np.array([-np.sign(facing) * back, -1.0]) / np.hypot(back, 1.0)
    return Patch(colour, (float(direction[0]), float(direction[1])), rng.uniform(-0.02, 0.06))
