"""How many tokens a text has, about, where the provider does not say.

A calibrated count, not a tokeniser: each kind of character costs what it costs on average in the
answers of many providers (tests/core/test_estimate.py compares with what they reported). Tokenisers
join letters of the Latin alphabet to words, digits to groups of up to three, and hardly anything
else. Weights are integers, so that a text costs the same in one piece or in many.
"""

from typing import Final

LETTER: Final = 20
"""Of an ASCII letter or a space, in hundredths of a token: five to a token."""
DIGIT: Final = 60
"""Of an ASCII digit."""
SIGN: Final = 75
"""Of any other ASCII character: punctuation, the signs of code, line ends."""
WIDE: Final = 75
"""Of a Han character, a kana or a Hangul syllable."""
PICTURE: Final = 150
"""Of an emoji or another character beyond the Basic Multilingual Plane that is not Han."""
OTHER: Final = 40
"""Of a letter of any other script, or a Latin one with an accent."""
CALL_TOKENS: Final = 15
"""What a tool call costs besides its arguments: its name and its framing. Ten to forty among the
recorded providers."""

_LETTERS: Final = b" ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = b"0123456789"
_WIDE: Final = ((0x2E80, 0xA4CF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF))
_WIDE_ASTRAL: Final = range(0x20000, 0x40000)
_ASTRAL: Final = 0x10000


def weight(text: str) -> int:
    """Return the hundredths of a token that a piece of text costs; pieces may be added up."""
    ascii_part = text.encode("ascii", "ignore")
    letters = len(ascii_part) - len(ascii_part.translate(None, _LETTERS))
    digits = len(ascii_part) - len(ascii_part.translate(None, _DIGITS))
    signs = len(ascii_part) - letters - digits
    total = letters * LETTER + digits * DIGIT + signs * SIGN
    if len(ascii_part) == len(text):
        return total
    return total + sum(_weight_of(ord(char)) for char in text if not char.isascii())


def tokens(hundredths: int) -> int:
    """Return the tokens of a weight, rounded up."""
    return -(-hundredths // 100)


def estimate(text: str) -> int:
    """Estimate the tokens of a text."""
    return tokens(weight(text))


def _weight_of(code: int) -> int:
    if code >= _ASTRAL:
        return WIDE if code in _WIDE_ASTRAL else PICTURE
    return WIDE if any(first <= code <= last for first, last in _WIDE) else OTHER
