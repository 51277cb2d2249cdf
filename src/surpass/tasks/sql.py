"""Questions about small generated databases, answered with one SELECT statement that SQLite really runs."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.splits import problem_id, unique
from surpass.tasks.sql_questions import WORDS, database, posed
from surpass.tasks.sql_sandbox import Refused, connect, library, parsed, run, statement_of
from surpass.types import Problem, fold

_DATABASES, _TRIES = 3, 4  # databases of a question; sets of them to try before another question is made


def score(answer: dict[str, Any], text: str) -> float:
    """The value of a turn in [0, 1], by how far its statement gets:

    0.0: it is not one SELECT that parses, or it is refused (it writes, calls other functions, is too long,
    takes too long or gives too much). 0.1: it parses, but SQLite finds an error, such as a missing column.
    0.2: it runs on every database. 0.3: it also reads the right tables and gives the right number of columns.
    1.0: it gives the right rows on every database.
    """
    statement = statement_of(text)
    tree = parsed(statement)
    if tree is None:
        return 0.0
    exp = library().exp
    named = {table.name.lower() for table in tree.find_all(exp.Table)} - {
        cte.alias.lower() for cte in tree.find_all(exp.CTE)
    }
    alike, equal = named == set(re.findall(r"(?:FROM|JOIN) (\w+)", answer["sql"])), True
    for which in range(_DATABASES):
        connection = connect(database(answer, which))
        try:
            found, gold = run(connection, statement), run(connection, answer["sql"])
        except Refused:
            return 0.0
        finally:
            connection.close()
        if found is None or gold is None:
            return 0.1
        alike = alike and found[0] == gold[0]
        equal = equal and (
            found[1] == gold[1] if answer["ordered"] else Counter(found[1]) == Counter(gold[1])
        )
    return 1.0 if equal else 0.3 if alike else 0.2


def _differ(answer: dict[str, Any]) -> bool:
    """Whether the right rows differ between the databases; else a constant such as SELECT 1 could
    be right.
    """
    first = None
    for which in range(_DATABASES):
        connection = connect(database(answer, which))
        found = run(connection, answer["sql"])
        connection.close()
        rows = Counter(found[1]) if found else None
        if which and rows != first:
            return True
        first = rows
    return False


@dataclass(frozen=True)
class sql(Task):
    """Questions about generated databases, answered by one SELECT statement that SQLite runs.

    A question shows `tables` tables (1 to 3). Its level is from 1 to `level` (at most 4), or just `level` if
    `exact`: 1 is a list or a count; 2 totals, order and limit; 3 two conditions, and groups; 4 joins, three
    conditions, nested queries. A table has 6 to `rows` rows, a column of words `values` different ones. check
    gives 0, 0.1, 0.2, 0.3 or 1 (see `score`).
    """

    tables: int = 2
    level: int = 4
    exact: bool = False
    rows: int = 12
    values: int = 6

    def __post_init__(self) -> None:
        if not (
            1 <= self.tables <= 3 and 1 <= self.level <= 4 and 6 <= self.rows <= 20 and 2 <= self.values <= 8
        ):
            raise SurpassError(
                f"sql needs tables 1 to 3, level 1 to 4, rows 6 to 20 and values 2 to 8; found {self}"
            )
        library()

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of a split, ordered by the seed, without repeats; a question has one set of databases."""
        return unique(lambda i: self._problem(seed, i), split)

    def _problem(self, seed: int, index: int) -> Problem:
        rng = random.Random(fold(seed, "sql", index))
        while True:
            prompt, answer, meta = posed(
                rng, self.tables, self.level if self.exact else rng.randint(1, self.level), self.values
            )
            id = problem_id(f"sql {prompt}")
            first = answer | {"seed": int(id, 16), "rows": self.rows, "values": self.values}
            for other in range(_TRIES):
                answer = first | ({"seed": fold(first["seed"], "other", other)} if other else {})
                if _differ(answer):
                    return Problem(id, prompt, answer, meta)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        return score(problem.answer, text)

    def final_answer(self, text: str) -> str | None:
        """What votes compare: the statement in sqlglot's layout; None where it does not parse."""
        tree = parsed(statement_of(text))
        return None if tree is None else tree.sql(dialect="sqlite", normalize=True, comments=False)

    @property
    def oracle(self) -> Knows:
        """The statement that the question was made from."""
        return Knows()


_EDITS: tuple[tuple[str, Callable[[re.Match[str]], Sequence[str]]], ...] = (
    (
        r" (>=|<=|!=|>|<) ",
        lambda m: {
            ">=": (" > ", " < "),
            "<=": (" < ", " > "),
            ">": (" >= ", " < "),
            "<": (" <= ", " > "),
            "!=": (" = ",),
        }[m[1]],
    ),
    (r" = (?=')", lambda m: (" != ",)),
    (r"MAX|MIN|AVG|SUM", lambda m: [name for name in ("MAX", "MIN", "AVG", "SUM", "COUNT") if name != m[0]]),
    (
        r"DISTINCT | DESC| NOT(?= IN)| HAVING .*| GROUP BY .*| LIMIT \d+| WHERE .*?(?= ORDER| GROUP|$)",
        lambda m: ("",),
    ),
    (r" ORDER BY [\w.]+(?= LIMIT|$)", lambda m: (m[0] + " DESC",)),
    (r" (AND|OR) (?!\d)", lambda m: (" OR " if m[1] == "AND" else " AND ",)),
    (r" AND (?!\d)[^()]*?(?= AND (?!\d)| ORDER| GROUP|$)", lambda m: ("",)),
    (r"\b\d+\b", lambda m: (str(int(m[0]) + 1), str(max(int(m[0]) - 1, 0)), str(int(m[0]) + 10))),
    (
        r"'(\w+)'",
        lambda m: [
            f"'{word}'" for words in WORDS.values() if m[1] in words for word in words if word != m[1]
        ],
    ),
)


@dataclass(frozen=True)
class Knows:
    """The oracle of sql: it knows the statement that the question was made from."""

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        return problem.answer["sql"]

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The right statement with one edit that makes it worth less than 1; running it shows that it is."""
        right, tables = problem.answer["sql"], problem.answer["tables"]
        others = {
            column: [c for c in columns if c != column] for columns in tables.values() for column in columns
        }
        others |= {table: [t for t in tables if t != table] for table in tables}
        swaps = (rf"\b(?:{'|'.join(others)})\b", lambda m: others[m[0]])
        edited = []
        for pattern, choices in (*_EDITS, swaps):
            for found in re.finditer(pattern, right):
                edited += [right[: found.start()] + new + right[found.end() :] for new in choices(found)[:3]]
        rng.shuffle(edited)
        # no table has the name of another without its last letter
        last = re.sub(r"FROM (\w+)\w", r"FROM \1", right)
        return next((text for text in edited if score(problem.answer, text) < 1), last)

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """1 for a beginning of the right statement, check for a whole one, else nan (not known)."""
        if problem.answer["sql"].startswith(text):
            return 1.0
        return score(problem.answer, text) if parsed(statement_of(text)) is not None else float("nan")
