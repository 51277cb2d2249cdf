r"""Whether two stated answers are the same answer.

A text is read as a whole, as the first of these that it is: a date, a time of day, a choice "(B)", an amount
of something (4 red balls, 12 cm, \$5, 45^\circ), mathematics (grammar.py), a ratio 3:2, words.
Unlike kinds are unequal; words equal the same words only. docs/verifier.md states every rule; those where a
verifier must decide are these:

- Rational numbers are equal where they are exactly: 1/2, 0.5, 50%, 5e-1. Irrational ones are evaluated to
  hundreds of digits.
- A decimal of at least six significant digits also equals a value that rounds, or is cut off, to it: 0.333333
  and 1/3. 0.33 does not.
- A unit may be left out by one side: 12 and 12 cm. Where both name one it must be the same, or convertible:
  120 cm and 1.2 m.
- "x =" may be left out; x = 5 and y = 5 differ. A list without brackets (1, 2) has no order against another
  list or a set, but against a tuple it does.
"""

from surpass.verifier.compare import equal
from surpass.verifier.reading import read

__all__ = ["equal", "read"]
