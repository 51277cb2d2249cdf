"""Questions about generated tables with the statement that answers each, and the rows of those tables."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from surpass.types import fold

_NAMES = (
    "Ann Bob Cid Dan Eva Fay Gus Hal Ida Jon Kim Leo Mia Ned Oda Pam Ray Sue Tim Uma Vic Wes Zoe Amy".split()
)
_TITLES = (
    "Ark Bay Cliff Dawn Echo Flame Grove Hill Iris Jade Kite Lake Moon Nest Oak Pearl Reed Star Tide Vale "
    "Wave Yarn Zest Ash".split()
)
WORDS = {
    "color": "red blue green black white brown pink grey".split(),
    "genre": "drama comedy crime action fantasy history music war".split(),
    "material": "wood iron glass clay wool silk stone paper".split(),
    "month": "January February March April May June July August".split(),
    "region": "north south east west center coast hills lakes".split(),
    "team": "lions bears wolves hawks sharks foxes bulls eagles".split(),
    "town": "Oslo Rome Paris Bonn Cork Lima Kyiv Bern".split(),
}
_NUMBERS = {
    "age": (18, 80),
    "cost": (5, 200),
    "days": (1, 60),
    "fine": (1, 50),
    "height": (10, 200),
    "hours": (1, 50),
    "length": (4, 80),
    "levels": (1, 60),
    "miles": (1, 300),
    "minutes": (5, 180),
    "pages": (40, 400),
    "points": (1, 99),
    "price": (2, 90),
    "plays": (1, 500),
    "seats": (1, 60),
    "seconds": (30, 400),
    "speed": (20, 200),
    "visits": (1, 60),
    "weeks": (1, 52),
    "weight": (2, 200),
    "wins": (1, 50),
    "year": (1950, 2020),
}
# one theme a line: things, the column that names them, their columns | events about them, their columns |
# people behind the events, their columns
_THEMES = """
books title genre color year pages price | loans month region days fine | readers town team age points
films title genre region year minutes cost | tickets month color seats price | guests town team age points
cars model color material year speed price | trips month town miles hours | drivers region team age wins
boats label color material year length speed | races month region miles points | sailors town team age wins
plants label color region height weeks price | sales month town cost weight | buyers region team age visits
games title genre color year levels price | scores month region points minutes | players town team age wins
horses label color region height weight speed | shows month town points hours | riders genre team age wins
songs title genre region year seconds plays | votes month color points days | fans town team age visits
lamps model color material height weight price | repairs month town hours cost | owners region team age visits
courses title genre region weeks hours cost | exams month color points minutes | students town team age wins
"""
_COMPARED = {">": "over", ">=": "at least", "<": "under", "<=": "at most"}
_SENSES = {"=": "", "!=": "not "} | {sign: f"{words} " for sign, words in _COMPARED.items()}
_TOTALS = {"MAX": "highest", "MIN": "lowest", "AVG": "average", "SUM": "total"}
# (what is asked, number of conditions); "joined" and "unused" need a second table
_KINDS: dict[int, tuple[tuple[str, int], ...]] = {
    1: (("list", 0), ("list", 1), ("list", 1), ("count", 1), ("count", 1)),
    2: (
        ("total", 0),
        ("total", 1),
        ("pair", 1),
        ("different", 0),
        ("different", 1),
        ("top", 0),
        ("ordered", 0),
    ),
    3: (
        ("list", 2),
        ("count", 2),
        ("total", 2),
        ("group", 0),
        ("group", 1),
        ("having", 0),
        ("top", 1),
        ("ordered", 1),
    ),
    4: (("list", 3), ("count", 3), ("above", 0), ("unused", 0), *[("joined", n) for n in (0, 0, 0, 1, 1, 1)]),
}


@dataclass(frozen=True)
class _Source:
    """What a question is about: rows of `base` with the parents they are joined to, and which of them."""

    tables: dict[str, list[str]]
    base: str
    joined: tuple[list[str], ...] = ()
    where: tuple[list[Any], ...] = ()
    either: bool = False

    def name(self, table: str, column: str) -> str:
        return f"{table}.{column}" if self.joined else column

    def said(self, table: str, column: str) -> str:
        return column if table == self.base else f"{table[:-1]} {column}"

    def columns(self, kinds: dict[str, Any] | None = None) -> list[tuple[str, str]]:
        """(table, column) of the words, of the numbers, or (None) of all that may be listed, keys and links
        not among them.
        """
        of = [
            (table, column)
            for table in (self.base, *(link[2] for link in self.joined))
            for column in self.tables[table]
        ]
        inner = {"title", "model", "label", "name"} if kinds is None else ()
        return [
            (t, c) for t, c in of if c in (kinds if kinds is not None else WORDS | _NUMBERS) or c in inner
        ]

    def text(self) -> str:
        """ "loans with days over 3 whose book has color red and whose reader has town Oslo"."""
        both = " or " if self.either else " and "
        own = both.join(_said(*where[1:]) for where in self.where if where[0] == self.base)
        parents = []
        for _, _, parent, _ in self.joined:
            if said := both.join(_said(*where[1:]) for where in self.where if where[0] == parent):
                parents.append(f"whose {parent[:-1]} has {said}")
        return f"{self.base}{' with ' if own else ''}{own}{' ' if parents else ''}{' and '.join(parents)}"

    def sql(self) -> str:
        joins = "".join(
            f" JOIN {parent} ON {child}.{column} = {parent}.{key}"
            for child, column, parent, key in self.joined
        )
        where = f" {'OR' if self.either else 'AND'} ".join(
            _written(self.name(t, c), o, v) for t, c, o, v in self.where
        )
        return f"FROM {self.base}{joins}" + (f" WHERE {where}" if where else "")


def _said(column: str, operator: str, constants: list[Any]) -> str:
    if operator == "BETWEEN":
        return f"{column} from {constants[0]} to {constants[1]}"
    return f"{column} {_SENSES[operator]}{constants[0]}"


def _written(name: str, operator: str, constants: list[Any]) -> str:
    if operator == "BETWEEN":
        return f"{name} BETWEEN {constants[0]} AND {constants[1]}"
    value = f"'{constants[0]}'" if isinstance(constants[0], str) else constants[0]
    return f"{name} {operator} {value}"


def _condition(rng: random.Random, table: str, column: str, values: int) -> list[Any]:
    if column in WORDS:
        return [table, column, rng.choice(("=", "=", "=", "!=")), [rng.choice(WORDS[column][:values])]]
    low, high = _NUMBERS[column]
    operator = rng.choice((*_COMPARED, "BETWEEN"))
    constants = [rng.randint(low + 3, high - 3)]
    if operator == "BETWEEN":
        constants = sorted(rng.sample(range(low + 3, high - 2), 2))
    return [table, column, operator, constants]


def _schema(rng: random.Random, count: int) -> tuple[dict[str, list[str]], list[list[str]]]:
    """(the columns of each of `count` tables, the links [child, column, parent, key] among them)."""
    of_things, of_events, of_people = rng.choice(_THEMES.strip().splitlines()).split(" | ")
    things, title, about = of_things.split(" ", 2)
    (events, details), (people, person) = of_events.split(" ", 1), of_people.split(" ", 1)
    tables = {things: ["id", title, *_columns(rng, about)]}
    tables[events] = [things[:-1], people[:-1], *_columns(rng, details)]
    tables[people] = ["name", *_columns(rng, person)]
    links = [[events, things[:-1], things, "id"], [events, people[:-1], people, "name"]]
    dropped = {1: rng.choice(([things, events], [events, people])), 2: [rng.choice((things, people))], 3: []}[
        count
    ]
    for table in dropped:
        del tables[table]
        if table != events and events in tables:
            tables[events].remove(table[:-1])
    return tables, [link for link in links if link[0] in tables and link[2] in tables]


def _columns(rng: random.Random, names: str) -> list[str]:
    words = [name for name in names.split() if name in WORDS]
    numbers = [name for name in names.split() if name in _NUMBERS]
    drawn = rng.sample(words, rng.randint(1, len(words))) + rng.sample(numbers, 2)
    rng.shuffle(drawn)
    return drawn


def _compose(
    rng: random.Random, kind: str, n: int, source: _Source, values: int
) -> tuple[str, str, dict[str, Any]]:
    """(question, statement, what else the answer holds). No condition is about a column that is asked for."""
    heads, numbers, words = source.columns(), source.columns(_NUMBERS), source.columns(WORDS)
    one = rng.choice({"total": numbers, "group": words, "having": words, "different": words}.get(kind, heads))
    two = rng.choice(
        [head for head in (numbers if kind in ("top", "ordered", "above") else heads) if head != one]
    )
    asked = {"count": (), "pair": (one, two), "top": (one, two), "ordered": (one, two)}.get(kind, (one,))
    free = [column for column in (*words, *numbers) if column not in asked]
    rng.shuffle(free)
    # every joined table needs a condition, so that the join is asked for
    needed = [next(column for column in free if column[0] == link[2]) for link in source.joined]
    chosen = (needed + [column for column in free if column not in needed])[
        : max(n, len(needed) + n * bool(source.joined))
    ]
    told = [source.base, *(link[2] for link in source.joined)]
    where = tuple(
        _condition(rng, *column, values)
        for column in sorted(chosen, key=lambda column: told.index(column[0]))
    )
    source = replace(source, where=where, either=not source.joined and len(where) == 2 and rng.random() < 0.3)
    who, rest = source.text(), source.sql()
    a, b, said_a, said_b = source.name(*one), source.name(*two), source.said(*one), source.said(*two)
    k, down = rng.randint(1, 4), rng.random() < 0.5
    more: dict[str, Any] = {
        "where": [list(condition) for condition in where],
        "ordered": kind == "ordered",
        "same": None,
    }
    if kind == "total":
        total = rng.choice(list(_TOTALS))
        return f"What is the {_TOTALS[total]} {said_a} of {who}?", f"SELECT {total}({a}) {rest}", more
    if kind == "having":
        operator, word = (">=", "at least") if down else (">", "over")
        more["same"] = [*one, k + 2]
        ask = f"Which {said_a} has {word} {k + 1} {who}?"
        return ask, f"SELECT {a} {rest} GROUP BY {a} HAVING COUNT(*) {operator} {k + 1}", more
    order = f"ORDER BY {b}{' DESC' if down else ''}"
    high = "highest" if down else "lowest"
    sense, sign = ("over", ">") if down else ("under", "<")
    asks: dict[str, tuple[str, str]] = {
        "list": (f"List the {said_a} of {who}.", f"SELECT {a} {rest}"),
        "count": (f"How many {who} are there?", f"SELECT COUNT(*) {rest}"),
        "pair": (f"List the {said_a} and {said_b} of {who}.", f"SELECT {a}, {b} {rest}"),
        "different": (
            f"How many different {said_a} values do {who} have?",
            f"SELECT COUNT(DISTINCT {a}) {rest}",
        ),
        "top": (
            f"Of {who}, list the {said_a} of the {k} with the {high} {said_b}.",
            f"SELECT {a} {rest} {order} LIMIT {k}",
        ),
        "ordered": (f"List the {said_a} of {who} by {said_b}, {high} first.", f"SELECT {a} {rest} {order}"),
        "group": (
            f"For each {said_a}, how many {who} are there?",
            f"SELECT {a}, COUNT(*) {rest} GROUP BY {a}",
        ),
        "above": (
            f"List the {said_a} of {who} with {said_b} {sense} the average {said_b}.",
            f"SELECT {a} {rest} WHERE {b} {sign} (SELECT AVG({b}) {rest})",
        ),
    }
    return *asks[kind], more


def posed(
    rng: random.Random, count: int, level: int, values: int
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(prompt, what the task has to know of it, {"level", "kind"}) of a question about `count` tables."""
    tables, links = _schema(rng, count)
    kind, n = rng.choice([kind for kind in _KINDS[level] if links or kind[0] not in ("joined", "unused")])
    more: dict[str, Any] = {"where": [], "ordered": False, "same": None}
    if kind == "unused":
        child, column, parent, key = rng.choice(links)
        head = tables[parent][1 if key == "id" else 0]
        ask = f"List the {head} of {parent} without {child}."
        query = f"SELECT {head} FROM {parent} WHERE {key} NOT IN (SELECT {column} FROM {child})"
    elif kind == "joined":
        asked = rng.choice(("list", "list", "count", "total", "pair", "different", "group"))
        source = _Source(tables, links[0][0], tuple(rng.sample(links, rng.randint(1, len(links)))))
        ask, query, more = _compose(rng, asked, n, source, values)
    else:
        ask, query, more = _compose(rng, kind, n, _Source(tables, rng.choice(list(tables))), values)
    schema = [f"{table}({','.join(columns)})" for table, columns in tables.items()]
    schema += [f"{child}.{column} = {parent}.{key}" for child, column, parent, key in links]
    answer = {"sql": query, "tables": tables, "links": links} | more
    return "\n".join([*schema, ask, "SQL:"]), answer, {"level": level, "kind": kind}


def database(answer: dict[str, Any], which: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of every table of the problem's database number `which`. Each condition of the question holds
    in some rows and fails in others.

    Row 0 of each table meets every condition. Row j + 1 just misses condition j and meets the others. So a
    query that drops or changes a condition gives another result.
    """
    rng = random.Random(fold(answer["seed"], "rows", which))
    links = {(child, column): (parent, key) for child, column, parent, key in answer["links"]}
    children = {child for child, _ in links}
    rows: dict[str, list[dict[str, Any]]] = {}
    for table in sorted(answer["tables"], key=lambda name: name in children):
        n = rng.randint(6, answer["rows"])
        columns = {}
        for column in answer["tables"][table]:
            if link := links.get((table, column)):
                known = [row[link[1]] for row in rows[link[0]]]
                # the last two stay unused
                columns[column] = [known[r] if r < 4 else rng.choice(known[:-2]) for r in range(n)]
            else:
                columns[column] = _drawn(rng, column, n, answer["values"])
        rows[table] = [{column: columns[column][r] for column in columns} for r in range(n)]
    for r in range(len(answer["where"]) + 1):
        for j, (table, column, operator, constants) in enumerate(answer["where"]):
            rows[table][r][column] = _near(column, operator, constants, r != j + 1, which)
    if answer["same"]:
        table, column, count = answer["same"]
        for row in rows[table][:count]:
            row[column] = rows[table][0][column]
    for table in rows:
        rng.shuffle(rows[table])
    return rows


def _drawn(rng: random.Random, column: str, n: int, values: int) -> list[Any]:
    """n values of a column. Numbers and names of rows never repeat, so an order by them has no ties."""
    if column in WORDS:
        return rng.choices(WORDS[column][:values], k=n)
    if column in _NUMBERS:
        low, high = _NUMBERS[column]
        return rng.sample(range(low, high + 1), n)
    return list(range(1, n + 1)) if column == "id" else rng.sample(_NAMES if column == "name" else _TITLES, n)


def _near(column: str, operator: str, constants: list[Any], meets: bool, which: int) -> Any:
    """A value that just meets, or just misses, the condition."""
    c = constants[0]
    if operator in ("=", "!="):
        words = WORDS[column]
        return c if meets == (operator == "=") else words[(words.index(c) + 1 + which) % len(words)]
    if operator == "BETWEEN":
        end = which % 2
        return constants[end] + (0 if meets else 2 * end - 1)
    inside = {">": 1, ">=": 0, "<": -1, "<=": 0}[operator]
    outside = {">": 0, ">=": -1, "<": 0, "<=": 1}[operator]
    return c + (inside if meets else outside)
