"""Compares what `tureen` wrote for one soup with what transformers and PEFT make of it.

usage: compare.py NAME HF_DIRECTORY FOLDER PROMPT

FOLDER holds `adapter/` (tureen merge), `full/` (tureen merge --full), `soup.json` and `base.json` (tureen logits
--json with and without the soup). Prints "ok NAME: FIGURE" or "not ok NAME: WHY", one line for each comparison.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel

from corpus import CHATS, TEXTS
from reference import distance, load_model, load_tokenizer, logits

TOLERANCE = 1e-3  # max |difference| / max |logit|, everything in f32


def served(path: Path) -> tuple[list[int], torch.Tensor]:
    """The tokens of the prompt and the logits after the last of them, as the server has them."""
    answer = json.loads(path.read_text(encoding="utf-8"))
    return answer["tokens"], torch.tensor(answer["last_logits"], dtype=torch.float32)


def report(name: str, passed: bool, figure: str) -> None:
    print(f"{'ok' if passed else 'not ok'} {name}: {figure}", flush=True)


def agree(name: str, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    error = distance(ours, theirs)
    report(name, error <= TOLERANCE, f"max |difference| / max |logit| = {error:.2e}, bound {TOLERANCE:.0e}")


def same_tokenizer(name: str, directory: Path, reference) -> None:
    """The tokenizer and chat template written with a whole model."""
    ours = load_tokenizer(directory)

    def render(tokenizer, messages: list[dict]) -> str:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    wrong = [text for text in TEXTS if ours.encode(text) != reference.encode(text)]
    wrong += [messages for messages in CHATS if render(ours, messages) != render(reference, messages)]
    figure = f"{len(TEXTS)} texts and {len(CHATS)} conversations, {len(wrong)} differ"
    report(name, not wrong, f"{figure}: {wrong[:3]}" if wrong else figure)


def main() -> None:
    name, base, folder, prompt = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    tokenizer = load_tokenizer(base)
    tokens, soup = served(folder / "soup.json")
    _, plain = served(folder / "base.json")
    report(f"{name}: tokens", tokens == tokenizer.encode(prompt), f"{len(tokens)} tokens")

    model = load_model(base)
    untouched = logits(model, tokens)[-1]
    agree(f"{name}: base in transformers", plain, untouched)
    moved = distance(soup, untouched)
    report(f"{name}: the soup is not the base", moved > TOLERANCE, f"{moved:.2e} away")
    agree(f"{name}: adapter in PEFT", soup, logits(PeftModel.from_pretrained(model, folder / "adapter"), tokens)[-1])
    agree(f"{name}: whole model in transformers", soup, logits(load_model(folder / "full"), tokens)[-1])
    same_tokenizer(f"{name}: tokenizer of the whole model", folder / "full", tokenizer)


if __name__ == "__main__":
    main()
