"""The explorer's treemap: areas, the dendrogram's cuts, and what is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.cluster.hierarchy import fcluster, linkage

from demos.tabs.explore_jobs import join
from demos.tabs.treemap import Box, Tree, draw, layout, squarify


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(20, 900), st.integers(20, 900))
def test_areas_are_proportional_and_fill_the_sheet(weights: list[int], width: int, height: int) -> None:
    weights.sort(reverse=True)
    boxes = squarify(weights, Box(0, 0, width, height))
    for weight, box in zip(weights, boxes, strict=True):
        assert box.width * box.height == pytest.approx(width * height * weight / sum(weights))
        assert box.left >= -1e-6
        assert box.top >= -1e-6
        assert box.left + box.width <= width + 1e-6
        assert box.top + box.height <= height + 1e-6
    for x, y in np.random.default_rng(0).uniform((0, 0), (width, height), (20, 2)):
        assert sum(box.holds(x, y) for box in boxes) == 1


def test_the_example_of_the_paper() -> None:
    """Bruls, Huizing and van Wijk (2000), figure 4: areas 6, 6, 4, 3, 2, 2, 1 in a rectangle of 6 x 4."""
    boxes = squarify([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))
    assert boxes[:2] == [Box(0, 0, 3, 2), Box(0, 2, 3, 2)]
    assert boxes[2] == pytest.approx((3, 0, 12 / 7, 7 / 3))
    assert boxes[3] == pytest.approx((3 + 12 / 7, 0, 9 / 7, 7 / 3))


@pytest.fixture
def points() -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.concatenate(
        [generator.normal(center, 0.1, (n, 2)) for center, n in (((0, 0), 5), ((3, 0), 3), ((0, 9), 4))]
    )


@pytest.fixture
def tree(points: np.ndarray) -> Tree:
    return Tree(["a bell"] * 5 + ["a dog"] * 3 + ["a train"] * 4, join(points))


def test_cuts_are_those_of_the_dendrogram(tree: Tree, points: np.ndarray) -> None:
    for most in (2, 3, 5):
        labels = fcluster(linkage(points, "ward"), most, "maxclust")
        expected = {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels)}
        assert {frozenset(tree.pictures(part)) for part in tree.clusters(tree.root, most)} == expected


def test_names_and_pictures_of_nodes(tree: Tree) -> None:
    assert sorted(tree.pictures(tree.root)) == list(range(12))
    assert tree.clusters(0) == [0]
    assert tree.name(tree.clusters(tree.root, 3)[0]) == "5 pictures: a bell"
    assert tree.name(tree.root) == "12 pictures of 3 prompts, 5: a bell"
    assert tree.name(7) == "a dog"


def test_draws_every_picture_while_there_is_room(tree: Tree) -> None:
    pictures = [Image.new("RGB", (8, 8), (10 * i, 255 - 10 * i, 0)) for i in range(12)]
    sheet = np.asarray(draw(tree, tree.root, pictures, 600, 400))
    seen = {tuple(color) for color in sheet.reshape(-1, 3).tolist()}
    assert all(picture.getpixel((0, 0)) in seen for picture in pictures)
    parts = layout(tree, tree.root, 600, 400)
    assert math.isclose(sum(box.width * box.height for _, box in parts), 600 * 400)


def test_draws_a_crowd_and_a_single_picture() -> None:
    crowd = Tree(["x" * 200] * 300, join(np.random.default_rng(1).normal(size=(300, 4))))
    pictures = [Image.new("RGB", (8, 8), "red")] * 300
    for node in (crowd.root, 0):
        assert draw(crowd, node, pictures, 320, 200).size == (320, 200)
