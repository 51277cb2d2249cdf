"""A tokenizer for engines that take chat messages: the bytes of each message, and markers between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surpass.engines.bytes import END
from surpass.engines.templates import in_words
from surpass.errors import SurpassError

ROLES = ("system", "user", "assistant", "tool")
MARKERS = {role: END + 1 + i for i, role in enumerate(ROLES)}
ROLE_OF = {marker: role for role, marker in MARKERS.items()}
ANSWER = MARKERS["assistant"]  # the last token where an answer is to begin


class MessageText:
    """Ids 0 to 255 are bytes of UTF-8, 256 ends a turn, ids from 257 on begin a message of a role in
    ROLES.

    `messages` is the inverse of `open` and `tell`: it turns any path of a tree into chat messages again,
    without loss and without the model's own tokenizer. Lone surrogates, which are no text, become "?".

    >>> MessageText().messages(MessageText().open("Hi"))
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': ''}]
    """

    chats = True
    rows = END + 1 + len(ROLES)
    vocabulary = "messages"

    def _message(self, message: str | Mapping[str, str]) -> list[int]:
        message = {"role": "user", "content": message} if isinstance(message, str) else message
        if {"tool_calls", "name"} & message.keys():
            message = in_words(message)
        role, content = message.get("role"), message.get("content")
        if role not in MARKERS:
            raise SurpassError(f"a chat message needs one of the roles {', '.join(ROLES)}; found {role!r}")
        if not isinstance(content, str) or len(message) > 2:
            fields = ", ".join(f"{name} ({type(value).__name__})" for name, value in message.items())
            raise SurpassError(
                'a message to this engine is {"role": ..., "content": TEXT} and nothing else; found '
                f"{fields}"
            )
        return [MARKERS[role], *self.encode(content)]

    def open(self, messages: str | Sequence[Mapping[str, str]]) -> list[int]:
        """Tokens of a new context, up to where an answer begins; text counts as one user message."""
        said = [messages] if isinstance(messages, str) else messages
        return [*(token for message in said for token in self._message(message)), ANSWER]

    def tell(
        self, message: str | Mapping[str, str] | Sequence[Mapping[str, str]], last: int | None
    ) -> list[int]:
        """Tokens that follow an answer whose last token was `last`: the end of its turn if it has none, the
        message or messages, and the beginning of the next answer.
        """
        said = [message] if isinstance(message, (str, Mapping)) else message
        return [
            *([] if last == END else [END]),
            *(token for one in said for token in self._message(one)),
            ANSWER,
        ]

    def encode(self, text: str) -> list[int]:
        return list(text.encode("utf-8", "replace"))

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of the tokens; each message among them begins a line with its role. Bytes that are no
        UTF-8 become U+FFFD.
        """
        text = bytearray()
        for token in map(int, tokens):
            if token in ROLE_OF:
                text += (b"\n" if text else b"") + ROLE_OF[token].encode() + b": "
            elif token < END:
                text.append(token)
        return text.decode("utf-8", "replace")

    def messages(self, tokens: Sequence[int] | np.ndarray) -> list[dict[str, str]]:
        """The messages of a whole context; the last is the assistant's so far, "" at the beginning of an
        answer.

        SurpassError for text outside of any message, and for tokens of another engine.
        """
        found: list[tuple[str, bytearray]] = []
        ended = True
        for token in map(int, tokens):
            if token in ROLE_OF:
                found.append((ROLE_OF[token], bytearray()))
                ended = False
            elif token == END:
                ended = True
            elif ended or token > END:
                raise SurpassError(
                    "these tokens are no chat messages of this engine: begin with `open` and go on "
                    "with `tell`"
                )
            else:
                found[-1][1].append(token)
        return [{"role": role, "content": content.decode("utf-8", "replace")} for role, content in found]
