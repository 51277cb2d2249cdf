"""Chat templates: the text that a model's own template makes of messages, and which messages it takes."""

from __future__ import annotations

import functools
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from surpass.engines.guard import RENDER, Beyond, Refused, guard
from surpass.errors import SurpassError

Message = Mapping[str, Any]

USER, ANSWER = "u5er", "an5wer"  # unlikely in a template's own words
GIVEN = ("messages", "add_generation_prompt", "strftime_now", "raise_exception")
"""Names that every template is given, which no argument may have."""
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:end|start|channel|return|call)\|>|\Z)", re.DOTALL
)
_REASONING = ("reasoning_content", "thinking", "reasoning")  # names that templates use for thoughts


def as_messages(said: str | Message | Sequence[Message]) -> list[Message]:
    """Text as a list of one user message, a message as a list of one.

    >>> as_messages("Hi")
    [{'role': 'user', 'content': 'Hi'}]
    """
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    return [said] if isinstance(said, Mapping) else list(said)


def answer(said: str) -> Message:
    """What a model wrote, as the assistant's message. Templates remove thoughts from "content" themselves;
    those of gpt-oss refuse channels there, so that they get the thoughts in a field of their own.
    """
    channels = _CHANNEL.findall(said)
    if not channels:
        return {"role": "assistant", "content": said}
    final = "".join(text for channel, text in channels if channel == "final")
    return {
        "role": "assistant",
        "content": final,
        "thinking": "\n".join(text for c, text in channels if c != "final"),
    }


def in_words(message: Message) -> Message:
    """The message with its tool calls as text, a `<tool_call>` for each, for readers that know no
    tool calls.
    """
    calls = [call.get("function", call) for call in message.get("tool_calls") or ()]
    lines = [f"<tool_call>\n{json.dumps(dict(call), ensure_ascii=False)}\n</tool_call>" for call in calls]
    return {
        "role": message["role"],
        "content": "\n".join([*([message["content"]] if message["content"] else []), *lines]),
    }


class Template:
    """The chat template of a tokenizer of transformers, rendered as transformers does, but in a process of
    its own, under limits (surpass.engines.guard): a template is a program, and anybody may have written it.

    So that runs repeat, a template that prints the date always gets the same date. It has no other clock and
    no random numbers, and one that still writes something else in another process is refused. `arguments` are
    more names that it reads, such as enable_thinking. Messages that a template cannot take are changed, and a
    warning says so once: a system message becomes the beginning of the first user message, a tool's result
    the user's words, and several messages of one role in a row become one.
    """

    def __init__(self, tokenizer: Any, date: str, arguments: Mapping[str, Any]):
        self.tokenizer, self.date, self.arguments = tokenizer, date, dict(arguments)
        self.source = _source(tokenizer)
        self._check_arguments()
        self.reads_calls = "tool_calls" in self.source
        day = datetime.strptime(date, "%d %B %Y")
        self.day = (day.year, day.month, day.day)
        self._broken = ""
        self._told: set[str] = set()
        self._require_repeats()

    def _check_arguments(self) -> None:
        if not self.arguments:
            return
        try:
            reads = set(guard().ask("reads", RENDER, source=self.source))
        except (Refused, Beyond):
            return  # rendering reports it
        for name in self.arguments:
            if name not in reads or name in GIVEN:
                others = sorted(reads - {*GIVEN, "bos_token", "eos_token", "pad_token", "unk_token"})
                raise SurpassError(
                    f'this model\'s chat template takes no argument "{name}"; '
                    + (f"it takes: {', '.join(others)}" if others else "it takes none")
                )

    def _require_repeats(self) -> None:
        """SurpassError where another process writes something else, such as an object's address."""
        asked, answered = {"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}
        names = self._names([asked, answered, asked], True)
        try:
            repeats = _repeats(self.source, json.dumps(names), self.day)
        except Beyond as error:
            raise SurpassError(self._given_up(error)) from error
        if not repeats:
            raise SurpassError(
                "this model's chat template writes something else in every process, so no run could be "
                "repeated; give its tokenizer another chat_template"
            )

    def render(self, messages: Sequence[Message], answer_next: bool) -> str:
        """The messages as text; with `answer_next` also the beginning of the next answer. SurpassError where
        the template refuses them.
        """
        fitting = self._fitting(messages)
        try:
            return self._rendered(fitting, answer_next)
        except _Refuses:
            joined = _joined(fitting)
            if len(joined) == len(fitting):
                raise
            text = self._rendered(joined, answer_next)
            self._say("refuses messages of one role in a row, so they are put together")
            return text

    def _rendered(self, messages: Sequence[Message], answer_next: bool) -> str:
        plain = [dict(message) for message in messages]
        if self._in_parts:
            plain = [m | {"content": [{"type": "text", "text": m["content"]}]} for m in plain]
        return self._applied(plain, answer_next)

    @functools.cached_property
    def _in_parts(self) -> bool:
        """Whether the template shows contents only as lists of parts, as those of vision models do."""
        for content, parts in ((USER, False), ([{"type": "text", "text": USER}], True)):
            try:
                if USER in self._applied([{"role": "user", "content": content}], True):
                    return parts
            except _Refuses:
                continue
        return False

    def _names(self, messages: Sequence[Mapping[str, Any]], answer_next: bool) -> dict[str, Any]:
        """The names that a template is given, as by transformers; a value that is no JSON is named by its
        type.
        """
        special = {
            name: value if isinstance(value, list) else str(value)
            for name, value in self.tokenizer.special_tokens_map.items()
        }
        plain = [
            {name: value for name, value in message.items() if value is not None} for message in messages
        ]
        for i, message in enumerate(plain):
            if thought := next((message[name] for name in _REASONING if name in message), None):
                plain[i] = {"thinking": thought, **message, "reasoning_content": thought}
        names = special | {"date_string": self.date} | self.arguments
        names |= {"messages": plain, "tools": None, "documents": None, "add_generation_prompt": answer_next}
        return json.loads(
            json.dumps(
                names,
                default=lambda value: (
                    str(value) if hasattr(value, "content") else f"<{type(value).__name__}>"
                ),
            )
        )

    def _given_up(self, error: Beyond) -> str:
        """The message of an error that is raised at once from now on, because each try would take as long."""
        self._broken = f"the model's chat template cannot be used: {error}"
        return self._broken

    def _applied(self, messages: list[dict[str, Any]], answer_next: bool) -> str:
        if self._broken:
            raise SurpassError(self._broken)
        try:
            return guard().ask(
                "render", RENDER, source=self.source, names=self._names(messages, answer_next), date=self.day
            )
        except Beyond as error:
            raise SurpassError(self._given_up(error)) from error
        except (Refused, TypeError, ValueError, RecursionError) as error:
            roles = ", ".join(str(message.get("role")) for message in messages)
            words = " ".join(str(error).split())[:200] or type(error).__name__
            raise _Refuses(
                f"the model's chat template refuses messages of the roles {roles}: {words}"
            ) from error

    def _fitting(self, messages: Sequence[Message]) -> list[Message]:
        """The messages in a form of which this template shows everything."""
        fitting = [in_words(m) if m.get("tool_calls") and not self.reads_calls else m for m in messages]
        roles = {message["role"] for message in fitting}
        if "tool" in roles and not self._shows("tool", any(m.get("tool_calls") for m in fitting)):
            self._say("shows no tool's words, so they are given as the user's")
            fitting = [{**m, "role": "user"} if m["role"] == "tool" else m for m in fitting]
        if "system" in roles and not self._shows("system"):
            self._say("shows no system message, so it is put before the first user message")
            fitting = _folded(fitting)
        return fitting

    @functools.lru_cache(maxsize=8)  # noqa: B019
    def _shows(self, role: str, called: bool = False) -> bool:
        """Whether the template's text contains a message of this role."""
        said = {"role": "user", "content": USER}
        call = {"type": "function", "id": "call00001", "function": {"name": "f", "arguments": {}}}
        spoken = (
            {"role": "assistant", "content": "", "tool_calls": [call]}
            if called
            else {"role": "assistant", "content": "ok"}
        )
        told = {
            "role": role,
            "content": ANSWER,
            **({"name": "f", "tool_call_id": "call00001"} if called else {}),
        }
        messages = [told, said] if role == "system" else [said, spoken, told]
        try:
            return ANSWER in self._rendered(messages, False)
        except _Refuses:
            return False

    def _say(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            warnings.warn(f"this model's chat template {what}", stacklevel=3)

    @functools.cached_property
    def ending(self) -> tuple[str, bool]:
        """(what the template writes after an answer, before the next turn; whether this contains the
        beginning of another answer, which some templates always write). "" where it cannot be tried.
        """
        turns = [{"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}]
        try:
            text, more = (self._rendered(turns, answer_next) for answer_next in (False, True))
        except _Refuses:
            return "", False
        if ANSWER not in text or USER not in text:
            return "", False
        end = text[text.rindex(ANSWER) + len(ANSWER) :]
        return end, text == more and end == text[text.rindex(USER) + len(USER) : text.rindex(ANSWER)]

    def after(self, history: Sequence[Message], opened: str, said: str, new: Sequence[Message]) -> str | None:
        """What the template writes after the answer `said` to `history` when `new` messages and the beginning
        of the next answer follow.

        `opened` is the beginning of a thought that the template wrote before the answer, or "". None where
        the template now rewrites what came before, such as by leaving out thoughts of earlier turns or moving
        a system message. An answer that it only strips of blanks is no such case.
        """
        before = self.render(history, True)
        whole = self.render([*history, answer(opened + said), *new], True)
        if not whole.startswith(before):
            return None
        rest, bare = whole[len(before) :], said.strip()
        if rest.startswith(said):
            return rest[len(said) :]
        rest = rest.lstrip()
        return rest[len(bare) :] if rest.startswith(bare) else None


def _source(tokenizer: Any) -> str:
    """The template's text; of several templates the one named default, or the only one."""
    found = tokenizer.chat_template
    if not isinstance(found, Mapping):
        return str(found)
    if "default" not in found and len(found) > 1:
        raise SurpassError(
            f"this model has several chat templates ({', '.join(sorted(found))}) and none is named default; "
            "give its tokenizer the one to use as chat_template"
        )
    return str(found.get("default") or next(iter(found.values())))


class _Refuses(SurpassError):
    """The template refuses these messages; it may take others."""


@functools.cache
def _ours() -> frozenset[str]:
    """The templates of the models inside this package."""
    return frozenset(
        path.read_text(encoding="utf-8")
        for path in (Path(__file__).parents[1] / "assets").glob("*/chat_template.jinja")
    )


@functools.lru_cache(maxsize=64)
def _repeats(source: str, names: str, day: tuple[int, int, int]) -> bool:
    """Whether two processes with different hashes and addresses write the same; true if the template refuses
    the messages.
    """
    if source in _ours():
        return True
    try:
        one, other = (
            guard(seed).ask("render", RENDER, source=source, names=json.loads(names), date=day)
            for seed in (0, 1)
        )
    except Refused:
        return True  # rendering reports it
    finally:
        guard(1).end()
    return one == other


def _folded(messages: Sequence[Message]) -> list[Message]:
    """System messages at the beginning become part of the first user message, later ones user messages."""
    first = next((i for i, m in enumerate(messages) if m["role"] != "system"), len(messages))
    system = "\n\n".join(str(m["content"]) for m in messages[:first])
    rest = [{**m, "role": "user"} if m["role"] == "system" else m for m in messages[first:]]
    if system and rest and rest[0]["role"] == "user":
        return [{**rest[0], "content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]
    return [{"role": "user", "content": system}, *rest] if system else rest


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Several messages of one role in a row become one, but not the assistant's."""
    out: list[Message] = []
    for message in messages:
        if out and out[-1]["role"] == message["role"] != "assistant" and len(message) == len(out[-1]) == 2:
            out[-1] = {**out[-1], "content": f"{out[-1]['content']}\n\n{message['content']}"}
        else:
            out.append(message)
    return out
