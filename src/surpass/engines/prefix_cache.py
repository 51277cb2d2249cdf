"""A radix tree with the keys and values of token prefixes: no stored prefix is computed again."""

from __future__ import annotations

import heapq

import numpy as np
import torch
from torch import Tensor


class _Segment:
    def __init__(self, tokens: np.ndarray, kv: Tensor, parent: _Segment | None):
        self.tokens, self.kv, self.parent = tokens, kv, parent  # kv [layers, 2, n_kv, len(tokens), D]
        self.children: dict[int, _Segment] = {}
        self.used = 0


def common_length(a: np.ndarray, b: np.ndarray) -> int:
    """The number of tokens two prefixes share."""
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n


class PrefixCache:
    """Holds at most `max_tokens` tokens. The least recently used ends of branches are dropped first."""

    def __init__(self, max_tokens: int):
        self.max_tokens = max_tokens
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        self.root = _Segment(np.zeros(0, np.int32), torch.empty(0), None)
        self.size = self.clock = 0

    def find(self, tokens: np.ndarray) -> tuple[int, list[Tensor]]:
        """(n, parts): the longest stored prefix has n tokens. Its keys and values are the parts, to be joined
        along dim -2.
        """
        self.clock += 1
        segment, n, parts = self.root, 0, []
        while n < len(tokens) and int(tokens[n]) in segment.children:
            segment = segment.children[int(tokens[n])]
            segment.used = self.clock
            same = common_length(segment.tokens, tokens[n:])
            parts.append(segment.kv[..., :same, :])
            n += same
            if same < len(segment.tokens):
                break
        return n, parts

    def add(self, tokens: np.ndarray, start: int, kv: Tensor) -> None:
        """Store the keys and values of tokens[start:], if everything before `start` is still here."""
        self.clock += 1
        segment, n = self.root, 0
        while n < len(tokens):
            child = segment.children.get(int(tokens[n]))
            if child is None:
                break
            same = common_length(child.tokens, tokens[n:])
            n += same
            child.used = self.clock
            if same < len(child.tokens):
                if n < len(tokens):
                    child = self._split(child, same)
                segment = child
                break
            segment = child
        if n == len(tokens) or n < start:
            return
        new = _Segment(tokens[n:].copy(), kv[..., n - start :, :].clone(), segment)
        new.used = self.clock
        segment.children[int(tokens[n])] = new
        self.size += len(new.tokens)
        while self.size > self.max_tokens:
            self._drop_oldest()

    def _split(self, segment: _Segment, at: int) -> _Segment:
        upper = _Segment(segment.tokens[:at], segment.kv[..., :at, :].clone(), segment.parent)
        upper.used = self.clock
        upper.children[int(segment.tokens[at])] = segment
        above = segment.parent or self.root
        above.children[int(upper.tokens[0])] = upper
        segment.tokens, segment.kv, segment.parent = (
            segment.tokens[at:],
            segment.kv[..., at:, :].clone(),
            upper,
        )
        return upper

    def _drop_oldest(self) -> None:
        ends, stack = [], [self.root]
        while stack:
            segment = stack.pop()
            stack += segment.children.values()
            if not segment.children and segment is not self.root:
                ends.append(segment)
        heap = [(segment.used, i, segment) for i, segment in enumerate(ends)]
        heapq.heapify(heap)
        while heap and self.size > 0.9 * self.max_tokens:  # a walk frees a tenth, so walks stay rare
            segment = heapq.heappop(heap)[-1]
            above = segment.parent
            # the parent is now an end itself
            if above is not None and above is not self.root and len(above.children) == 1:
                heapq.heappush(heap, (above.used, len(ends) + self.size, above))
            del (segment.parent or self.root).children[int(segment.tokens[0])]
            self.size -= len(segment.tokens)
