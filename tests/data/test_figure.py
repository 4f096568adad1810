"""Drawn figures: builds, gestures and dress differ, and bodies are connected."""

import numpy as np
import pytest

from internet.data.dress import dressed
from internet.data.figure import BODY, LIMBS, Walk
from internet.data.synthetic import WalkingClip
from internet.data.textures import Patch, Stripes, Texture


def walks(count: int) -> list[Walk]:
    return [Walk(np.random.default_rng(seed)) for seed in range(count)]


def test_builds_paces_and_gestures_differ():
    figures = walks(40)
    legs = [next(part.length for part in walk.body if part.name == "near thigh") for walk in figures]
    trunks = [max(part.radii[0] for part in walk.body if part.name == "torso") for walk in figures]
    assert max(legs) > 1.2 * min(legs)
    assert max(trunks) > 1.3 * min(trunks)
    lifted = [part.bend < -0.4 for walk in figures for part in walk.body if part.name.endswith("upper arm")]
    assert 0.15 < np.mean(lifted) < 0.5
    assert {np.sign(walk.facing) for walk in figures} == {-1.0, 1.0}


def test_a_body_has_all_parts_in_the_order_of_drawing_and_its_limbs_match():
    for walk in walks(5):
        assert [part.name for part in walk.body] == [part.name for part in BODY]
        lengths = {part.name: part.length for part in walk.body}
        assert lengths["near shin"] == lengths["far shin"]
        assert lengths["near forearm"] == lengths["far forearm"]
    assert set(LIMBS.values()) == {"arm", "leg", "foot", "torso", "head"}


@pytest.mark.parametrize("seed", range(6))
def test_parts_stay_joined_and_feet_on_the_ground(seed):
    walk = Walk(np.random.default_rng(seed))
    parts = {part.name: part for part in walk.body}
    lowest = []
    for time in np.linspace(0, 2, 21):
        poses = walk.poses(time, 1.0)
        for part in walk.body:
            if part.parent is not None:
                hung = poses[part.parent].to_scene(np.array([part.joint]))[0]
                np.testing.assert_allclose(poses[part.name].joint, hung, atol=1e-12)
            np.testing.assert_allclose(poses[part.name].rotation @ poses[part.name].rotation.T, np.eye(2), atol=1e-12)
        lowest.append(max(poses[f"{side} foot"].to_scene(parts[f"{side} foot"].middle)[1] for side in ("near", "far")))
    assert 0.6 < min(lowest) <= max(lowest) < 0.9
    assert walk.poses(1.0, 1.0)["torso"].joint[0] == 0  # halfway, it is in the middle


def test_middles_and_rotations_are_those_of_the_poses():
    clip = WalkingClip(2, (64, 96))
    poses, parts = clip.poses(0.7), Walk(np.random.default_rng(2)).body
    ends = np.stack([poses[part.name].to_scene(np.array([0.0, part.length])) for part in parts])
    joints = np.stack([poses[part.name].joint for part in parts])
    np.testing.assert_allclose(clip.middles(0.7) * [96 / 64, 1], (ends + joints) / 2, atol=1e-6)
    np.testing.assert_allclose(clip.rotations(0.7), [poses[part.name].rotation for part in parts], atol=1e-6)


def test_a_patch_lies_beyond_its_seam_and_stripes_repeat():
    rng, red = np.random.default_rng(0), np.array([1.0, 0.0, 0.0])
    texture = Texture(rng, np.zeros(3), contrast=0.0, patches=[Patch(red, (0.0, 1.0), 0.1)])
    above, below = np.array([[0.3, 0.05]]), np.array([[-0.3, 0.15]])
    np.testing.assert_array_equal(texture(above), [[0, 0, 0]])
    np.testing.assert_array_equal(texture(below), [red])
    striped = Texture(rng, np.full(3, 0.5), contrast=0.0, stripes=Stripes(0.2, (0.0, 1.0), 0.2))
    line = striped(np.column_stack([np.zeros(40), np.arange(40) * 0.01]))
    np.testing.assert_allclose(line[:20], line[20:], atol=1e-5)
    assert np.ptp(line) > 0.5
    np.testing.assert_allclose(striped(np.array([[5.0, 0.03]])), striped(np.array([[0.0, 0.03]])), atol=1e-5)


def test_clothes_have_colours_and_lengths_of_their_own():
    bare = {"near forearm": 0, "near upper arm": 0, "near shin": 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        walk = Walk(rng)
        textures = dressed(walk.body, rng, walk.facing)
        assert textures.keys() == {part.name for part in BODY}
        near, far = textures["near thigh"], textures["far thigh"]
        np.testing.assert_array_equal(near.colour, far.colour)
        assert not np.array_equal(near.phase, far.phase)  # otherwise no network could distinguish the legs
        assert len(textures["head"].patches) == 1  # hair
        for name in bare:
            bare[name] += bool(textures[name].patches)
    assert 0 < bare["near upper arm"] < bare["near forearm"] < 60
    assert 0 < bare["near shin"] < 60


def test_hair_is_at_the_back_of_the_head():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        walk = Walk(rng)
        (hair,) = dressed(walk.body, rng, walk.facing)["head"].patches
        assert hair.direction[0] * walk.facing < 0
        assert hair.direction[1] < 0
