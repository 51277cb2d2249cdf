"""Runs a stranger's chat template or tokenizer in a process of its own, under limits. It imports nothing of
surpass, nor torch or transformers, so that it starts in a tenth of a second. surpass.engines.guard starts it.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

MOST = 1 << 28  # bytes of a request or a reply
LONGER = 200  # how many times longer a normaliser, pre-tokeniser or decoder may make a text
ADDED = 1 << 17  # how many tokens a tokenizer may add to those of its model
PLAIN = 1_000_000  # characters that a template may write in addition to REPEATS times its input
REPEATS = 20


class Beyond(Exception):
    """The work needs more than its limits."""


# -- templates


@functools.cache
def environment() -> Any:
    """Jinja as transformers gives it to chat templates, sandboxed, without what differs from one rendering to
    the next: random, lipsum, sets.
    """
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        """{% generation %}: its content is written as it is."""

        tags = {"generation"}

        def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_whole"), [], [], body).set_lineno(line)

        def _whole(self, caller: Callable[[], str]) -> str:
            return caller()

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"-"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            found = super().call_binop(context, operator, left, right)
            if isinstance(found, (set, frozenset)):
                raise jinja2.exceptions.SecurityError("sets have no order that repeats")
            return found

    class Dict:
        def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
            return dict(*args, **kwargs)

        def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
            return dict.fromkeys(*args, **kwargs)

    class Namespace(jinja2.utils.Namespace):
        def __init__(*args: Any, **kwargs: Any) -> None:
            self, args = args[0], args[1:]
            given = dict(*args, **kwargs)
            for name in given:
                _public(name)
            jinja2.utils.Namespace.__init__(self, given)

        def __setitem__(self, name: str, value: Any) -> None:
            _public(name)
            jinja2.utils.Namespace.__setitem__(self, name, value)

    def _public(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(
                f"a namespace holds no name that begins with an underscore: {name!r}"
            )

    def raise_exception(message: str) -> NoReturn:
        raise jinja2.exceptions.TemplateError(message)

    def tojson(
        x: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    made = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.globals |= {"raise_exception": raise_exception, "dict": Dict(), "namespace": Namespace}
    del made.filters["random"], made.globals["lipsum"]
    return made


@functools.lru_cache(maxsize=32)
def compiled(source: str) -> Any:
    return environment().from_string(source)


def render(source: str, names: Mapping[str, Any], date: tuple[int, int, int]) -> str:
    """The text that a template writes, given these names; strftime_now tells `date`."""
    from datetime import datetime

    size = len(json.dumps(names))
    text = compiled(source).render(**names, strftime_now=datetime(*date).strftime)
    if len(text) > PLAIN + REPEATS * size:
        raise Beyond(f"it writes {len(text)} characters for {size}")
    return text


def reads(source: str) -> list[str]:
    """The names that a template reads."""
    import jinja2.meta

    return sorted(jinja2.meta.find_undeclared_variables(environment().parse(source)))


# -- tokenizers


def longer(node: Any) -> float:
    """How many times longer the parts of a tokenizer, as tokenizer.json holds them, can make a text. Parts
    that only change letters count as 1.
    """
    if not isinstance(node, dict):
        return 1.0
    found = 1.0
    for name in ("normalizers", "pretokenizers", "decoders", "processors"):
        for item in node.get(name) or ():
            found = min(found * longer(item), 1e300)
    kind, content = node.get("type"), str(node.get("content", ""))
    if kind == "Replace":
        pattern = node.get("pattern") or {}
        length = len(str(pattern.get("String", ""))) if "Regex" not in pattern else 1
        found *= max(1.0, len(content) / length) if length and "Regex" not in pattern else 1.0 + len(content)
    elif kind == "Prepend":
        found *= 1.0 + len(str(node.get("prepend", "")))
    elif kind == "ByteLevel":
        found *= 2.0
    elif kind == "Precompiled":
        found *= _precompiled(str(node.get("precompiled_charsmap") or ""))
    elif kind == "TemplateProcessing":
        parts, special = node.get("single") or (), node.get("special_tokens") or {}
        ids = [len(about.get("ids") or ()) for about in special.values() if isinstance(about, dict)]
        found *= float(max(1, sum("Sequence" in item for item in parts if isinstance(item, dict)), *ids, 0))
    return found


def _precompiled(charsmap: str) -> float:
    """The length of the longest text that a table of SentencePiece puts in place of a character."""
    import base64

    raw = base64.b64decode(charsmap)
    size = struct.unpack("<I", raw[:4])[0] if len(raw) >= 4 else 0
    return float(
        max((len(text.decode("utf-8", "replace")) for text in raw[4 + size :].split(b"\0")), default=1) or 1
    )


def regexes(node: Any) -> set[str]:
    """The regular expressions in a part of a tokenizer."""
    if isinstance(node, dict):
        own = {str(node["Regex"])} if set(node) == {"Regex"} else set()
        return own.union(*(regexes(item) for item in node.values()))
    return set().union(*(regexes(item) for item in node)) if isinstance(node, list) else set()


PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
TRIED = [
    "Hello, world! It's 12,345.67 - (x_1 + y^2)\n\n\tdef f(): return {'a': [1]}\n",
    "".join(map(chr, range(32, 127))),
    "Ünïcödé, 漢字かな交じり文, עברית, العربية, ไทย, हिन्दी 👩‍👩‍👧‍👦 ﷺ ½",
    *(c * 4000 for c in "aA0 \n\t-.!_é漢👍\ufffd"),
    "a" * 4000 + "!",
    "ab" * 2000 + "\n",
    "0" * 3000 + "x",
    " " * 3000 + "x",
    "a1" * 2000,
    "A a" * 1500,
    "\r\n" * 1500,
    "'s" * 1500,
    "",
]


def unfit(parts: Mapping[str, Any]) -> str:
    """Why a tokenizer with these parts cannot be used, whatever the text; "" if it can."""
    for name in PARTS:
        if not (times := longer(parts.get(name))) <= LONGER:
            return f"its {name} could make a text {times:.3g} times as long"
    if regexes(parts.get("decoder")):
        return "its decoder searches by a regular expression"
    return ""


def tokenizer(folder: str) -> str:
    """Why the tokenizer of a folder cannot be used; "" if it can. It is loaded, and reads and
    writes texts.
    """
    from tokenizers import Tokenizer

    path = os.path.join(folder, "tokenizer.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        data = json.loads(text)
        if not isinstance(data, dict):
            return "tokenizer.json holds no object"
        if why := unfit(data):
            return why
        if len(data.get("added_tokens") or ()) > ADDED:
            return f"it adds {len(data['added_tokens'])} tokens to its model's"
        core, literal = Tokenizer.from_str(text), _literals(data)
    else:
        from transformers import AutoTokenizer

        whole = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        core, literal = getattr(whole, "backend_tokenizer", None), []
        if not isinstance(core, Tokenizer):
            for sample in TRIED:
                whole.decode(whole(sample)["input_ids"])
            return ""
    core.no_truncation()
    core.no_padding()
    for sample in [*TRIED, *literal]:
        core.decode(core.encode(sample).ids, skip_special_tokens=False)
    return ""


def _literals(data: Mapping[str, Any]) -> list[str]:
    """Texts that a tokenizer's own rules replace."""
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("String"), str):
                found.append(node["String"][:1000] * 3)
            for item in node.values():
                walk(item)
        elif isinstance(node, list):
            for item in node:
                walk(item)

    for name in PARTS:
        walk(data.get(name))
    return [*found[:200], "".join(found)[:20_000]]


@functools.lru_cache(maxsize=4)
def _held(key: str) -> list[Any]:
    return []


def encode(key: str, text: str, special: bool, whole: str = "") -> list[int]:
    """The tokens of a text by the tokenizer named `key`; the first request brings it, as JSON in `whole`."""
    from tokenizers import Tokenizer

    held = _held(key)
    if not held:
        core = Tokenizer.from_str(whole)
        core.no_truncation()
        core.no_padding()
        held.append(core)
    return held[0].encode(text, add_special_tokens=special).ids


# -- the process


def limited(seconds: float, memory: int) -> None:
    """Limit this process, from now on, to `seconds` of processor time, after which the kernel ends it, and to
    `memory` more bytes.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (now + memory if hard < 0 else min(now + memory, hard), hard))
    except (OSError, ValueError):  # not Linux: only time is limited
        return


WORK: dict[str, Callable[..., Any]] = {
    "render": render,
    "reads": reads,
    "tokenizer": tokenizer,
    "encode": encode,
}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to a request: {"found": result}, {"refused": why} or {"beyond": which limit}."""
    limited(request.pop("seconds"), request.pop("memory"))
    memory = "more memory than it is given"
    try:
        return {"found": WORK[request.pop("do")](**request)}
    except Beyond as error:
        return {"beyond": str(error)}
    except MemoryError:
        return {"beyond": f"it needs {memory}"}
    except BaseException as error:  # a panic of native code is no Exception
        if type(error).__name__ == "PanicException" or "memory" in type(error).__name__.lower():
            return {"beyond": f"its code panics: {str(error)[:300]}"}
        return {"refused": f"{str(error)[:1000] or type(error).__name__}"}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    """Answer requests from stdin on stdout, each with its length before it, until stdin is closed."""
    read, write = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    for name, most in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0)):
        resource.setrlimit(getattr(resource, name), (most, most))
    environment()
    while head := read.read(8):
        body = json.dumps(answer(json.loads(read.read(struct.unpack(">Q", head)[0])))).encode()
        if len(body) > MOST:
            body = json.dumps({"beyond": "its reply is too long"}).encode()
        write.write(struct.pack(">Q", len(body)) + body)
        write.flush()


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    main()
