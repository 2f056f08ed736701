"""The nano world: captioned pictures of 373 objects in seven places and on plain and patterned grounds.

The nano models are trained on what is drawn here; no picture is stored. A `Scene` holds everything that determines a
picture, so its fields are the ground truth. `sample_scene` draws one, `caption` describes it and `render` paints it:

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> scene = sample_scene(rng, place="beach", object="duck", tint=None, count=1, style=None)
>>> caption(scene, rng, use_category=False)
'a picture of a duck on the beach'
>>> render(scene).shape
(64, 64, 3)

`pipelines.nano.world.moments` adds sounds for sixteen of the objects.
"""

from .captions import caption, plural, subject, vocabulary_texts, where, with_article
from .colors import COLORS
from .grounds import GROUNDS, PATTERNS
from .places import PLACES
from .rendering import reference_scenes, render, render_all
from .scenes import Scene, sample_scene, scenes_of
from .sprites import SUBSET, ObjectInfo, find_object, objects
from .styles import STYLES

__all__ = [
    "COLORS",
    "GROUNDS",
    "PATTERNS",
    "PLACES",
    "STYLES",
    "SUBSET",
    "ObjectInfo",
    "Scene",
    "caption",
    "find_object",
    "objects",
    "plural",
    "reference_scenes",
    "render",
    "render_all",
    "sample_scene",
    "scenes_of",
    "subject",
    "vocabulary_texts",
    "where",
    "with_article",
]
