"""Writes the golden files under tests/golden: see the README there for their fields.

usage: golden.py BASE.gguf HF_DIRECTORY OUT   (HF_DIRECTORY: what dequantise.py made of BASE.gguf)
"""

import json
import sys
from pathlib import Path

import golden_lora
import golden_pool
from bpe import Bpe
from corpus import CHATS, TEXTS, USER
from reference import PROBES, greedy, load_model, load_tokenizer, logits, probes, top

PLAIN = "The capital of France is Paris. The capital of Italy is"
CODE = "def fibonacci(n):\n    if n < 2:\n        return n\n    return"
GREEDY = 16


def compact(value) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def write_lines(path: Path, values: list) -> None:
    path.write_text("".join(compact(value) + "\n" for value in values), encoding="ascii")


def tokenizer_corpus(tokenizer, second: Bpe) -> list[dict]:
    lines = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if second.encode(text) != ids:
            raise SystemExit(f"the two tokenizers differ on {text!r}: {ids} and {second.encode(text)}")
        spoken = tokenizer.decode(ids, skip_special_tokens=True)
        lines.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids), "decoded_without_special": spoken})
    return lines


def render(tokenizer, messages: list[dict]) -> str:
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def chats(tokenizer) -> list[dict]:
    lines = []
    for messages in CHATS:
        text = render(tokenizer, messages)
        lines.append({"messages": messages, "rendered": text, "ids": tokenizer.encode(text, add_special_tokens=False)})
    return lines


def base_logits(model, tokenizer) -> dict:
    prompts = []
    for name, text in (("plain", PLAIN), ("chat", render(tokenizer, [USER])), ("code", CODE)):
        tokens = tokenizer.encode(text, add_special_tokens=False)
        rows = logits(model, tokens)
        continuation, lead = greedy(model, tokens, GREEDY)
        prompts.append({
            "name": name,
            "text": text,
            "tokens": tokens,
            "top": [top(row) for row in rows],
            "last_probes": probes(rows[-1]),
            "greedy": continuation,
            "greedy_text": tokenizer.decode(continuation),
            "greedy_smallest_lead": lead,
        })  # fmt: skip
    return {"probe_ids": PROBES, "prompts": prompts}


def main() -> None:
    gguf, directory, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(directory)
    document = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    write_lines(out / "tokenizer_corpus.jsonl", tokenizer_corpus(tokenizer, Bpe(document)))
    write_lines(out / "chat.jsonl", chats(tokenizer))
    (out / "base_logits.json").write_text(compact(base_logits(load_model(directory), tokenizer)) + "\n")
    tokens = tokenizer.encode(PLAIN, add_special_tokens=False)
    (out / "lora_logits.json").write_text(compact(golden_lora.build(directory, out / "lora", PLAIN, tokens)) + "\n")
    (out / "lora/pool.toml").write_text(golden_pool.manifest(gguf, document, out / "lora"), encoding="utf-8")


if __name__ == "__main__":
    main()
