r"""Mathematics as people and models write it (LaTeX, plain, Unicode), read whole or not at all.

`parse` gives a formula (surpass.verifier.nodes). A text with anything that the grammar does not know (a word,
f(x), an integral) is Unreadable: a reader that skips such things would find the 4 in "4 red balls".
"""

from __future__ import annotations

import re
from fractions import Fraction

from surpass.verifier.nodes import applied, bounded, bracketed, matrix, plain, proper, repeating
from surpass.verifier.notation import FUNCTIONS, GREEK, RELATIONS, Node, Token, Unreadable, number, tokens

_CLOSING = {"(": ")", "[": "]", "langle": "rangle", "{": "}", "|": "|", "lfloor": "rfloor", "lceil": "rceil"}
_LETTERS = set("abcdghklmnpqrstuvwxyz")  # letters of products such as 2xy
_FUNCTION_LETTERS = set("fgh") | set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")  # f(x), P(A): their meaning is not known


def parse(text: str) -> Node:
    """The formula that a cleaned text is; Unreadable where it is none, or nested too deeply."""
    parser = _Parser(tokens(text))
    try:
        node = parser.listed()
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    if parser.token.kind != "end":
        raise Unreadable(parser.token.text)
    bounded(node)
    return node


class _Parser:
    """Recursive descent: one method for each level of precedence, the loosest first."""

    def __init__(self, found: list[Token]):
        self.all, self.at, self.depth = found, 0, 0
        self.open: tuple[str, ...] = ()  # "|" while an absolute value waits for its second bar

    @property
    def token(self) -> Token:
        return self.all[self.at]

    def next(self) -> Token:
        if self.token.kind == "end":
            raise Unreadable("end")
        self.at += 1
        return self.all[self.at - 1]

    def take(self, *texts: str) -> bool:
        """Step over the next token if it is one of these operators or commands."""
        found = self.token.kind in ("op", "cmd") and self.token.text in texts
        self.at += found
        return found

    def need(self, *texts: str) -> str:
        if not self.take(*texts):
            raise Unreadable(f"{texts} wanted, {self.token.text} found")
        return self.all[self.at - 1].text

    def listed(self) -> Node:
        items, joined = [self.relation()], ","
        while True:
            comma = self.take(",", ";")
            word = self.token.kind == "word" and self.token.text.lower() in ("and", "or")
            if word:
                joined = self.next().text.lower()
            if not comma and not word:
                return items[0] if len(items) == 1 else ("list", tuple(items), joined)
            items.append(self.relation())

    def relation(self) -> Node:
        sides, operators = [self.union()], []
        while self.token.kind in ("op", "cmd") and (self.token.text in RELATIONS or self.token.text == "in"):
            operators.append(RELATIONS.get(self.next().text, "in"))
            sides.append(self.union())
        if operators == ["in"] and sides[0][0] == "sym":
            return sides[1]  # x in [1, 2]
        if "in" in operators:
            raise Unreadable("in")
        return ("rel", tuple(operators), tuple(sides)) if operators else sides[0]

    def union(self) -> Node:
        items = [self.sum()]
        while self.take("cup"):
            items.append(self.sum())
        return items[0] if len(items) == 1 else ("union", tuple(items))

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > 40:
            raise Unreadable("nested too deeply")
        signs = {"+": "", "-": "neg", "pm": "pm", "mp": "mp"}
        node: Node | None = None
        while (signed := self.take(*signs)) or node is None:
            kind = signs[self.all[self.at - 1].text] if signed else ""
            term = self.product()
            term = (kind, term) if kind else term
            node = term if node is None else ("add", node, plain(term))
        self.depth -= 1
        return node

    def product(self) -> Node:
        node = self.power()
        while True:
            if self.take("*", "times", "cdot"):
                node = ("mul", plain(node), plain(self.signed()))
            elif self.take("/", "div"):
                node = ("div", plain(node), plain(self.signed()))
            elif self.begins():
                node = ("mul", plain(node), plain(self.power()))
            else:
                return node

    def signed(self) -> Node:
        return ("neg", self.signed()) if self.take("-") else self.power()

    def begins(self) -> bool:
        """Whether a factor follows without a sign: 2x, 3(4), 2\\sqrt3, x\\sin x. A number is none:
        2 3, x2.
        """
        kind, text, gap = self.token
        if kind == "word":
            return text.lower() not in ("and", "or") and (
                len(text) == 1 or not gap or self.all[self.at - 1].kind != "num"
            )
        if kind == "op":
            return text in ("(", "{", "[") or (text == "|" and "|" not in self.open)
        return kind == "cmd" and (
            text in GREEK | FUNCTIONS | {"pi", "frac", "binom", "lfloor", "lceil", "R", "varnothing"}
            or text == "begin"
        )

    def power(self) -> Node:
        node = self.atom()
        while True:
            if self.take("^", "**"):
                if self._circle():
                    node = ("mul", plain(node), ("div", ("const", "pi"), ("num", Fraction(180), None)))
                    continue
                return self.postfix(("pow", plain(node), plain(self.exponent())))
            if self.take("%"):
                node = ("div", plain(node), ("num", Fraction(100), None))
            elif self.take("!"):
                node = ("fn", "factorial", plain(node))
            else:
                return node

    def postfix(self, node: Node) -> Node:
        return ("fn", "factorial", node) if self.take("!") else node

    def _circle(self) -> bool:
        if self.take("circ"):
            return True
        if [token.text for token in self.all[self.at : self.at + 3]] == ["{", "circ", "}"]:
            self.at += 3
            return True
        return False

    def exponent(self) -> Node:
        if self.take("-"):
            return ("neg", self.exponent())
        if self.take("+"):
            return self.exponent()
        base = self.atom()
        return ("pow", plain(base), plain(self.exponent())) if self.take("^", "**") else base

    def group(self, *closing: str) -> Node:
        """What stands before one of these brackets. Inside, a bar may open an absolute value again."""
        before, self.open = self.open, closing
        node = self.listed()
        self.open = before
        self.need(*closing)
        return node

    def argument(self, digit: bool = False) -> Node:
        r"""A command's argument: {...}, or the next token; in \frac12 one digit."""
        if self.take("{"):
            return self.group("}")
        if digit and self.token.kind == "num" and self.token.text.isdigit() and len(self.token.text) > 1:
            text = self.token.text
            self.all[self.at] = Token("num", text[1:], False)
            return number(text[0])
        return self.atom()

    def atom(self) -> Node:
        kind, text, _ = self.next()
        if kind == "num":
            return self.numeral(text)
        if kind == "word":
            return self.symbols(text)
        if kind == "cmd":
            return self.command(text)
        if kind == "op" and text in "([":
            return self.bracket(text)
        if text == "{":
            node = ("list", ()) if self.take("}") else self.group("}")
            return ("set", node[1]) if node[0] == "list" else node
        if text == "|":
            return ("fn", "abs", plain(self.group("|")))
        raise Unreadable(text or "end")

    def numeral(self, text: str) -> Node:
        """A number, or a mixed number where a proper fraction follows it: 2 1/2, 2\\frac12."""
        node = number(text)
        if self.take("_"):
            raise Unreadable("base")
        if re.fullmatch(r"\d+", text):
            whole, rest = node[1], self.all[self.at : self.at + 4]
            kinds = [token.kind for token in rest[:3]]
            if (
                kinds == ["num", "op", "num"]
                and rest[1].text == "/"
                and (rest[3].kind, rest[3].text) != ("op", "/")
            ):
                part = proper(number(rest[0].text), number(rest[2].text))
                self.at += 3
                return ("num", whole + part, None)
            if self.token.kind == "cmd" and self.token.text == "frac":
                self.next()
                part = ("div", plain(self.argument(True)), plain(self.argument(True)))
                if part[1][0] == part[2][0] == "num":
                    return ("num", whole + proper(part[1], part[2]), None)
                return ("mul", node, part)
        found = re.match(r"\d*\.?\d*$", text)
        if found and "." in text and self.token == Token("cmd", "overline", False) and not self.token.gap:
            self.next()
            return self._repeating(text)
        if self.token.kind == "num":
            raise Unreadable("two numbers side by side")
        return node

    def _repeating(self, text: str) -> Node:
        r"""0.1\overline{6} = 1/6."""
        self.need("{")
        digits = self.next().text
        self.need("}")
        return repeating(text, digits)

    def symbols(self, text: str) -> Node:
        """One letter, or a product of letters; longer texts are words, and Unreadable."""
        if len(text) > 1 and not (len(text) <= 3 and set(text) <= _LETTERS):
            raise Unreadable(text)
        if text[-1] in _FUNCTION_LETTERS and self.token.text == "(" and self.token.kind == "op":
            raise Unreadable(f"{text}( ... )")
        if self.token.text == "'":
            raise Unreadable("'")
        parts = [("const", c) if c in "ei" else ("sym", c) for c in text[:-1]]
        parts.append(self.index(text[-1]))
        node = parts[0]
        for part in parts[1:]:
            node = ("mul", node, part)
        return node

    def index(self, name: str) -> Node:
        """A symbol with its index: x_1, a_{n}."""
        if not self.take("_"):
            return ("const", name) if name in ("e", "i", "pi") else ("sym", name)
        if not self.take("{"):
            return ("sym", f"{name}_{self.next().text}")
        inner = []
        while not self.take("}"):
            if self.token.kind == "end":
                raise Unreadable("_{")
            inner.append(self.next().text)
        return ("sym", f"{name}_{''.join(inner)}")

    def command(self, name: str) -> Node:
        if name == "frac":
            return ("div", plain(self.argument(True)), plain(self.argument(True)))
        if name == "binom":
            return ("fn", "binom", plain(self.argument(True)), plain(self.argument(True)))
        if name == "sqrt":
            root = self.group("]") if self.take("[") else ("num", Fraction(2), None)
            return ("fn", "root", plain(self.argument()), plain(root))
        if name == "infty":
            return ("inf",)
        if name == "R":
            return ("interval", "(", ("neg", ("inf",)), ("inf",), ")")
        if name == "varnothing":
            return ("set", ())
        if name in ("{", "langle"):
            return self.bracket(name)
        if name == "|":
            raise Unreadable("norm")
        if name in ("lfloor", "lceil"):
            return ("fn", "floor" if name == "lfloor" else "ceil", plain(self.group(_CLOSING[name])))
        if name == "begin":
            return self.matrix()
        if name in FUNCTIONS:
            return self.function(name)
        if name in GREEK or name == "pi":
            return self.index(name)
        raise Unreadable(name)

    def function(self, name: str) -> Node:
        power: Node | None = None
        base: Node | None = None
        if self.take("_"):
            base = number(self.next().text) if self.token.kind == "num" else self.argument()
        elif name == "log" and self.token.kind == "num" and not self.token.gap:
            base = self.atom()  # log2(8)
        if self.take("^"):
            power = self.argument() if not self.take("-") else ("neg", self.argument())
        if power == ("neg", ("num", Fraction(1), None)) and name in ("sin", "cos", "tan"):
            name, power = "arc" + name, None
        return applied(name, self.arguments(), base, power)

    def arguments(self) -> tuple[Node, ...]:
        r"""Both arguments of f(a, b); of \sin 2x the product up to a sign or another function."""
        if self.token.kind == "op" and self.token.text in ("(", "{", "["):
            closing = _CLOSING[self.next().text]
            inner = self.group(closing)
            return inner[1] if inner[0] == "list" else (plain(inner),)
        if self.token.kind == "cmd" and self.token.text in FUNCTIONS:
            return (self.power(),)
        node = self.power()
        while self.begins() and self.token.text not in FUNCTIONS and self.token.text not in ("(", "["):
            node = ("mul", plain(node), plain(self.power()))
        return (plain(node),)

    def bracket(self, opening: str) -> Node:
        if opening == "{" and self.take("}"):
            return ("set", ())
        inner = self.group(")", "]", "}", "rangle")
        return bracketed(opening, inner, self.all[self.at - 1].text)

    def matrix(self) -> Node:
        self.need("{")
        kind = self.next().text
        self.need("}")
        if kind not in ("matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"):
            raise Unreadable(kind)
        if kind == "array":
            while not self.take("}"):
                if self.next().kind == "end":
                    raise Unreadable("array")
        rows: list[list[Node]] = [[]]
        while not self.take("end"):
            if self.take("\\"):
                rows.append([])
            elif not self.take("&"):
                rows[-1].append(self.sum())
        self.need("{")
        self.next()
        self.need("}")
        return matrix([row for row in rows if row])
