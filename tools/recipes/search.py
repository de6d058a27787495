"""Searches a classifier's recipe in stages: values and colours, then the size, the geometry, the interpolation.

Each stage starts from the recipe that the stage before has chosen, so that their product is never tried.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tools.recipes.candidates import Recipe, geometry_recipes, interpolation_recipes, size_recipes, value_recipes
from tools.recipes.evidence import Ranking, rank
from tools.recipes.labelled import LabelledPhoto
from tools.recipes.subject import Subject


@dataclass(frozen=True, slots=True)
class Stage:
    """`parts`: the names of a recipe that this stage decides."""

    title: str
    parts: slice
    ranking: Ranking

    def name(self, recipe: Recipe) -> str:
        return ", ".join(recipe.names[self.parts])

    @property
    def not_separated(self) -> list[str]:
        """What the pictures do not separate from the choice."""
        return [self.name(evidence.recipe) for evidence in self.ranking.not_separated]


def search(subject: Subject, photos: Sequence[LabelledPhoto], progress: Callable[[str], None]) -> Iterator[Stage]:
    """Yields each stage when it is done; the last one's choice is the recipe. Raises ModelError."""

    def stage(title: str, parts: slice, recipes: Iterable[Recipe]) -> Stage:
        return Stage(title, parts, rank(subject.model, recipes, photos, progress))

    found = stage("values and colours", slice(0, 2), value_recipes(subject.model.spec.preprocess))
    yield found
    if subject.open_size:
        found = stage("size", slice(2, 3), size_recipes(found.ranking.chosen.recipe))
        yield found
    found = stage("geometry", slice(3, 4), geometry_recipes(found.ranking.chosen.recipe))
    yield found
    yield stage("interpolation", slice(4, 5), interpolation_recipes(found.ranking.chosen.recipe))
