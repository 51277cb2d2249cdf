"""Between chat messages and tokens: templates, stop strings, decoding. Drawn tokens never become text and
tokens again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surpass.answers import opening
from surpass.engines.guard import ENCODE, Beyond, Refused, guard
from surpass.engines.templates import ANSWER, USER, Message, Template, answer, as_messages
from surpass.engines.trusted import telling, trusted
from surpass.errors import SurpassError

__all__ = ["Text", "as_messages"]


class Text:
    """A tokenizer of transformers with its chat template (surpass.engines.templates).

    `ends` are the model's own list of tokens that end a turn, besides the end of text and what the template
    writes after an answer. `rows` is how many tokens the model's table of embeddings holds (0: all).
    `arguments` are given to the template.
    """

    def __init__(
        self,
        tokenizer: Any,
        date: str = "01 January 2026",
        ends: Iterable[int] = (),
        rows: int = 0,
        arguments: Mapping[str, Any] | None = None,
    ):
        self.tokenizer, self.rows = tokenizer, rows
        self._core, self._apart = trusted(tokenizer)
        self.chats = bool(getattr(tokenizer, "chat_template", None))
        if arguments and not self.chats:
            raise SurpassError(
                f"this model has no chat template that could take the argument {', '.join(arguments)}"
            )
        if self.chats:
            self.template = Template(tokenizer, date, arguments or {})
        known = {tokenizer.eos_token_id, self._template_end}
        self.ends = frozenset({int(token) for token in {*ends, *known} if token is not None})
        marks = {tokenizer.bos_token_id, tokenizer.pad_token_id} - {None}
        self.silent = self.ends | {int(token) for token in marks}  # begin, end or pad a turn, and say nothing
        if rows:
            self._check_rows()

    @functools.cached_property
    def vocabulary(self) -> str:
        """A digest of which token is which: the same for two tokenizers that read each other's tokens."""
        known = json.dumps(sorted(self.tokenizer.get_vocab().items()))
        return hashlib.blake2b(known.encode(), digest_size=8).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The tokens of a text that was not drawn, without special ones. SurpassError for a token without an
        embedding in the model.
        """
        return self._known(self._read(text, False))

    def _read(self, text: str, special: bool) -> list[int]:
        """The tokens of a text, read in another process if the tokenizer's expressions may not end."""
        if self._apart:
            given = {} if self._apart in guard().held else {"whole": self._core.to_str()}
            try:
                found = guard().ask("encode", ENCODE, key=self._apart, text=text, special=special, **given)
            except (Beyond, Refused) as error:
                raise SurpassError(
                    f"the model's tokenizer cannot read a text of {len(text)} characters: {error}"
                ) from error
            guard().held.add(self._apart)
            return found
        with telling("cannot read a text"):
            return self.tokenizer(text, add_special_tokens=special)["input_ids"]

    def _known(self, tokens: list[int]) -> list[int]:
        """The tokens; SurpassError where the model has no embedding of one."""
        if self.rows and tokens and max(tokens) >= self.rows:
            raise SurpassError(self._beyond([max(tokens)]))
        return tokens

    def _beyond(self, tokens: Sequence[int]) -> str:
        names = ", ".join(f"{self.tokenizer.convert_ids_to_tokens(t)!r} (id {t})" for t in tokens[:3])
        return (
            f"the tokenizer has {names}{' ...' if len(tokens) > 3 else ''}, and the model's table of "
            f"embeddings holds {self.rows} tokens: it was not resized when tokens were added. Call "
            "model.resize_token_embeddings(len(tokenizer)), save model and tokenizer together, and "
            "give that folder"
        )

    def _check_rows(self) -> None:
        """SurpassError where the template writes a token without an embedding, or no turn could end."""
        vocabulary = self.tokenizer.get_added_vocab().values()
        beyond = sorted({*self.ends, *vocabulary} - set(range(self.rows)) - {self.tokenizer.pad_token_id})
        if self.ends and self.ends <= set(beyond):
            raise SurpassError(self._beyond(beyond))
        if beyond:
            warnings.warn(
                f"{self._beyond(beyond)}. Until then a text that holds one is refused", stacklevel=4
            )
        if self.chats and self.template.ending[0]:
            self.open(USER)
            self.encode(self.template.ending[0])

    @functools.cached_property
    def _template_end(self) -> int | None:
        """The token with which the template ends a turn; None where it ends it without one."""
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.get_added_vocab().values()}
        ending, begins = self.template.ending if self.chats else ("", False)
        tokens = self._read(ending.lstrip(), False) if ending.strip() else []
        marks = [token for token in tokens if token in special]
        if not marks or marks[0] != tokens[0] or (begins and len(marks) == 1):
            return None
        return int(marks[0])

    @property
    def end(self) -> int:
        """The token that ends a turn: the template's where it has one, else the end of text."""
        end = self.tokenizer.eos_token_id if self._template_end is None else self._template_end
        if end is None:
            raise SurpassError(
                "this tokenizer names no token that ends a turn (eos_token), nor does a chat template "
                "write one"
            )
        return int(end)

    def reserved(self) -> int:
        """A token that no text contains: the last special one that the chat template does not use."""
        used = set(self.silent)
        if self.chats:
            turns = [
                {"role": "user", "content": USER},
                {"role": "assistant", "content": ANSWER},
                {"role": "user", "content": USER},
            ]
            used |= set(self.open(USER)) | set(self.open(turns))
        free = [
            token
            for token in self.tokenizer.all_special_ids
            if token not in used and not 0 < self.rows <= token
        ]
        if not free:
            raise SurpassError(
                "this tokenizer reserves no token that could serve as a mark; name one: mark=..."
            )
        return int(max(free))

    def open(self, messages: str | Sequence[Message]) -> list[int]:
        """Tokens of a new context, up to where an answer begins.

        Text counts as one user message where the model has a chat template. Where it has none, text is the
        raw beginning, with the tokens that the tokenizer puts before a text and without those after it.
        """
        if self.chats:
            return self._begun(self.encode(self.template.render(as_messages(messages), True)))
        if not isinstance(messages, str):
            raise SurpassError(
                "this model has no chat template, so it cannot be given chat messages; give the task's "
                "prompt as plain text, or use the instruction-tuned version of the model"
            )
        plain, whole = self.encode(messages), self._known(self._read(messages, True))
        if not plain:  # only what stands before a text
            return [token for token in whole if token == self.tokenizer.bos_token_id][:1]
        at = next((i for i in range(len(whole) - len(plain) + 1) if whole[i : i + len(plain)] == plain), None)
        return self._begun(whole if at is None else whole[: at + len(plain)])

    def _begun(self, tokens: list[int]) -> list[int]:
        """The tokens with one beginning of text, where both the template and the tokenizer wrote one."""
        while (
            len(tokens) > 1
            and tokens[0] == tokens[1] == self.tokenizer.bos_token_id != self.tokenizer.eos_token_id
        ):
            tokens = tokens[1:]
        return tokens

    def thinks_first(self, prompt: Sequence[int] | np.ndarray) -> str:
        """The mark of a thought, such as "<think>\\n", with which a prompt ends, so that what is drawn begins
        within the thought; "" where it ends with none.
        """
        tail = self._write([int(token) for token in prompt[-24:]], skip_special_tokens=False)
        return opening(tail) if self.chats else ""

    def said(self, prompt: Sequence[int] | np.ndarray, drawn: Sequence[int] | np.ndarray) -> Message:
        """The assistant's message that was drawn after `prompt`."""
        return answer(self.thinks_first(prompt) + self.decode(drawn))

    def tell(self, message: str | Message | Sequence[Message], last: int | None) -> list[int]:
        """Tokens that follow an answer whose last token was `last`: the end of its turn if it has none, the
        message or messages, and the beginning of the next answer. Only this suffix is rendered; what was
        drawn stays as it is. Use it where the history is not known; `follow` is exact.
        """
        if not self.chats:
            return self.encode("\n".join(str(one["content"]) for one in as_messages(message)))
        rest = self.template.after([{"role": "user", "content": USER}], "", ANSWER, as_messages(message))
        tokens = None if rest is None else self._suffix(rest, last)
        if tokens is None:
            raise SurpassError(
                "this chat template rewrites earlier turns when a message is added, and what they said "
                "is not known here; open a new context with all messages instead: models.open"
            )
        return tokens

    def follow(
        self,
        history: Sequence[Message],
        prompt: Sequence[int] | np.ndarray,
        drawn: Sequence[int] | np.ndarray,
        message: Any,
    ) -> list[int] | None:
        """As `tell`, after the answer `drawn` to `history`, whose last tokens are `prompt`. None where the
        template would rewrite what is already in the context, so that a new one has to be opened.
        """
        rest = self.template.after(
            history, self.thinks_first(prompt), self.decode(drawn), as_messages(message)
        )
        return None if rest is None else self._suffix(rest, int(drawn[-1]) if len(drawn) else None)

    def _suffix(self, rest: str, last: int | None) -> list[int] | None:
        """Tokens of the rest; an end that was drawn is not written again. None where the end that was drawn
        is not the one that the rest begins with, such as the mark of another speaker.
        """
        if last in self.ends:
            mark = self._write([last], skip_special_tokens=False)
            if rest.lstrip().startswith(mark):
                rest = rest.lstrip()[len(mark) :]
            elif last == self.end or self._template_end is None:
                return None
        return self.encode(rest)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of whole tokens, without those that begin, end or pad a turn. Other special tokens, such
        as a model's marks of thoughts, tools and channels, are text.
        """
        said = [int(token) for token in tokens if int(token) not in self.silent]
        return self._write(said, skip_special_tokens=False)

    def _write(self, tokens: Sequence[int], **options: Any) -> str:
        with telling("cannot write what was drawn"):
            return self.tokenizer.decode(tokens, **options)

    @functools.cached_property
    def _pieces(self) -> list[str]:
        return [self._write([token]) for token in range(len(self.tokenizer))]

    @functools.lru_cache(maxsize=64)  # noqa: B019
    def may_stop(self, stop: tuple[str, ...], vocabulary: int) -> Tensor:
        """bool[vocabulary]: tokens that could complete a stop string: their text has its last character."""
        mask = torch.zeros(vocabulary, dtype=torch.bool)
        if stop:
            lasts = {*(string[-1] for string in stop), "\ufffd"}  # U+FFFD: a part of some character
            pieces = self._pieces[:vocabulary]
            mask[[i for i, piece in enumerate(pieces) if not lasts.isdisjoint(piece)]] = True
        return mask

    def stopped(self, tokens: list[int], stop: tuple[str, ...], stop_tokens: tuple[int, ...]) -> bool:
        """Whether the last of these drawn tokens is a stop token or completes a stop string."""
        if tokens[-1] in stop_tokens:
            return True
        if not stop:
            return False
        text, before = self._write(tokens), self._write(tokens[:-1])
        return any(text.count(string) > before.count(string) for string in stop)
