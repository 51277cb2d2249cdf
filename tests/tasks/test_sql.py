"""sql: questions are answered right by their statements, steps of the score, and nothing harmful runs."""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import re
import sqlite3
import time
from collections import Counter
from itertools import islice
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surpass.errors import SurpassError
from surpass.tasks import sql
from surpass.tasks.splits import SHARES
from surpass.tasks.sql_questions import database
from surpass.tasks.sql_sandbox import Refused, connect, parsed, run

module = importlib.import_module("surpass.tasks.sql")
RNG = random.Random(0)
BOOKS = {
    "sql": "SELECT title FROM books WHERE year >= 1990",
    "tables": {"books": ["id", "title", "color", "year"], "loans": ["book", "days"]},
    "links": [["loans", "book", "books", "id"]],
    "where": [["books", "year", ">=", [1990]]],
    "ordered": False,
    "same": None,
    "seed": 5,
    "rows": 12,
    "values": 6,
}


def drawn(n, split="train", seed=0, **knobs):
    return list(islice(sql(**knobs).problems(split, seed), n))


def meets(row, condition):
    column, rest = condition.split(" ", 1)
    value = row[column]
    if found := re.fullmatch(r"from (\d+) to (\d+)", rest):
        return int(found[1]) <= value <= int(found[2])
    for word, test in (
        ("over ", int.__gt__),
        ("at least ", int.__ge__),
        ("under ", int.__lt__),
        ("at most ", int.__le__),
    ):
        if rest.startswith(word):
            return test(value, int(rest.removeprefix(word)))
    return value != rest[4:] if rest.startswith("not ") else value == rest


def picked(said, rows, links):
    """The rows that "loans with days over 3 whose book has color red" means, each with its parents' columns
    ("book color").
    """
    base = said.split(" ")[0]
    wholes = []
    for row in rows[base]:
        whole = dict(row)
        for child, column, parent, key in links:
            if child == base:
                (one,) = [other for other in rows[parent] if other[key] == row[column]]
                whole |= {f"{parent[:-1]} {name}": value for name, value in one.items()}
        wholes.append(whole)
    own, *parents = re.split(r" (?:and )?whose ", said)
    groups = [(own.partition(" with ")[2], "")] + [
        (p.partition(" has ")[2], p.partition(" has ")[0] + " ") for p in parents
    ]
    for conditions, prefix in groups:
        if conditions:
            joiner, within = (" or ", any) if " or " in conditions else (" and ", all)
            parts = conditions.split(joiner)
            keep = []
            for whole in wholes:
                row = {
                    name.removeprefix(prefix): value
                    for name, value in whole.items()
                    if name.startswith(prefix)
                }
                if within([meets(row, part) for part in parts]):
                    keep.append(whole)
            wholes = keep
    return wholes


def answered(prompt, rows):
    """The result of the question, worked out from its English words and the rows alone."""
    *_, ask, _ = prompt.split("\n")
    links = [
        re.fullmatch(r"(\w+)\.(\w+) = (\w+)\.(\w+)", line).groups()
        for line in prompt.split("\n")
        if " = " in line
    ]

    def of(said):
        return picked(said, rows, links)

    if f := re.fullmatch(r"List the (\w+) of (\w+) without (\w+)\.", ask):
        ((_, column, _, key),) = [link for link in links if link[2] == f[2] and link[0] == f[3]]
        return [(row[f[1]],) for row in rows[f[2]] if row[key] not in {other[column] for other in rows[f[3]]}]
    if f := re.fullmatch(r"List the (\w+) of (\w+) with (\w+) (over|under) the average \3\.", ask):
        middle, sign = mean(row[f[3]] for row in rows[f[2]]), 1 if f[4] == "over" else -1
        return [(row[f[1]],) for row in rows[f[2]] if sign * row[f[3]] > sign * middle]
    if f := re.fullmatch(r"List the ([\w ]+) of (.+) by (\w+), (highest|lowest) first\.", ask):
        return [
            (row[f[1]],) for row in sorted(of(f[2]), key=lambda row: row[f[3]], reverse=f[4] == "highest")
        ]
    if f := re.fullmatch(r"Of (.+), list the (\w+) of the (\d) with the (highest|lowest) (\w+)\.", ask):
        rows_ = sorted(of(f[1]), key=lambda row: row[f[5]], reverse=f[4] == "highest")
        return [(row[f[2]],) for row in rows_[: int(f[3])]]
    if f := re.fullmatch(r"How many different ([\w ]+) values do (.+) have\?", ask):
        return [(len({row[f[1]] for row in of(f[2])}),)]
    if f := re.fullmatch(r"How many (.+) are there\?", ask):
        return [(len(of(f[1])),)]
    if f := re.fullmatch(r"What is the (highest|lowest|average|total) ([\w ]+?) of (.+)\?", ask):
        return [
            (
                {"highest": max, "lowest": min, "average": mean, "total": sum}[f[1]](
                    row[f[2]] for row in of(f[3])
                ),
            )
        ]
    if f := re.fullmatch(r"For each ([\w ]+), how many (.+) are there\?", ask):
        return list(Counter(row[f[1]] for row in of(f[2])).items())
    if f := re.fullmatch(r"Which (\w+) has (at least|over) (\d) (\w+)\?", ask):
        least = int(f[3]) + (f[2] == "over")
        return [(value,) for value, n in Counter(row[f[1]] for row in of(f[4])).items() if n >= least]
    f = re.fullmatch(r"List the ([\w ]+?) of (.+)\.", ask)
    return [tuple(row[name] for name in f[1].split(" and ")) for row in of(f[2])]


def nearly(rows):
    return [tuple(round(float(x), 5) if isinstance(x, (int, float)) else x for x in row) for row in rows]


@pytest.mark.parametrize("tables", [1, 2, 3])
def test_the_statements_answer_what_the_words_ask_and_never_with_nothing(tables):
    kinds = set()
    for problem in drawn(250, tables=tables):
        kinds.add(problem.meta["kind"])
        for which in (0, 2):
            rows = database(problem.answer, which)
            _, found = run(connect(rows), problem.answer["sql"])
            wanted = answered(problem.prompt, rows)
            assert wanted and wanted not in ([(0,)], [(None,)]), problem.prompt
            if problem.answer["ordered"]:
                assert nearly(found) == nearly(wanted), problem
            else:
                assert Counter(nearly(found)) == Counter(nearly(wanted)), problem
    assert len(kinds) == (10 if tables == 1 else 12)


def test_every_constant_stands_in_the_question():
    for problem in drawn(300, tables=3):
        ask = problem.prompt.split("\n")[-2]
        constants = re.findall(r"'(\w+)'|\b(\d+)\b", problem.answer["sql"])
        assert all((word or number) in ask for word, number in constants), problem
        assert "SELECT" not in problem.prompt and all(c == "\n" or " " <= c <= "~" for c in problem.prompt)


def test_playing_the_oracle_gives_1_and_a_slip_less():
    task = sql(tables=3)
    values = Counter()
    for problem in drawn(60, "gate", tables=3):
        turn = asyncio.run(task.start(None, problem))
        assert turn.say == {"policy": problem.prompt} and json.loads(json.dumps(turn.state)) == turn.state
        right = task.oracle.act(problem, turn.state, RNG)
        wrong = task.oracle.slip(problem, turn.state, RNG)
        assert asyncio.run(task.step(None, turn.state, right)).player is None
        assert asyncio.run(task.check(None, problem, right)) == 1
        values[asyncio.run(task.check(None, problem, wrong))] += 1
        assert parsed(wrong) is not None and "\n" not in wrong
    assert values[1.0] == 0 and values[0.0] == 0 and values[0.3] > 20


def test_a_slip_differs_by_rows_that_are_just_inside_or_outside():
    for old, new in (
        (">=", ">"),
        (">=", "<"),
        ("1990", "1991"),
        ("1990", "1989"),
        (" WHERE year >= 1990", ""),
        ("title", "color"),
    ):
        assert module.score(BOOKS, BOOKS["sql"].replace(old, new)) == 0.3, new
    problems = [p for p in drawn(400) if len(p.answer["where"]) > 1 and p.meta["kind"] in ("list", "count")]
    assert len(problems) > 20
    for p in problems:
        for old in re.findall(r" (?:AND|OR) (?!\d).*", p.answer["sql"]):
            assert module.score(p.answer, p.answer["sql"].removesuffix(old)) < 1, (
                "a condition may not be left out"
            )


def test_splits_are_disjoint_by_what_is_shown_and_repeat():
    shown = {split: {p.prompt for p in drawn(400, split)} for split in SHARES}
    assert all(len(prompts) == 400 for prompts in shown.values())
    assert (
        not shown["train"] & shown["test"]
        and not shown["train"] & shown["gate"]
        and not shown["gate"] & shown["test"]
    )
    assert [p.id for p in drawn(20)] == [p.id for p in drawn(20)] != [p.id for p in drawn(20, seed=1)]
    assert len({p.id for p in drawn(3000)}) == 3000


def test_knobs_change_what_is_asked():
    assert {p.meta["level"] for p in drawn(200, level=2)} == {1, 2}
    assert {p.meta["level"] for p in drawn(100, level=3, exact=True)} == {3}
    for tables in (1, 2, 3):
        assert {len(p.answer["tables"]) for p in drawn(50, tables=tables)} == {tables}
    assert {2} == {len({c[3][0] for p in drawn(900, values=2) for c in p.answer["where"] if c[1] == "team"})}
    assert max(len(rows) for p in drawn(20, rows=20) for rows in database(p.answer, 0).values()) > 12
    for bad in ({"tables": 4}, {"level": 0}, {"rows": 5}, {"values": 1}):
        with pytest.raises(SurpassError, match="sql needs tables 1 to 3"):
            sql(**bad)


@pytest.mark.parametrize(
    "text, value",
    [
        ("select title from books where year > 1989;", 1.0),
        (
            "```sql\nSELECT b.title -- the name\nFROM books AS b\nWHERE NOT b.year < 1990\n```\nThat is it.",
            1.0,
        ),
        ("WITH late AS (SELECT * FROM books WHERE year >= 1990) SELECT title FROM late", 1.0),
        ('SELECT "title" FROM BOOKS WHERE id IN (SELECT id FROM books WHERE year >= 1990) ORDER BY 1', 1.0),
        ("SELECT title FROM books", 0.3),
        ("SELECT title, year FROM books WHERE year >= 1990", 0.2),
        ("SELECT days FROM loans", 0.2),
        ("SELECT 3", 0.2),
        ("WITH x AS (SELECT 1) SELECT COUNT(*) FROM x", 0.2),
        ("SELECT name FROM books", 0.1),
        ("SELECT title FROM book", 0.1),
        ("SELECT 1 WHERE ? = 1", 0.0),
        ("", 0.0),
        ("The answer is 3", 0.0),
        ("SELECT FROM WHERE", 0.0),
        ("SELECT title FROM books WHERE", 0.0),
        ("SQL", 0.0),
    ],
)
def test_steps_of_the_score(text, value):
    assert module.score(BOOKS, text) == value


def test_equality_by_chance_is_no_answer():
    answer = {**BOOKS, "sql": "SELECT COUNT(*) FROM books WHERE year >= 1990"}
    counts = [run(connect(database(answer, which)), answer["sql"])[1][0][0] for which in range(3)]
    assert all(module.score(answer, f"SELECT {count}") == 0.2 for count in counts)
    assert all(module.score(answer, f"SELECT MAX({count}) FROM books") <= 0.3 for count in range(12))


def test_order_counts_only_where_it_is_asked():
    answer = {**BOOKS, "sql": "SELECT title FROM books ORDER BY year", "where": []}
    assert module.score({**answer, "ordered": True}, "SELECT title FROM books ORDER BY year DESC") == 0.3
    assert module.score({**answer, "ordered": False}, "SELECT title FROM books ORDER BY year DESC") == 1


HARMFUL = {
    "injection": "SELECT title FROM books WHERE year >= 1990; DROP TABLE books",
    "drop": "DROP TABLE books",
    "delete": "DELETE FROM books",
    "insert": "INSERT INTO books VALUES (1, 'a', 'b', 2)",
    "update": "UPDATE books SET year = 1",
    "create": "CREATE TABLE x AS SELECT * FROM books",
    "written by with": "WITH x AS (SELECT 1) DELETE FROM books",
    "recursive": "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT n FROM x",
    "recursive, quietly": "WITH x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT COUNT(*) FROM x",
    "cross joins": "SELECT COUNT(*) FROM books a, books b, books c, books d, books e, books f, books g, books h",  # noqa: E501
    "many rows": "SELECT a.title FROM books a, books b, books c, books d",
    "many tables": "SELECT 1 FROM " + ", ".join(["books"] * 60),
    "doubling": "WITH a AS (SELECT * FROM books, loans), "
    + ", ".join(f"{y} AS (SELECT 1 FROM {x}, {x})" for x, y in zip("abcdef", "bcdefg", strict=True))
    + " SELECT 1 FROM g",
    "huge number": "SELECT " + "9" * 10**6,
    "huge text": "SELECT '" + "x" * 10**6 + "'",
    "long": "SELECT 1" + " + 1" * 400,
    "zeroblob": "SELECT zeroblob(1000000000)",
    "randomblob": "SELECT length(randomblob(1000000000))",
    "hex": "SELECT hex(title) FROM books",
    "printf": "SELECT printf('%1000000000d', 1)",
    "format": "SELECT format('%.*c', 900000000, 'x')",
    "replace": "SELECT replace(replace('aaaaaaaa', 'a', 'aaaaaaaaaaaaaaa'), 'a', 'aaaaaaaaaaaaaaa')",
    "group_concat": "SELECT group_concat(a.title) FROM books a, books b",
    "load": "SELECT load_extension('x')",
    "attach": "ATTACH DATABASE 'attached.db' AS x",
    "pragma": "PRAGMA writable_schema = 1",
    "vacuum": "VACUUM INTO 'copy.db'",
    "pragma as a table": "SELECT name FROM pragma_database_list",
    "pragma counted": "SELECT COUNT(*) FROM pragma_database_list",
    "schema": "SELECT sql FROM sqlite_master",
    "schema counted": "SELECT COUNT(*) FROM sqlite_master",
    "table function": "SELECT value FROM json_each('[1]')",
    "brackets": "SELECT " + "(" * 400 + "1" + ")" * 400,
    "structs": "SELECT " + "STRUCT(" * 24,
    "joins": "SELECT * FROM a " + "JOIN b " * 100,
    "pattern": "SELECT title FROM books WHERE title LIKE '" + "%a" * 300 + "'",
    "open comment": "SELECT 1 /* " + "/*" * 300,
}


@pytest.mark.parametrize("name", HARMFUL)
def test_harm_scores_0_in_little_time_and_leaves_the_database_as_it_was(name):
    began = time.process_time()
    assert module.score(BOOKS, HARMFUL[name]) == 0
    assert time.process_time() - began < 0.5
    rows = database(BOOKS, 0)
    connection = connect(rows)
    try:  # past the parser too: SQLite alone has to withstand it
        if len(HARMFUL[name]) <= 1000 and name not in (
            "doubling",
            "many tables",
            "joins",
            "structs",
            "brackets",
            "replace",
        ):
            run(connection, HARMFUL[name])
            assert name in ("open comment", "long")
    except Refused:
        pass
    assert time.process_time() - began < 1
    for table, held in rows.items():
        assert run(connection, f"SELECT * FROM {table}")[1] == [tuple(row.values()) for row in held]


def test_what_grows_exponentially_is_refused_before_it_is_run():
    for name in ("doubling", "many tables", "joins", "structs", "brackets"):
        assert parsed(HARMFUL[name]) is None
    with pytest.raises(Refused, match="interrupted"):
        run(connect(database(BOOKS, 0)), "SELECT COUNT(*) FROM books a, books b, books c, books d, books e")


def test_memory_and_length_are_bounded_inside_sqlite():
    connection = connect(database(BOOKS, 0))
    doubled = "SELECT '" + "x" * 150 + "' AS t"
    for _ in range(5):
        doubled = f"SELECT t || t AS t FROM ({doubled})"
    with pytest.raises(Refused, match="too big"):
        run(connection, doubled)
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        connection.execute("ATTACH ':memory:' AS x")
    assert run(connection, "SELECT nothing FROM books") is None


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(max_size=40).map(lambda text: f"SELECT {text}"),
        st.lists(
            st.sampled_from(
                "SELECT FROM books loans title * ( ) , ' \" `` ; WHERE year >= 1990 AND NOT JOIN ON "
                "CASE WHEN IN LIKE UNION WITH AS x \x00 \ud800 \n [ ] ? :a @b $c 1e999 "
                "-9223372036854775808 ```sql ``` -- /* OVER LIMIT GROUP BY ORDER".split(" ")
            ),
            max_size=30,
        ).map(" ".join),
    )
)
def test_junk_never_raises(text):
    value = module.score(BOOKS, text)
    assert value in (0.0, 0.1, 0.2, 0.3, 1.0)
    normal = sql().final_answer(text)
    assert normal is None or isinstance(normal, str)
    state = {}
    assert asyncio.run(sql().step(None, state, text)).player is None and state == {}


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10**6,
        "SELECT " * 10**5,
        "\x00" * 50,
        "SELECT '\ud800'",
        "SELECT 'a\x00b' FROM books",
        "```" * 1000,
    ],
)
def test_huge_and_strange_texts_are_0(text):
    assert module.score(BOOKS, text) == 0
    assert sql().final_answer(text) is None


def test_votes_count_statements_that_differ_in_layout_only():
    task = sql()
    plain = task.final_answer("SELECT title FROM books WHERE year >= 1990")
    assert plain == task.final_answer("```sql\nselect Title\n  from books -- all\n where year>=1990;\n```")
    assert plain != task.final_answer("SELECT title FROM books WHERE year > 1990")
    assert task.final_answer("I do not know") is None and task.final_answer("SELECT 1; SELECT 2") is None


def test_the_value_of_a_beginning():
    task = sql()
    problem = drawn(1)[0]
    right = problem.answer["sql"]
    assert (
        task.oracle.value(problem, {})
        == 1
        == task.oracle.value(problem, {}, right)
        == task.oracle.value(problem, {}, right[:9])
    )
    assert task.oracle.value(problem, {}, "SELECT 3") == 0.2
    unknown = task.oracle.value(problem, {}, "SELECT * FROM (")
    assert unknown != unknown
