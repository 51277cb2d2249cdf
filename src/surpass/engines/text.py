"""Between chat messages and tokens: templates, stop strings, decoding. Drawn tokens are never turned into
text and back.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surpass.answers import opening
from surpass.engines.guard import ENCODE, Beyond, Refused, guard
from surpass.engines.guarded import PARTS, regexes, unfit
from surpass.engines.templates import ANSWER, USER, Message, Template, answer, as_messages
from surpass.errors import SurpassError

__all__ = ["Text", "as_messages"]


_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n%s]*|\s*[\r\n"
    r"]+|\s+(?!\S)|\s+"
)
KNOWN = frozenset(
    {
        _WORDS % ("", ""),
        _WORDS % ("{1,3}", ""),
        _WORDS % ("{1,3}", "/"),
        _WORDS % ("{1,2}", ""),
        r"\p{N}{1,3}",
        r"\p{N}",
        r"\d",
        r"\d{1,3}",
        r"[0-9]",
        r"[0-9][0-9][0-9]",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| "
        r"?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"[^\r\n"
        r"\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n"
        r"\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| "  # noqa: E501
        r"?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[一-龥぀-ゟ゠-ヿ]+",
        r"[\s\S]",
        r"\s+",
        r" {2,}",
        r"\n",
        r"[\r\n]",
        r"[\n\r\t]",
        r"\s{2,}|[\n\r\t]",
        r" ?[^(\s|[.,!?…。，、।۔،])]+",
    }
)
"""Regular expressions of tokenizers in common use; none of them needs more than a few steps a character."""


@contextlib.contextmanager
def telling(what: str) -> Iterator[None]:
    """A panic of the tokenizer's native code, which is no Exception, as a SurpassError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise SurpassError(
            f"the model's tokenizer {what}: its code panics: {' '.join(str(error).split())[:200]}"
        ) from error


def _trusted(tokenizer: Any) -> tuple[Any, str]:
    """(the native tokenizer or None, a key where it is to be asked in another process, else ""). SurpassError
    where it could make texts far longer. It draws no lots: a model with BPE dropout would read one text in
    many ways.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None or not hasattr(core, "to_str"):
        return None, ""
    if getattr(core.model, "dropout", None):
        core.model.dropout = None
    parts = {
        name: json.loads(part.__getstate__())
        for name in PARTS
        if (part := getattr(core, name, None)) is not None
    }
    if why := unfit(parts):
        raise SurpassError(f"the model's tokenizer cannot be used: {why}")
    strange = regexes(list(parts.values())) - KNOWN
    return core, hashlib.blake2b(core.to_str().encode(), digest_size=16).hexdigest() if strange else ""


class Text:
    """A tokenizer of transformers with its chat template (surpass.engines.templates).

    `ends` are tokens that end a turn beside the end of text and what the template writes after an answer: a
    model's own list. `rows` is how many tokens the model's table of embeddings holds (0: all). `arguments`
    are given to the template.
    """

    def __init__(
        self,
        tokenizer,
        date: str = "01 January 2026",
        ends: Iterable[int] = (),
        rows: int = 0,
        arguments: Mapping[str, Any] | None = None,
    ):
        self.tokenizer, self.rows = tokenizer, rows
        self._core, self._apart = _trusted(tokenizer)
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
        self.silent = self.ends | {int(token) for token in marks}  # say nothing: begin, end or fill up a turn
        if rows:
            self._check_rows()

    @functools.cached_property
    def vocabulary(self) -> str:
        """A digest of which token is which: the same for two tokenizers that read each other's tokens."""
        known = json.dumps(sorted(self.tokenizer.get_vocab().items()))
        return hashlib.blake2b(known.encode(), digest_size=8).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Tokens of text that nobody drew, without special ones. SurpassError for a token that the model has
        no embedding of.
        """
        return self._known(self._read(text, False))

    def _read(self, text: str, special: bool) -> list[int]:
        """The tokens of a text. Where a tokenizer searches by expressions that are not known to end, another
        process does it.
        """
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
        """SurpassError where the template writes a token that the model does not have, or no end of a turn
        can be drawn.
        """
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
        """The token with which the template ends a turn; None where it writes none, or plain text."""
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
        """A token that no text is made of: the last special one that neither ends nor begins a turn, else the
        one for the unknown.
        """
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

        Text counts as one user message where the model has a chat template, and as the raw beginning where it
        has none: then with the tokens that the tokenizer puts before a text, and without those it puts after
        one.
        """
        if self.chats:
            return self._begun(self.encode(self.template.render(as_messages(messages), True)))
        if not isinstance(messages, str):
            raise SurpassError(
                "this model has no chat template, so it cannot be given chat messages; give the task's "
                "prompt as plain text, or use the instruction-tuned version of the model"
            )
        plain, whole = self.encode(messages), self._known(self._read(messages, True))
        if not plain:  # what stands before a text, and not what stands after one
            return [token for token in whole if token == self.tokenizer.bos_token_id][:1]
        at = next((i for i in range(len(whole) - len(plain) + 1) if whole[i : i + len(plain)] == plain), None)
        return self._begun(whole if at is None else whole[: at + len(plain)])

    def _begun(self, tokens: list[int]) -> list[int]:
        """The tokens with one beginning of text, where both a text and its tokenizer wrote one."""
        while (
            len(tokens) > 1
            and tokens[0] == tokens[1] == self.tokenizer.bos_token_id != self.tokenizer.eos_token_id
        ):
            tokens = tokens[1:]
        return tokens

    def thinks_first(self, prompt: Sequence[int] | np.ndarray) -> str:
        """The mark with which these tokens, what stands before an answer, begin a thought, e.g. "<think>\\n":
        what is drawn then is a thought from its first token on. "" where they begin none.
        """
        tail = self._write([int(token) for token in prompt[-24:]], skip_special_tokens=False)
        return opening(tail) if self.chats else ""

    def said(self, prompt: Sequence[int] | np.ndarray, drawn: Sequence[int] | np.ndarray) -> Message:
        """The assistant's message that was drawn after `prompt`."""
        return answer(self.thinks_first(prompt) + self.decode(drawn))

    def tell(self, message: str | Message | Sequence[Message], last: int | None) -> list[int]:
        """Tokens that follow an answer whose last token was `last`: its end of turn if it has none, the
        message or messages, and the beginning of the next answer. Only this suffix is rendered; what was
        drawn stays as it is. For an answer whose history is not known; `follow` is exact.
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
        """As `tell`, after the answer `drawn` to `history`, of which `prompt` are the last tokens; None where
        the template writes otherwise what is in the context already, so that a new one has to be opened.
        """
        rest = self.template.after(
            history, self.thinks_first(prompt), self.decode(drawn), as_messages(message)
        )
        return None if rest is None else self._suffix(rest, int(drawn[-1]) if len(drawn) else None)

    def _suffix(self, rest: str, last: int | None) -> list[int] | None:
        """Tokens of the rest, of which an end that was drawn is not written again. None where what was drawn,
        e.g. one speaker's mark, is no end that this rest could go on from, e.g. with another's.
        """
        if last in self.ends:
            mark = self._write([last], skip_special_tokens=False)
            if rest.lstrip().startswith(mark):
                rest = rest.lstrip()[len(mark) :]
            elif last == self.end or self._template_end is None:
                return None
        return self.encode(rest)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of whole tokens, without those that begin or end a turn or fill it up; other special ones,
        such as a model's marks of thoughts, tools and channels, are text.
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
        """bool[vocabulary]: tokens that could complete one of the strings: those whose text holds the last
        character of one.
        """
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
        text, before = self._write(tokens), self._write(tokens[:-1])
        return any(text.count(string) > before.count(string) for string in stop)
