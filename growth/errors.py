"""What can go wrong in growth/, as exceptions whose text is one line that a user can act on."""

from collections.abc import Sequence

from ase import Atoms


class GrowthError(Exception):
    """Anything that growth/ raises on purpose."""


class InputError(GrowthError, ValueError):
    """The user's seed, file or setting cannot be used: names the argument, what was expected and what came."""


class NoSitesError(GrowthError):
    """No adatom site survived the search.

    Attributes:
        structures: the relaxed attempts that were rejected; on a learned surface they are what an oracle should label.
    """

    def __init__(self, message: str, structures: Sequence[Atoms] = ()) -> None:
        super().__init__(message)
        self.structures = list(structures)


class CampaignError(GrowthError):
    """A campaign cannot go on; what it has is on disk."""


class DepositionError(GrowthError):
    """An atom that was shot at a crystal did not stay, or the crystal did not."""


class UnsettledError(GrowthError):
    """A crystal is no minimum of its energy model: atoms that were to rest move far when they are relaxed.

    Attributes:
        settled: the crystal with them where they come to rest.
    """

    def __init__(self, message: str, settled: Atoms) -> None:
        super().__init__(message)
        self.settled = settled
