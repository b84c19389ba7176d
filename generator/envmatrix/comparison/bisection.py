"""The search for the first bad revision among revisions in their order. Pure.

Revisions before the first are good, and the last one is bad. Each answer halves what is left. Of
those near the middle, one that is built already comes first: building takes longer than one more
question. What cannot be judged is passed over, as by `git bisect skip`, and may leave several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypeAlias

from envmatrix.records import dataclass

# What a revision is: `unknown` if it cannot be built or judged.
Answer: TypeAlias = Literal["good", "bad", "unknown"]
# The part of those that are left around their middle, in which one may be preferred.
_NEAR = 4


@dataclass(frozen=True, slots=True)
class Search:
    """Revisions after a good one, the oldest first, of which the last is bad, and the answers about
    them."""

    revisions: Sequence[str]
    answers: Mapping[str, Answer]

    @property
    def suspects(self) -> Sequence[str]:
        """The revisions of which one is the first bad one: those after the last good revision
        before the first bad one."""
        answers = [self.answers.get(name) for name in self.revisions]
        end = answers.index("bad") if "bad" in answers else len(answers) - 1
        good = (index for index, answer in enumerate(answers[:end]) if answer == "good")
        return self.revisions[max(good, default=-1) + 1 : end + 1]

    @property
    def is_contradictory(self) -> bool:
        """True if a revision is good after one that is bad: the change came more than once."""
        answers = [self.answers.get(name) for name in self.revisions]
        return "bad" in answers and "good" in answers[answers.index("bad") :]

    def next(self, preferred: Collection[str] = ()) -> str | None:
        """Return the revision to ask about, one of the preferred if it is as good; None at the
        end."""
        suspects = self.suspects[:-1]  # of the last one it is clear
        open_places = [place for place, name in enumerate(suspects) if name not in self.answers]
        if not open_places:
            return None
        middle, near = (len(suspects) - 1) / 2, len(suspects) / _NEAR / 2
        places = [
            place
            for place in open_places
            if suspects[place] in preferred and abs(place - middle) <= near
        ]
        return suspects[min(places or open_places, key=lambda place: abs(place - middle))]
