"""Attempts that mean harm, or that a model stuck in a loop writes: what every task of the suite must be able to judge."""

from __future__ import annotations

import os

FULL = int(os.environ.get("SURPASS_FUZZ", "1")) > 1
DEEP, LONG, HUGE = (5000, 100_000, 2**20) if FULL else (1200, 5000, 2**15)
MARKS = (
    "Answer: {}",
    "\\boxed{{{}}}",
    "<answer>{}</answer>",
    "#### {}",
    '{{"answer": {}}}',
    "```sql\n{}\n```",
    "```python\n{}\n```",
    "{}",
)
"""What a text may state its answer with; each nasty text stands in one of these, and bare."""


def nasty() -> dict[str, str]:
    """Texts by name: deep, long, half of a pair of characters, mathematics that never ends, SQL that loops."""
    found = {
        "nothing": "", "blank": " \n\t\r\n", "nul": "\0", "nuls": "\0" * LONG, "bom": "\ufeff", "unseen": "\u200b\u2060\u00ad" * 1000,
        "half a pair": "\ud800", "other half": "1\udfff2", "bidi": "\u202e42\u202c", "combining": "4" + "\u0301" * LONG,
        "emoji": "\U0001f44d\U0001f3fd\u200d" * 1000, "escape codes": "\x1b[2J\x1b]0;x\x07\x1b[31m", "controls": "".join(map(chr, range(32))),
        "every plane": "".join(chr(c) for c in range(0x20, 0x30000, 97) if not 0xD800 <= c < 0xE000), "ligature": "\ufdfa" * LONG,
        "one letter": "a" * 2**20, "one digit": "9" * HUGE, "one blank": " " * HUGE, "lines": "\n" * HUGE, "stars": "*" * LONG,
        "dollars": "$" * LONG, "quotes": '"' * LONG, "back quotes": "`" * LONG, "tildes": "~" * LONG, "backslashes": "\\" * LONG,
        "equals": "=" * LONG, "hashes": "#" * LONG, "fences": "```\n" * DEEP, "open fence": "```sql\nSELECT", "marks": "Answer: " * DEEP,
        "marks on lines": "Answer:\n" * DEEP, "the answer is": "the answer is " * DEEP, "or": "1 or " * DEEP, "and so": "so the answer is 1, and " * DEEP,
        "hundred thousand digits": "1" * LONG, "digits and commas": "1,111" * DEEP, "digits and blanks": "1 " * LONG, "decimals": "0." + "3" * LONG,
        "points": "1." * LONG, "signs": "-" * LONG + "1", "exponent": "1e999999999", "small exponent": "1e-999999999", "overflow": "9" * 400 + "e300",
        "tower": "10**10**10**10", "latex tower": "9^{9^{9^{9^{9}}}}", "factorial": "99999999!!!!", "zero": "1/0", "zero to zero": "0^0", "nan": "nan",
        "infinity": "inf", "minus infinity": "-inf", "huge root": "\\sqrt[0]{-1}", "log of nothing": "\\log_{1}(0)", "other digits": "٣" * 5000, "superscripts": "²" * DEEP,
        "roman": "Ⅷ" * DEEP, "half": "½" * DEEP, "sum": "1+" * DEEP + "1", "product": "x*" * DEEP + "x", "brackets": "(" * DEEP + "1" + ")" * DEEP,
        "open brackets": "(" * LONG, "closing brackets": ")" * LONG, "square": "[" * LONG, "braces": "{" * LONG, "latex braces": "\\frac{" * DEEP + "1" + "}{2}" * DEEP,
        "boxes": "\\boxed{" * DEEP + "1" + "}" * DEEP, "open boxes": "\\boxed{" * DEEP, "roots": "\\sqrt{" * DEEP + "2" + "}" * DEEP, "texts": "\\text{" * DEEP + "2" + "}" * DEEP,
        "left right": "\\left(" * DEEP + "\\right)" * DEEP, "matrix": "\\begin{pmatrix}" + "1&" * DEEP + "\\end{pmatrix}", "integrals": "\\int " * DEEP, "powers": "x^" * DEEP + "x",
        "indices": "x_" * DEEP + "x", "absolute": "|" * DEEP, "relations": "1<" * DEEP + "2", "set": "{" + "1," * DEEP + "1}", "binomial": "\\binom{999999999}{99999999}",
        "gcd": "\\gcd(10^{5000}, 7^{5000})", "json": "[" * LONG + "]" * LONG, "json objects": '{"score":' * DEEP + "1" + "}" * DEEP, "json digits": '{"score": ' + "9" * 5000 + "}",
        "open objects": "{" * DEEP + '"score": 1', "json halves": '{"answer": "\\ud800"}', "json nan": '{"score": NaN}', "json exponent": '{"score": 1e999}',
        "score": "Score: " + "9" * 5000, "scores": "Score: " * DEEP, "fraction score": "Score: 1/" + "0" * 400, "thoughts": "<think>" * DEEP, "thoughts closed": "</think>" * DEEP,
        "thoughts deep": "<think>" * DEEP + "</think>" * DEEP, "channels": "<|channel|>final<|message|>" * DEEP, "open channel": "<|channel|>" * DEEP, "calls": "<call>search " * DEEP,
        "call": "<call>search " + "a" * LONG + "</call>", "call of half": "<call>search \ud800</call>", "calls closed": "</call>" * DEEP, "tags": "<answer>" * DEEP, "html": "<" * LONG,
        "steps": "1 + 1 = 2 (2)\n" * DEEP, "steps of digits": f"{'9' * 9} * {'9' * 9} = {'9' * 9}\n" * DEEP, "step": "1" * LONG + " + 1 = 2", "moves": "U 1,1\n" * DEEP, "moves on": "R\nD\n" * DEEP,
        "questions": "Question: " * DEEP, "go": "go north\n" * DEEP, "bets": "bet " * LONG, "list": "- word\n" * DEEP, "yes": "yes no " * DEEP, "regex": "a" * 30_000 + "!", "blanks and a word": " " * 50_000 + "x",
        "sentence": "It may be, or not; " * DEEP, "currency": "$1" * DEEP, "units": "5 m " * DEEP, "ratios": "1:" * DEEP + "1", "date": "2024-99-99", "year": "9999999999-01-01",
        "percent": "%" * LONG, "python": "(" * 200 + "lambda: " * 200 + ")" * 200, "python deep": "-" * LONG + "1", "python digits": "x = " + "9" * 5000,
    }  # fmt: skip
    return found | sql()


def sql() -> dict[str, str]:
    """Statements as a model stuck in a loop writes them, and such as ask for more than reading a little."""
    loops = {
        "dots": "SELECT a" + ".a" * DEEP, "casts": "SELECT a" + "::b" * DEEP, "not null": "SELECT a" + " NOTNULL" * DEEP, "collate": "SELECT a" + " COLLATE b" * DEEP,
        "is": "SELECT a" + " IS a" * DEEP, "not": "SELECT " + "NOT " * DEEP + "a", "minus": "SELECT " + "- " * DEEP + "1", "tilde": "SELECT " + "~" * DEEP + "1", "and": "SELECT a" + " AND a" * DEEP,
        "between": "SELECT a" + " BETWEEN a AND a" * DEEP, "case": "SELECT " + "CASE WHEN 1 THEN " * DEEP + "1" + " END" * DEEP, "in": "SELECT a" + " IN (a" * DEEP, "selects": "SELECT (" * DEEP + "1" + ")" * DEEP,
        "from": "SELECT * FROM (" * DEEP, "unions": "SELECT 1" + " UNION SELECT 1" * DEEP, "joins": "SELECT 1 FROM a" + " JOIN a" * DEEP, "commas": "SELECT 1" + ",1" * DEEP, "with": "WITH a AS (" * DEEP,
        "arrows": "SELECT a" + "->a" * DEEP, "indices of arrays": "SELECT a" + "[1]" * DEEP, "braces of sql": "SELECT {" * DEEP, "semicolons": "SELECT 1" + ";" * DEEP, "comments": "SELECT /*" + "*/ /*" * DEEP,
        "dashes": "SELECT 1 " + "-- " * DEEP, "quote": "SELECT 'a", "double quote": 'SELECT "a', "bracket": "SELECT [a", "back quote": "SELECT `a", "hex": "SELECT x'" + "0" * DEEP, "number": "SELECT " + "9" * DEEP,
        "half in sql": "SELECT '\ud800'", "nul in sql": "SELECT 1\0", "stars of sql": "SELECT " + "*" * DEEP, "parameters": "SELECT ?" + ",?" * DEEP, "windows": "SELECT sum(1) OVER (" * DEEP, "like": "SELECT '" + "a" * 300 + "' LIKE '" + "%a" * 100 + "'",
    }  # fmt: skip
    short = {f"{name}, short": text[:700] for name, text in loops.items() if len(text) > 900}
    asks = [
        "SELECT count(*) FROM {t} a, {t} b, {t} c, {t} d, {t} e, {t} f, {t} g", "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT * FROM n",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n", "WITH RECURSIVE n(x) AS (SELECT 'a' UNION ALL SELECT x || x FROM n) SELECT max(length(x)) FROM n",
        "SELECT printf('%999999999d', 1)", "SELECT zeroblob(999999999)", "SELECT randomblob(999999999)", "SELECT hex(zeroblob(499999999))", "SELECT group_concat(x) FROM (SELECT printf('%99999d', 1) x)",
        "SELECT replace(hex(zeroblob(999)), '0', hex(zeroblob(999)))", "SELECT load_extension('/tmp/x')", "SELECT writefile('/tmp/surpass-was-here', 'x')", "SELECT readfile('/etc/passwd')", "SELECT edit('x')", "SELECT fts3_tokenizer('simple')",
        "ATTACH '/tmp/surpass-was-here.db' AS a", "PRAGMA writable_schema = 1", "SELECT * FROM pragma_database_list", "SELECT * FROM sqlite_master", "SELECT * FROM dbstat", "VACUUM INTO '/tmp/surpass-was-here.db'", "DETACH main",
        "CREATE TABLE x (y)", "CREATE TEMP TABLE x AS SELECT 1", "INSERT INTO {t} SELECT * FROM {t}", "UPDATE {t} SET rowid = 1", "DELETE FROM {t}", "DROP TABLE {t}", "BEGIN", "SELECT 1; DROP TABLE {t}", "WITH x AS (SELECT 1) DELETE FROM {t}", "EXPLAIN SELECT 1",
        "REINDEX", "ANALYZE", "SELECT * FROM json_each('[1]')", "SELECT * FROM generate_series(1, 999999999)", "SELECT json_extract('[' || '[', '$')", "SELECT random()", "SELECT datetime('now')", "SELECT sqlite_version()", "SELECT abs(-9223372036854775808)",
        "SELECT 9223372036854775807 + 1, -9223372036854775808 / -1", "SELECT 1e999, -1e999, 1e999 - 1e999", "SELECT sum(9223372036854775807) FROM {t}", "SELECT x'00ff', cast(x'ff' AS text)", "SELECT cast('\\ud800' AS text)", "SELECT substr('a', 1, 9223372036854775807)",
        "SELECT 'a' GLOB '" + "*a" * 24 + "'", "SELECT instr('" + "a" * 300 + "', '" + "a" * 200 + "b')", "SELECT * FROM {t} ORDER BY (SELECT count(*) FROM {t} a, {t} b, {t} c)", "VALUES (1)", "SELECT 1 LIMIT -1 OFFSET 9223372036854775807",
    ]  # fmt: skip
    return loops | short | dict(zip(asks, asks, strict=True))
