"""Chat messages as data sets hold them: lists, text that holds a list, contents in parts, calls of tools."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from surpass.errors import SurpassError
from surpass.tasks.rows import json_value

_LIST = re.compile(r"\s*\[?\s*\{\s*[\"'](role|content)[\"']")


def unpacked(value: Any) -> Any:
    """The list of messages that a text holds, written as JSON or as Python writes it; a single message as a
    list; anything else unchanged.

    >>> unpacked('[{"role": "user", "content": "Hi"}]')
    [{'role': 'user', 'content': 'Hi'}]
    """
    if isinstance(value, str) and _LIST.match(value):
        for read in (json.loads, ast.literal_eval):
            try:
                found = json_value(read(value))
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            found = [found] if isinstance(found, dict) else found
            if all(isinstance(turn, dict) and "role" in turn for turn in found):
                return found
    return [value] if isinstance(value, dict) and "role" in value else value


def asked(value: list[Any], place: str, column: str) -> tuple[Mapping[str, Any], ...]:
    """The messages without the assistant's at the end, which are a completion and no part of the prompt."""
    turns = [_turn(turn, place, column) for turn in value]
    while turns and turns[-1]["role"] == "assistant":
        turns.pop()
    if not any(turn["role"] == "user" for turn in turns):
        raise SurpassError(f'{place}: "{column}" has no message of the role user that is to be answered')
    return tuple(turns)


def _turn(turn: Any, place: str, column: str) -> Mapping[str, Any]:
    """A message as {"role", "content"}, with its "tool_calls" and its tool's "name" where it has them."""
    if not (isinstance(turn, dict) and isinstance(turn.get("role"), str)):
        raise SurpassError(
            f'{place}: "{column}" wants messages {{"role": text, "content": text}}; found {turn!r:.60}'
        )
    calls, content = turn.get("tool_calls"), turn.get("content")
    if isinstance(content, list):
        content = "\n".join(_part(part, place, column) for part in content)
    if content is None and (calls or turn["role"] == "assistant"):
        content = ""  # it called a tool without a word
    if not isinstance(content, str):
        raise SurpassError(
            f'{place}: "{column}" wants messages {{"role": text, "content": text}}; found {turn!r:.60}'
        )
    found: dict[str, Any] = {"role": turn["role"], "content": content}
    if calls:
        found["tool_calls"] = [
            _call(call, place, column) for call in (calls if isinstance(calls, list) else [calls])
        ]
    if turn["role"] == "tool" and isinstance(turn.get("name"), str):
        found["name"] = turn["name"]
    return found


def _part(part: Any, place: str, column: str) -> str:
    text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
    if not isinstance(text, str):
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        raise SurpassError(
            f'{place}: "{column}" has a message with a part of the type {kind}; a prompt here is text alone'
        )
    return text


def _call(call: Any, place: str, column: str) -> Mapping[str, Any]:
    """A call in the form that templates read: its arguments are an object, even if the data set has text."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not (isinstance(function, dict) and isinstance(function.get("name"), str)):
        raise SurpassError(
            f'{place}: "{column}" wants tool_calls {{"function": {{"name": text, "arguments": '
            f"object}}}}; found {call!r:.60}"
        )
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except json.JSONDecodeError:
            arguments = {"arguments": arguments}
    return {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
