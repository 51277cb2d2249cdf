"""Between chat messages and tokens: templates, stop strings, decoding. Drawn tokens are never turned into text and back."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from surpass.errors import SurpassError

_USER, _ANSWER = "u5er", "an5wer"  # unlikely in a template's own words


def as_messages(said: str | Mapping[str, str] | Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Text as one user message, a message as a list of one."""
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    return [said] if isinstance(said, Mapping) else list(said)


class Text:
    """A tokenizer of transformers with its chat template. Templates are rendered by transformers' sandboxed renderer;
    a template that prints the date is given one fixed date, so that runs repeat."""

    def __init__(self, tokenizer, date: str = "01 January 2026"):
        self.tokenizer, self.date = tokenizer, date

    @property
    def chats(self) -> bool:
        return bool(getattr(self.tokenizer, "chat_template", None))

    def _render(self, messages: Sequence[Mapping[str, str]], answer_next: bool) -> str:
        return self.tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=answer_next, tokenize=False, date_string=self.date
        )

    def encode(self, text: str) -> list[int]:
        """Tokens of text that nobody drew, without special ones."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    @property
    def end(self) -> int:
        """The token that ends a turn: the template's where it has one, else the end of text."""
        ending = self.encode(self._turn_end) if self.chats else []
        return int(ending[0] if ending else self.tokenizer.eos_token_id)

    def reserved(self) -> int:
        """A token that no text is made of: the last special one that neither ends nor begins a turn, else the one for the unknown."""
        tokenizer = self.tokenizer
        ids = tokenizer.all_special_ids
        used = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id}
        if self.chats:
            used |= set(self.open(_USER)) | set(self.tell(_USER, None))
        free = [token for token in ids if token not in used]
        if not free:
            raise SurpassError("this tokenizer reserves no token that could serve as a mark; name one: mark=...")
        return int(max(free))

    def open(self, messages: str | Sequence[Mapping[str, str]]) -> list[int]:
        """Tokens of a new context, up to where an answer begins.

        Text counts as one user message where the model has a chat template, and as the raw beginning where it has none.
        """
        if isinstance(messages, str):
            if not self.chats:
                return self.tokenizer(messages)["input_ids"]
            messages = [{"role": "user", "content": messages}]
        if not self.chats:
            raise SurpassError("this model has no chat template, so it cannot be given chat messages; give the task's prompt as "
                               "plain text, or use the instruction-tuned version of the model")  # fmt: skip
        return self.encode(self._render(messages, True))

    @functools.cached_property
    def _turn_end(self) -> str:
        """What the template writes after an answer, before the next turn."""
        text = self._render([{"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}], False)
        return text[text.rindex(_ANSWER) + len(_ANSWER) :]

    def tell(self, message: str | Mapping[str, str] | Sequence[Mapping[str, str]], last: int | None) -> list[int]:
        """Tokens that follow an answer whose last token was `last`: its end of turn if it has none, the message or messages, and
        the beginning of the next answer. Only this suffix is rendered; what was drawn stays as it is."""
        messages = as_messages(message)
        if not self.chats:
            return self.encode("\n".join(message["content"] for message in messages))
        answer = [{"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}]
        head, whole = self._render(answer, False), self._render([*answer, *messages], True)
        if not whole.startswith(head):
            raise SurpassError("this chat template rewrites earlier turns when a message is added; open a new context instead")
        end = self._turn_end
        ending = self.encode(end)
        if last is not None and ending and ending[0] == last:
            ending = ending[1:]
        return [*ending, *self.encode(whole[len(head) :])]

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of whole tokens, without special ones."""
        return self.tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True)

    @functools.cached_property
    def _pieces(self) -> list[str]:
        return [self.tokenizer.decode([token]) for token in range(len(self.tokenizer))]

    @functools.lru_cache(maxsize=64)  # noqa: B019 - one Text lives as long as its engine
    def may_stop(self, stop: tuple[str, ...], vocabulary: int) -> Tensor:
        """bool[vocabulary]: tokens that could complete one of the strings: those whose text holds the last character of one."""
        mask = torch.zeros(vocabulary, dtype=torch.bool)
        if stop:
            lasts = {string[-1] for string in stop}
            mask[
                [
                    i
                    for i, piece in enumerate(self._pieces)
                    if i < vocabulary and ("\ufffd" in piece or not lasts.isdisjoint(piece))
                ]
            ] = True
        return mask

    def stopped(self, tokens: list[int], stop: tuple[str, ...], stop_tokens: tuple[int, ...]) -> bool:
        """Whether the last of these drawn tokens is a stop token or completes a stop string."""
        if tokens[-1] in stop_tokens:
            return True
        if not stop:
            return False
        text, before = self.tokenizer.decode(tokens), self.tokenizer.decode(tokens[:-1])
        return any(text.count(string) > before.count(string) for string in stop)
