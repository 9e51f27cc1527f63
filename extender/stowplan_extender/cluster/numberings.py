"""Numbers for signatures: comparing two numbers is cheaper than comparing what they stand for."""

from collections.abc import Mapping

from stowplan_fleet.nodes import NodeName

from stowplan_extender.decision.signatures import Signature


class Numbering:
    """One number per distinct signature among the nodes. A number is never used again for another signature."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._by_signature: dict[Signature, int] = {}
        self._signatures: dict[int, Signature] = {}
        self._holders: dict[int, int] = {}
        self._next = 0

    def __len__(self) -> int:
        """How many distinct signatures there are."""
        return len(self._signatures)

    @property
    def numbers(self) -> Mapping[str, int]:
        """Each known node's number, by its name; valid until the next assignment."""
        return self._numbers

    def signature(self, number: int) -> Signature | None:
        """What a number stands for; None once no node has that signature."""
        return self._signatures.get(number)

    def number(self, signature: Signature) -> int | None:
        """The number of a signature; None where no node has it."""
        return self._by_signature.get(signature)

    def assign(self, node: NodeName, signature: Signature | None) -> None:
        """A node has this signature from now on; None: the node is gone."""
        before = self._numbers.pop(node, None)
        if signature is not None:
            number = self._by_signature.get(signature)
            if number is None:
                number = self._next
                self._next += 1
                self._by_signature[signature] = number
                self._signatures[number] = signature
                self._holders[number] = 0
            self._holders[number] += 1
            self._numbers[node] = number
        if before is not None:
            self._holders[before] -= 1
            if not self._holders[before]:
                del self._holders[before]
                del self._by_signature[self._signatures.pop(before)]
