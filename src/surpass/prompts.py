"""Prompts that several parts and methods share."""

RIGHT = "Right? <yes> or <no>"
"""Asks a tiny model whether an attempt is right, in words that it knows."""

RUBRIC = """Grade an answer to a question with {worst} to {best} points, one point for each of these that holds:
it is about the question; it deals with most of what was asked; it gives what was asked for; it is well organised; it is correct throughout.

Question:
{question}

Answer:
{answer}

Say in one short sentence what is good or bad about the answer. Then end with a line "Score: N", where N is the number of points."""  # noqa: E501
"""Asks a judge for points from {worst} to {best}."""

FEEDBACK = """Question:
{question}

Proposed answer:
{answer}

Check the proposed answer step by step. Name the first mistake and how to mend it, in one or two sentences.
If there is nothing to mend, write only: NO CHANGE"""
"""Asks for the first mistake in an attempt."""

IMPROVE = """{question}

An earlier answer was:
{answer}

What was said about it:
{feedback}

Answer the question again, from the beginning, and mend what was wrong."""
"""Asks for a better attempt, given that feedback."""
