"""Fair strengths: for each image and direction the step at which an edit changes what it should by a given amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from zinv.altering.measuring import Editor, Item, Subject
from zinv.editing.edits import Edit

RUNGS: Final = 8  # steps on each side that are looked at first
ROUNDS: Final = 12  # of narrowing a bracket
SLACK: Final = 0.01  # of the largest change: how far one may fall back and still count as rising


@dataclass
class Search:
    """The smallest step at which a change reaches an amount.

    Attributes:
        item: what is edited, and its direction's sign in `limit`.
        amount: to be reached, signed as its step.
        limit: the furthest step.
        found: the step, once there is one.
        reason: why there is none.
        monotone: whether the change rose all the way to the limit.
    """

    subject: Subject
    edit: Edit
    amount: float
    limit: float
    tolerance: float
    found: float | None = None
    reason: str = ""
    monotone: bool = True
    bracket: list[tuple[float, float]] = field(default_factory=list)

    def ladder(self) -> list[float]:
        """Steps that are looked at first."""
        return [self.limit * i / RUNGS for i in range(1, RUNGS + 1)]

    def climb(self, changes: Sequence[float]) -> None:
        """Bracket the amount between the rungs, given the change at each."""
        wanted, points = abs(self.amount), [(0.0, 0.0), *zip(self.ladder(), changes, strict=True)]
        slack = SLACK * max(abs(change) for change in changes)
        self.monotone = all(b[1] >= a[1] - slack for a, b in zip(points, points[1:], strict=False))
        above = next((i for i, (_, change) in enumerate(points) if change >= wanted), None)
        if wanted == 0:
            self.found = 0.0
        elif above is None:
            step, most = max(points, key=lambda point: point[1])
            self.reason = f"not reached: at most {most:.4g}, at step {step:.4g} of {self.limit:.4g}"
        else:
            self.bracket = [points[above - 1], points[above]]
            self.settle(*points[above])

    def guess(self) -> float:
        """The next step to try: by interpolation, but well inside the bracket."""
        (low, a), (high, b) = self.bracket
        share = (abs(self.amount) - a) / (b - a) if b > a else 0.5
        return low + min(0.9, max(0.1, share)) * (high - low)

    def narrow(self, step: float, change: float) -> None:
        """Take in the change at a guess."""
        self.bracket[1 if change >= abs(self.amount) else 0] = (step, change)
        self.settle(step, change)

    def give_up(self) -> None:
        """Say that it did not settle."""
        (low, a), (high, b) = self.bracket
        self.reason = f"did not settle: {a:.4g} at step {low:.4g}, {b:.4g} at step {high:.4g}"

    def settle(self, step: float, change: float) -> None:
        """End the search if a change is near enough."""
        if abs(change - abs(self.amount)) <= self.tolerance * abs(self.amount):
            self.found = step

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.found is None and not self.reason


def calibrate(editor: Editor, subjects: Sequence[Subject]) -> list[Search]:
    """Searches for every image, direction and amount of the plan, in this order, all ended.

    One ladder serves all amounts of a side; then all brackets are narrowed together, in full batches.
    """
    searches = [_search(editor, subject, edit, amount) for subject in subjects for edit, amount in editor.plan.pairs()]
    _climb(editor, searches)
    for _ in range(ROUNDS):
        if not (going := [search for search in searches if search.open]):
            break
        steps = [search.guess() for search in going]
        items = [Item(search.subject, search.edit, step) for search, step in zip(going, steps, strict=True)]
        for search, step, picture in zip(going, steps, editor.pictures(items), strict=True):
            search.narrow(step, editor.change(picture))
    for search in searches:
        if search.open:
            search.give_up()
    return searches


def _search(editor: Editor, subject: Subject, edit: Edit, amount: float) -> Search:
    low, high = edit.reach(editor.plan.limit, editor.plan.beyond)
    return Search(subject, edit, amount, high if amount >= 0 else low, editor.plan.tolerance)


def _climb(editor: Editor, searches: Sequence[Search]) -> None:
    sides: dict[tuple[int, int, float], list[Search]] = {}
    for search in searches:
        sides.setdefault((id(search.subject), id(search.edit), search.limit), []).append(search)
    items = [Item(each[0].subject, each[0].edit, step) for each in sides.values() for step in each[0].ladder()]
    changes = [editor.change(picture) for picture in editor.pictures(items)]
    for i, each in enumerate(sides.values()):
        for search in each:
            search.climb(changes[RUNGS * i : RUNGS * (i + 1)])
