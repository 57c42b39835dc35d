"""The state of a pickle that is being read: a stack, marks and a memo of plain data."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Final

from zinv.errors import CheckpointError
from zinv.unpickle import builders
from zinv.unpickle.allowed import Rules
from zinv.unpickle.builders import kind
from zinv.unpickle.records import Array, Global, NumpyDtype, Stub, Text
from zinv.unpickle.source import Cursor, Span, shown

LONG_TEXT: Final = 64 << 10
LONG_NAME: Final = 256
SHORT_LINE: Final = 1024


class Machine:
    """What one pickle has built so far; `opcodes.run` drives it.

    Attributes:
        cursor: where in the file it is.
        rules: what may be named, and the budget.
        persistent: what a persistent id stands for; None where there may be none.
    """

    def __init__(self, cursor: Cursor, rules: Rules, persistent: Callable[[object], object] | None = None):
        self.cursor, self.rules, self.persistent = cursor, rules, persistent
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> object:
        """Take the last value off the stack."""
        self.top()
        return self.stack.pop()

    def top(self) -> object:
        """The last value on the stack."""
        if not self.stack:
            raise CheckpointError("nothing is on the stack")
        return self.stack[-1]

    def marked(self) -> list[object]:
        """Everything since the last mark."""
        if not self.marks:
            raise CheckpointError("nothing was marked")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def text(self, num: int) -> str | Text:
        """The next bytes as text, unread if it is long."""
        if num > LONG_TEXT:
            return Text(self.cursor.skip(num), "utf-8")
        return self.decoded(self.cursor.take(num), "utf-8")

    def decoded(self, content: bytes, encoding: str) -> str:
        """Text, paid for."""
        try:
            text = content.decode(encoding)
        except UnicodeError:
            raise CheckpointError("text that cannot be decoded") from None
        self.rules.budget.spend(sys.getsizeof(text))
        return text

    def text_line(self, encoding: str) -> str | Text:
        """A line as text, unread if it is long."""
        span = self.cursor.line()
        return Text(span, encoding) if span.length > LONG_TEXT else self.decoded(span.peek(), encoding)

    def old_string(self, num: int) -> str | Span:
        """The next bytes as Python 2 kept both text and bytes; they are bytes if they are many."""
        if num > LONG_TEXT:
            return self.cursor.skip(num)
        return self.decoded(self.cursor.take(num), "latin1")

    def short_line(self) -> bytes:
        """A line of a name or a number."""
        span = self.cursor.line()
        if span.length > SHORT_LINE:
            raise CheckpointError(f"a line of {span.length:,} bytes")
        return span.peek()

    def whole(self, line: bytes) -> int:
        """The whole number on a line."""
        if not re.fullmatch(rb"[-+]?[0-9]{1,600}L?", line):
            raise CheckpointError(f"{shown(line)} is not a whole number")
        return int(line.removesuffix(b"L"))

    def named(self, module: object, name: object) -> Global | str:
        """What a module and a name stand for."""
        if not isinstance(module, str) or not isinstance(name, str) or max(len(module), len(name)) > LONG_NAME:
            raise CheckpointError(f"{kind(module)} and {kind(name)} in the place of a module and a name")
        return self.rules.name(module, name)

    def named_on_lines(self) -> Global | str:
        """What a module and a name, each on its line, stand for."""
        module = self.decoded(self.short_line(), "utf-8")
        return self.named(module, self.decoded(self.short_line(), "utf-8"))

    def extend(self, items: list[object]) -> None:
        """Add items to the list on top."""
        into = self.top()
        if not isinstance(into, list):
            raise CheckpointError(f"items for {kind(into)}")
        into.extend(items)

    def update(self, items: list[object]) -> None:
        """Add keys and values, one after the other, to the dict on top."""
        into = self.top()
        if not isinstance(into, dict) or len(items) % 2:
            raise CheckpointError(f"{len(items)} keys and values for {kind(into)}")
        into.update(zip(map(builders.key_of, items[::2]), items[1::2], strict=True))

    def remember(self, index: int) -> None:
        """Put the value on top into the memo too."""
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        """Push an entry of the memo."""
        if index not in self.memo:
            raise CheckpointError(f"the memo has no entry {index}")
        self.push(self.memo[index])

    def build(self, state: object) -> None:
        """Give the value on top its state."""
        value, budget = self.top(), self.rules.budget
        if isinstance(value, Stub):
            value.state.update(builders.state_of(budget, state))
        elif isinstance(value, Array):
            builders.fill_array(budget, value, state)
        elif isinstance(value, NumpyDtype):
            builders.fill_dtype(value, state)
        elif not isinstance(value, dict):  # an OrderedDict's attributes are left out
            raise CheckpointError(f"a state for {kind(value)}")

    def load_persistent(self, key: object) -> None:
        """Push what a persistent id stands for."""
        if self.persistent is None:
            raise CheckpointError("a persistent id, which no pickle of this kind has")
        self.push(self.persistent(key))
