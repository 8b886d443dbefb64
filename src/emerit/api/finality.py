"""Which headers of the pay chain are final: the contract's own answer, asked as rarely as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emerit.run.ledger import SettledEntry


class Finality:
    """Follows the pay chain's oldest part, that nobody can take back any more.

    What is final stays so, and so is everything before it; so is what the run has forgotten. Hence one question a
    turn is enough while nothing becomes final, and one for each header that may have, or fewer.
    """

    def __init__(self, is_final: Callable[[int], bool]) -> None:
        """`is_final(round)` asks the contract."""
        self._is_final = is_final
        self._known: SettledEntry | None = None

    def forget(self) -> None:
        """Ask for everything again: the chain was reorganised."""
        self._known = None

    def count(self, entries: Sequence[SettledEntry], now: int, forgotten: int) -> int:
        """Return how many of the entries, from the first on, are final.

        Args:
            entries: the headers that stand, in order.
            now: chain time.
            forgotten: rounds up to this one are no longer remembered by the contract; -1 for none.

        Raises:
            UnavailableError: the chain did not answer.
        """
        low = self._known_count(entries)
        high = low
        while high < len(entries) and (entries[high].final_at <= now or entries[high].round <= forgotten):
            high += 1
        middle = high - 1  # most often the newest candidate is final, or the first is not
        while low < high:
            if entries[middle].round <= forgotten or self._is_final(entries[middle].round):
                low = middle + 1
            else:
                high = middle
            middle = (low + high) // 2
        self._known = entries[low - 1] if low else None
        return low

    def _known_count(self, entries: Sequence[SettledEntry]) -> int:
        if self._known is None:
            return 0
        place = next((at for at in range(len(entries) - 1, -1, -1) if entries[at] is self._known), -1)
        return place + 1
