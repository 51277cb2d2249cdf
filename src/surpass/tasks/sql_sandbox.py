"""Runs untrusted statements: one SELECT, parsed by sqlglot and run by SQLite, that can only read a little."""

from __future__ import annotations

import logging
import re
import sqlite3
from typing import Any

from surpass.answers import blocks, said
from surpass.errors import SurpassError

MOST_CHARACTERS, MOST_STEPS, MOST_ROWS, MOST_PARTS, MOST_DEPTH = 1000, 50_000, 500, 8, 64
"""Limits of a statement: characters, SQLite instructions, rows, tables and SELECTs, depth of its tree."""
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: MOST_CHARACTERS,
    sqlite3.SQLITE_LIMIT_COLUMN: 60,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 40,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 4,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 5000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 8,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 50,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_FUNCTIONS = frozenset(
    "abs avg ceil ceiling coalesce count dense_rank floor glob ifnull iif instr length like lower "
    "ltrim max min nullif rank round row_number rtrim substr substring sum total trim typeof upper".split()
)
_BEFORE_BRACKET = _FUNCTIONS | frozenset(
    "all and as between by case cast distinct else except exists filter from having in intersect join "
    "like limit not offset on or over select then union using values when where".split()
)
# among SQLite's plain errors
_TOO_MUCH = re.compile("not authorized|vtable|too (?:complex|large|many|long|big)")
_CALL = re.compile(r"(\w+)\s*\(")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_BEGINS = re.compile(r"(?:select|with)\b", re.IGNORECASE)


def library() -> Any:
    """The module sqlglot; a SurpassError names the extra where it is missing."""
    try:
        import sqlglot
    except ImportError as error:
        raise SurpassError("the task sql needs its package: pip install 'surpass[sql]'") from error
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it warns of junk, which is common here
    return sqlglot


class Refused(Exception):
    """A statement that asks for more than reading a little from the shown tables."""


def connect(rows: dict[str, list[dict[str, Any]]]) -> sqlite3.Connection:
    """A database in memory that holds the rows. Statements can only read the named tables, within _LIMITS."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for table, held in rows.items():
        columns = ", ".join(
            f"{name} {'TEXT' if isinstance(value, str) else 'INTEGER'}" for name, value in held[0].items()
        )
        connection.execute(f"CREATE TABLE {table} ({columns})")
        connection.executemany(
            f"INSERT INTO {table} VALUES ({', '.join('?' * len(held[0]))})", [tuple(r.values()) for r in held]
        )
    for limit, most in _LIMITS.items():
        connection.setlimit(limit, most)

    def allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        # without a column rows are only counted, and the name may come from a WITH
        known = str(first).lower() in rows or (
            second == "" and not str(first).lower().startswith(("sqlite_", "pragma_"))
        )
        reads = action == sqlite3.SQLITE_READ and known
        calls = action == sqlite3.SQLITE_FUNCTION and str(second).lower() in _FUNCTIONS
        return sqlite3.SQLITE_OK if reads or calls or action == sqlite3.SQLITE_SELECT else sqlite3.SQLITE_DENY

    connection.set_authorizer(allowed)
    return connection


def run(connection: sqlite3.Connection, statement: str) -> tuple[int, list[tuple[Any, ...]]] | None:
    """(number of columns, rows) of one statement; None where SQLite finds an error, such as a missing column.
    Refused for what is not allowed or takes too much: more than MOST_STEPS instructions, a count that does
    not depend on the machine's speed.
    """
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps > MOST_STEPS // 1000

    connection.set_progress_handler(stop, 1000)
    try:
        cursor = connection.execute(statement)
        rows = cursor.fetchmany(MOST_ROWS + 1)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR and not _TOO_MUCH.search(
            str(error)
        ):
            return None
        raise Refused(str(error)) from error
    except (sqlite3.Warning, ValueError, OverflowError) as error:
        raise Refused(str(error)) from error
    if len(rows) > MOST_ROWS or cursor.description is None:
        raise Refused(f"more than {MOST_ROWS} rows, or nothing to read")
    return len(cursor.description), [
        tuple(float(f"{x:.9g}") if isinstance(x, float) else x for x in row) for row in rows
    ]


def statement_of(text: str) -> str:
    """The statement in a turn, without comments and a closing semicolon: the last fenced block that begins
    with SELECT or WITH, else the first block, else the whole text.

    >>> statement_of("SELECT name FROM books; -- all of them")
    'SELECT name FROM books'
    """
    text = said(text)
    if len(text) > 4 * MOST_CHARACTERS:
        return ""
    found = [
        _COMMENT.sub(" ", content).strip().removesuffix(";").strip()
        for _, content in blocks(text) or [("", text)]
    ]
    return next((statement for statement in reversed(found) if _BEGINS.match(statement)), found[0])


def parsed(statement: str) -> Any | None:
    """sqlglot's tree of one SELECT (or UNION of SELECTs) with at most MOST_PARTS tables and SELECTs; None for
    all else.

    Brackets, joins and calls are checked before sqlglot sees them, because its time can be exponential in
    their depth; the depth of the tree is checked afterwards.
    """
    lower = statement.lower()
    if len(statement) > MOST_CHARACTERS or not re.match(r"(?:select|with)\b", lower) or "/*" in lower:
        return None
    if not "".join(statement.split()).isprintable():
        return None
    if (
        lower.count("(") > 10
        or lower.count("join") >= MOST_PARTS
        or not _BEFORE_BRACKET.issuperset(_CALL.findall(lower))
    ):
        return None
    sqlglot = library()
    try:
        trees = sqlglot.parse(statement, dialect="sqlite")
    except Exception:  # on junk its parser may raise nearly anything besides its own errors
        return None
    if (
        len(trees) != 1
        or not isinstance(trees[0], (sqlglot.exp.Select, sqlglot.exp.SetOperation))
        or _deep(trees[0])
    ):
        return None
    parts = [sum(1 for _ in trees[0].find_all(kind)) for kind in (sqlglot.exp.Table, sqlglot.exp.Select)]
    return trees[0] if max(parts) <= MOST_PARTS else None


def _deep(tree: Any) -> bool:
    """Whether a tree is too deep for sqlglot, which recurses, to write: a model in a loop writes a::b::b."""
    level = [tree]
    for _ in range(MOST_DEPTH):
        level = [child for node in level for child in node.iter_expressions()]
    return bool(level)
