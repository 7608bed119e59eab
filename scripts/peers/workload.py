"""Prompts and mixes: the same for both sides.

A prompt is a system and a user message of random words, of which each is one token, in the base's own chat template.
Its length is exact and its start is never the same, so that no cache of prefixes helps either side.
"""

import random

WORDS = (
    "time people year work life world school state family student group country problem hand part place case week "
    "company system program question government number night point home water room mother area money story fact month "
    "lot right study book eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city community name president team minute idea kid body information back parent face others "
    "level office door health person art war history party result change reason research girl moment air "
    "teacher force education"
).split()
# <|im_start|>system\n ... <|im_end|>\n<|im_start|>user\n ... <|im_end|>\n<|im_start|>assistant\n
TEMPLATE_TOKENS = 14


class Prompt:
    def __init__(self, system: str, user: str):
        self.system, self.user = system, user

    @property
    def messages(self) -> list[dict]:
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]

    @property
    def text(self) -> str:
        turns = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in self.messages)
        return turns + "<|im_start|>assistant\n"


class Workload:
    """Draws prompts and mixes; two of the same seed draw the same."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def prompt(self, tokens: int) -> Prompt:
        words = self.random.choices(WORDS, k=tokens - TEMPLATE_TOKENS)
        half = len(words) // 2
        return Prompt(" ".join(words[:half]), " ".join(words[half:]))

    def prompts(self, count: int, tokens: int) -> list[Prompt]:
        return [self.prompt(tokens) for _ in range(count)]

    def mix(self, policies: int) -> list[float]:
        """Weights of a person nobody asked for before: all policies, sum 1."""
        drawn = [self.random.uniform(0.05, 1.0) for _ in range(policies)]
        return [weight / sum(drawn) for weight in drawn]

    def mixes(self, count: int, policies: int) -> list[list[float]]:
        return [self.mix(policies) for _ in range(count)]
