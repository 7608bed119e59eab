"""The words of the base's vocabulary in the order in which its tokenizer learned them, the most frequent pieces first:
words.py BASE.gguf > crates/trainer/data/words.txt. Needs gguf (requirements.txt).
"""

import re
import sys

import gguf

COUNT = 10_000
HEAD = f"""\
# The first {COUNT} words of the vocabulary of SmolLM2-135M-Instruct (Apache-2.0), which byte-pair encoding ordered by how often
# they, and what begins like them, stand in the text that the tokenizer was made from. Made by scripts/oracle/words.py."""


def main():
    field = gguf.GGUFReader(sys.argv[1]).fields["tokenizer.ggml.tokens"]
    pieces = (bytes(field.parts[index]).decode() for index in field.data)
    # A space before it (Ġ) begins a word; a letter alone is one in "a" and "I" only.
    begun = (re.fullmatch("\u0120([A-Za-z]{2,}|[aI])", piece) for piece in pieces)
    words = dict.fromkeys(match.group(1).lower() for match in begun if match)
    print(HEAD, *list(words)[:COUNT], sep="\n")


main()
