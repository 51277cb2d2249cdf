"""A reward of your own, with TRL's signature. Try it:

surpass run grpo --task data:problems.jsonl --reward myreward.py:myreward
"""

from typing import Any


def myreward(prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
    """One number per completion; None where it cannot be judged. May be async.

    `columns` has a list for every other column of the data, e.g. columns["answer"]. Completions are text, or
    lists of messages where prompts are.
    """
    texts = [
        completion if isinstance(completion, str) else completion[-1]["content"] for completion in completions
    ]
    return [float(str(answer) in text) for text, answer in zip(texts, columns["answer"], strict=True)]
