"""How a pass's values go over to another template revision: a three-way merge.

The base is what the pass's present revision gave it (defaults, which no pass stores), one side what
its holder's data set, the other what the next revision gives. So it is enough to carry on what the
pass itself holds: a value that was set stays, a default that nobody touched follows the template,
and a value whose slot is gone goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from passmill.domain.values import Value


def merge_values(
    own: Mapping[str, Value], slots: Set[str], given: Mapping[str, Value]
) -> dict[str, Value]:
    """The values of a pass in its next revision, to be checked by that revision's rules.

    `own`: what the pass itself holds. `slots`: the names that the next revision knows. `given`:
    what is to be set, whatever the pass held; its own checks are the caller's.
    """
    merged = {name: value for name, value in own.items() if name in slots}
    merged.update(given)
    return merged
