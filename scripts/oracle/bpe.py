"""A second tokenizer, written from llama.cpp's rules for the 'smollm' pre-tokenizer, to check the first against."""

import regex

# llama.cpp cuts with these one after the other; what no match covers is a piece of its own.
CUTS = [
    regex.compile(r"\p{N}"),
    regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
]


def byte_letters() -> dict[int, str]:
    """GPT-2's one visible letter for every byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


LETTERS = byte_letters()


class Bpe:
    def __init__(self, document: dict):
        """`document`: a parsed tokenizer.json."""
        self.vocabulary = document["model"]["vocab"]
        self.ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(document["model"]["merges"])}
        self.special = {token["content"]: token["id"] for token in document["added_tokens"]}
        self.split = regex.compile("(" + "|".join(map(regex.escape, self.special)) + ")")

    def encode(self, text: str) -> list[int]:
        ids = []
        for part in self.split.split(text):
            if part in self.special:
                ids.append(self.special[part])
            else:
                for piece in pieces(part):
                    ids.extend(self.merge(piece))
        return ids

    def merge(self, piece: str) -> list[int]:
        # A byte without a token is left out before merging, so its neighbours may join.
        letters = [LETTERS[byte] for byte in piece.encode()]
        word = [letter for letter in letters if letter in self.vocabulary]
        while True:
            ranked = [(self.ranks[pair], i) for i, pair in enumerate(zip(word, word[1:])) if pair in self.ranks]
            if not ranked:
                return [self.vocabulary[part] for part in word]
            _, i = min(ranked)
            word[i : i + 2] = [word[i] + word[i + 1]]


def pieces(text: str) -> list[str]:
    parts = [text]
    for cut in CUTS:
        parts = [piece for part in parts for piece in cover(cut, part)]
    return parts


def cover(cut, text: str):
    """The matches and, between them, what was not matched."""
    end = 0
    for match in cut.finditer(text):
        if match.start() > end:
            yield text[end : match.start()]
        yield match.group()
        end = match.end()
    if end < len(text):
        yield text[end:]
