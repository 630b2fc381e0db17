"""Reading compiled kernels: the instructions of a function, its innermost loops, and what they do.

What an instruction set calls things is a table; the rest is common to all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class InstructionSet:
    """Regular expressions over one instruction."""

    registers: dict[int, str]  # the vector register of so many float32 lanes
    fused: str | None  # None: a product and a sum make up a multiply-add
    multiply: str
    add: str
    load: str  # of a vector, or of one element to be spread over one; not from the stack
    load_pair: str
    call: str
    stack: str  # an operand on the stack
    jump: str  # its first group is the label
    leaves: str  # what follows is not reached
    comment: str

    def touches_stack(self, instruction: str) -> bool:
        """A vector is stored to the stack, loaded from it, or computed with what lies there."""
        has_vector = any(re.search(register, instruction) for register in self.registers.values())
        return has_vector and re.search(self.stack, instruction) is not None


_X86 = {
    "registers": {4: r"%xmm\d", 8: r"%ymm\d", 16: r"%zmm\d"},
    "multiply": r"^v?mulps\b",
    "add": r"^v?addps\b",
    "load": r"\((?!%rsp)[^)]*\),.*%[xyz]mm",
    "load_pair": r"(?!)",
    "call": r"^call",
    "stack": r"\(%rsp",
    "jump": r"^j\w+\s+(\.L\w+)",
    "leaves": r"^(jmp|ret|ud2)",
    "comment": "#",
}
SSE = InstructionSet(fused=None, **_X86)
X86 = InstructionSet(fused=r"^vfmadd\d{3}ps\b", **_X86)
AARCH64 = InstructionSet(
    registers={4: r"\bv\d+\.4s\b|\bq\d+\b"},
    fused=r"^fmla\b",
    multiply=r"^fmul\b",
    add=r"^fadd\b",
    load=r"^(?:ldu?r\s+[qsd]\d|ldp\s+[qd]\d|ld1).*\[(?!sp)",
    load_pair=r"^ldp\b",
    call=r"^blr?\b",
    stack=r"\[sp\b",
    jump=r"^(?:b(?:\.\w+)?|cbn?z|tbn?z)\s(?:.*\s)?(\.L\w+)",
    leaves=r"^(b\s|br\b|ret\b|brk\b)",
    comment="//",
)


@dataclass(frozen=True)
class Code:
    """Some instructions of a function."""

    instructions: tuple[str, ...]
    names: InstructionSet

    def _count(self, pattern: str, lanes: int) -> int:
        register = self.names.registers[lanes]
        return sum(bool(re.search(pattern, line) and re.search(register, line)) for line in self.instructions)

    def multiply_adds(self, lanes: int) -> int:
        """On vectors of so many lanes. Where they are two instructions each, the sums are counted: a product may serve two."""
        if self.names.fused is not None:
            return self._count(self.names.fused, lanes)
        return self.adds(lanes) if self._count(self.names.multiply, lanes) else 0

    def adds(self, lanes: int) -> int:
        return self._count(self.names.add, lanes)

    @property
    def loads(self) -> int:
        """Of vectors, and of single elements that are spread over one; not from the stack."""
        found = [line for line in self.instructions if re.search(self.names.load, line)]
        return len(found) + sum(bool(re.search(self.names.load_pair, line)) for line in found)

    @property
    def calls(self) -> list[str]:
        return [line for line in self.instructions if re.search(self.names.call, line)]

    @property
    def spills(self) -> list[str]:
        return [line for line in self.instructions if self.names.touches_stack(line)]


class Function:
    """One function of an assembly text, as a graph of blocks: straight runs of instructions that end with a jump."""

    def __init__(self, assembly: str, symbol: str, names: InstructionSet):
        self.names = names
        self.blocks: list[list[str]] = [[]]
        labels: dict[str, int] = {}
        for line in _lines(assembly, symbol, names.comment):
            if line.endswith(":"):
                if self.blocks[-1]:
                    self.blocks.append([])
                labels[line[:-1]] = len(self.blocks) - 1
            else:
                self.blocks[-1].append(line)
                if re.search(names.jump, line) or re.search(names.leaves, line):
                    self.blocks.append([])
        self.successors = [self._followed_by(i, labels) for i in range(len(self.blocks))]

    def _followed_by(self, block: int, labels: dict[str, int]) -> set[int]:
        last = self.blocks[block][-1] if self.blocks[block] else ""
        jump = re.search(self.names.jump, last)
        after = {block + 1} if block + 1 < len(self.blocks) and not re.search(self.names.leaves, last) else set()
        return after | ({labels[jump[1]]} if jump else set())

    @property
    def code(self) -> Code:
        return self._code(range(len(self.blocks)))

    def _code(self, blocks) -> Code:
        return Code(tuple(line for block in sorted(blocks) for line in self.blocks[block]), self.names)

    def innermost_loops(self) -> Iterator[Code]:
        loops = self._loops()
        for head, body in loops.items():
            if not any(other in body for other in loops if other != head):
                yield self._code(body)

    def _loops(self) -> dict[int, set[int]]:
        """The natural loops, by their heads: all blocks that reach a jump back to the head without passing it."""
        predecessors = [{i for i, after in enumerate(self.successors) if block in after} for block in range(len(self.blocks))]
        dominators = self._dominators(predecessors)
        loops: dict[int, set[int]] = {}
        for block, after in enumerate(self.successors):
            for head in after & dominators[block]:
                body = loops.setdefault(head, {head})
                waiting = [block]
                while waiting:
                    member = waiting.pop()
                    if member not in body:
                        body.add(member)
                        waiting += predecessors[member]
        return loops

    def _dominators(self, predecessors: list[set[int]]) -> list[set[int]]:
        """For each block, the blocks that lie on every way to it from the first."""
        every = set(range(len(self.blocks)))
        dominators = [{0}] + [every] * (len(self.blocks) - 1)
        changed = True
        while changed:
            changed = False
            for block in range(1, len(self.blocks)):
                above = [dominators[before] for before in predecessors[block]]
                now = {block} | (set.intersection(*above) if above else every)
                changed |= now != dominators[block]
                dominators[block] = now
        return dominators


def _lines(assembly: str, symbol: str, comment: str) -> list[str]:
    """Labels and instructions of a function, comments and directives left out."""
    body = re.search(rf"^\"?{re.escape(symbol)}\"?:.*?^\.Lfunc_end\w+:", assembly, re.MULTILINE | re.DOTALL)
    if body is None:
        raise LookupError(f"no function {symbol} in the assembly")
    lines = (line.partition(comment)[0].strip() for line in body[0].splitlines()[1:-1])
    return [line for line in lines if line and (line.endswith(":") or not line.startswith("."))]
