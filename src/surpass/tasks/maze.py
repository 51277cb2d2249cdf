"""A maze as a text grid: a path of moves from S to E, paid at the end. Exact distances are known."""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, fold

MOVES = {"U": (-1, 0), "D": (1, 0), "L": (0, -1), "R": (0, 1)}
_LINE = re.compile(r"\s*([UDLR])\s*(?:(\d{1,3})\s*,\s*(\d{1,3}))?\s*")
_TRIES = 5000
Cell = tuple[int, int]


def find(grid: Sequence[str], mark: str) -> Cell:
    """The cell that holds a mark."""
    return next((r, row.index(mark)) for r, row in enumerate(grid) if mark in row)


def after(grid: Sequence[str], cell: Cell, move: str) -> Cell | None:
    """Where a move leads; None into a wall or out of the grid.

    >>> after(["S#", ".E"], (0, 0), "D"), after(["S#", ".E"], (0, 0), "R")
    ((1, 0), None)
    """
    r, c = cell[0] + MOVES[move][0], cell[1] + MOVES[move][1]
    return (r, c) if 0 <= r < len(grid) and 0 <= c < len(grid[r]) and grid[r][c] != "#" else None


def distances(grid: Sequence[str], to: Cell) -> dict[Cell, int]:
    """Fewest moves to `to` from every cell that can reach it, by breadth-first search."""
    found, waiting = {to: 0}, deque([to])
    while waiting:
        cell = waiting.popleft()
        for move in MOVES:
            there = after(grid, cell, move)
            if there is not None and there not in found:
                found[there] = found[cell] + 1
                waiting.append(there)
    return found


@dataclass(frozen=True)
class maze(Task):
    """A path from S to E through a square text grid, one move a line; paid only at the end.

    The grid has `size` cells a side; about a share `walls` of its cells are walls; the shortest path has at
    least `apart` moves. A line is a move (U D L R), optionally with the row and column it leads to, which
    then have to be right. check gives 1 where every move is possible and the last one reaches E, else 0.
    """

    size: int = 5
    walls: float = 0.3
    apart: int = 4

    def __post_init__(self) -> None:
        if not (2 <= self.size <= 30 and 0 <= self.walls <= 0.6 and 1 <= self.apart <= 2 * self.size - 2):
            raise SurpassError(
                f"maze needs size 2 to 30, walls 0 to 0.6, apart 1 to 2 * size - 2; found {self}"
            )

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        return unique(lambda i: self._problem(random.Random(fold(seed, "maze", i))), split)

    def _problem(self, rng: random.Random) -> Problem:
        cells = [(r, c) for r in range(self.size) for c in range(self.size)]
        for _ in range(_TRIES):
            rows = [
                ["#" if rng.random() < self.walls else "." for _ in range(self.size)]
                for _ in range(self.size)
            ]
            end = rng.choice(cells)
            rows[end[0]][end[1]] = "E"
            far = [
                cell for cell, d in distances(["".join(row) for row in rows], end).items() if d >= self.apart
            ]
            if far:
                break
        else:
            raise SurpassError(f"maze finds no grid whose path is so long; other knobs than {self}")
        start = rng.choice(far)
        rows[start[0]][start[1]] = "S"
        grid = ["".join(row) for row in rows]
        prompt = "Go from S to E. One move a line: U, D, L or R, then row,column.\n" + "\n".join(grid)
        return Problem(problem_id("maze " + "/".join(grid)), prompt, None, {"grid": grid})

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        grid = problem.meta["grid"]
        return float(self._walked(grid, text) == find(grid, "E"))

    def final_answer(self, text: str) -> str | None:
        """What votes compare: the moves alone; None where there are none."""
        return "".join(match[1] for line in text.splitlines() if (match := _LINE.fullmatch(line))) or None

    def _walked(self, grid: Sequence[str], text: str) -> Cell | None:
        """Where the lines of `text` lead; None if one is no move, is impossible, or names a wrong cell."""
        cell: Cell = find(grid, "S")
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 4 * self.size**2:
            return None
        for line in lines:
            match = _LINE.fullmatch(line)
            there = after(grid, cell, match[1]) if match else None
            if (
                match is None
                or there is None
                or (match[2] is not None and (int(match[2]), int(match[3])) != there)
            ):
                return None
            cell = there
        return cell

    @property
    def oracle(self) -> MazeOracle:
        """Breadth-first search."""
        return MazeOracle(self)


@dataclass(frozen=True)
class MazeOracle:
    """The oracle of maze: breadth-first search."""

    task: maze

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A shortest path."""
        grid = problem.meta["grid"]
        cell, away = find(grid, "S"), distances(grid, find(grid, "E"))
        lines = []
        while away[cell]:
            ways = [
                (move, there)
                for move in MOVES
                if (there := after(grid, cell, move)) and away[there] < away[cell]
            ]
            move, cell = rng.choice(ways)
            lines.append(f"{move} {cell[0]},{cell[1]}")
        return "\n".join(lines)

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A path that goes through a wall, out of the grid, by a wrong cell, or ends one move from E."""
        grid, lines = problem.meta["grid"], self.act(problem, state, rng).split("\n")
        end, kind, at = find(grid, "E"), rng.random(), rng.randrange(len(lines))
        if kind < 0.15 and len(lines) > 1:
            return "\n".join(lines[:-1])
        if kind < 0.35:
            move, _, cell = lines[at].partition(" ")
            row, column = map(int, cell.split(","))
            there = rng.choice([(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)])
            return (
                "\n".join([*lines[:at], f"{move} {max(0, there[0])},{max(0, there[1])}", *lines[at + 1 :]])
                if min(there) >= 0
                else "\n".join(lines[:at] + lines[at + 1 :] if len(lines) > 1 else ["U 99,99"])
            )
        # straight towards E, through walls
        lines, cell = lines[:at], self.task._walked(grid, "\n".join(lines[:at])) or find(grid, "S")
        for _ in range(2 * self.task.size):
            if cell == end:
                break
            toward = [
                m
                for m, (r, c) in MOVES.items()
                if abs(cell[0] + r - end[0]) + abs(cell[1] + c - end[1])
                < abs(cell[0] - end[0]) + abs(cell[1] - end[1])
            ]
            blocked = [m for m in toward if after(grid, cell, m) is None]
            move = rng.choice(blocked or toward)
            cell = (cell[0] + MOVES[move][0], cell[1] + MOVES[move][1])
            lines.append(f"{move} {cell[0]},{cell[1]}")
        text = "\n".join(lines)
        return text if self._worth(grid, text) == 0 else "\n".join(lines[:-1]) or "U 99,99"

    def _worth(self, grid: Sequence[str], text: str) -> float:
        return float(self.task._walked(grid, text) == find(grid, "E"))

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """1 if every whole line of `text` is a possible move (one can always walk back), else 0."""
        whole = (
            text
            if text.endswith("\n") or _LINE.fullmatch(text.rpartition("\n")[2])
            else text.rpartition("\n")[0]
        )
        return float(self.task._walked(problem.meta["grid"], whole) is not None)

    def distance(self, problem: Problem, text: str = "") -> int | None:
        """Fewest moves left to E after the lines of `text`; None where one of them is impossible."""
        grid = problem.meta["grid"]
        cell = self.task._walked(grid, text)
        return None if cell is None else distances(grid, find(grid, "E"))[cell]
