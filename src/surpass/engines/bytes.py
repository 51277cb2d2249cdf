"""A tokenizer for engines without a vocabulary of their own: ids 0 to 255 are bytes, 256 ends a turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

END = 256
VOCABULARY = 257


class ByteText:
    """Messages as lines "role: content"; an answer begins after "assistant: "."""

    chats = True
    rows = VOCABULARY
    vocabulary = "bytes"

    def _line(self, message: Mapping[str, str]) -> str:
        return f"{message['role']}: {message['content']}\n"

    def open(self, messages: str | Sequence[Mapping[str, str]]) -> list[int]:
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        return list(("".join(self._line(message) for message in messages) + "assistant: ").encode())

    def tell(
        self, message: str | Mapping[str, str] | Sequence[Mapping[str, str]], last: int | None
    ) -> list[int]:
        message = {"role": "user", "content": message} if isinstance(message, str) else message
        said = "".join(map(self._line, [message] if isinstance(message, Mapping) else message))
        return [*([] if last == END else [END]), *("\n" + said + "assistant: ").encode()]

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        return bytes(int(token) for token in tokens if token < END).decode("utf-8", "replace")
