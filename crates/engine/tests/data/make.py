"""Writes the golden files of this folder: what other implementations compute.

usage: make.py

Needs the packages `sentencepiece`, `protobuf`, `transformers`, `tokenizers`, `gguf` and `numpy`.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import sentencepiece

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
sys.path.insert(0, str(ROOT / "scripts" / "oracle"))
from corpus import TEXTS  # noqa: E402

# Types of sentencepiece, numbered alike in tokenizer.ggml.token_type.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
BLOCKS = 2
ENCODINGS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "BF16", "F16"]


def write(name: str, value) -> None:
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    (HERE / name).write_text(text + "\n", encoding="ascii")


def train(folder: Path) -> Path:
    """A small vocabulary with llama's settings."""
    text = folder / "text.txt"
    lines = [line for text in TEXTS for line in text.splitlines() if "\x00" not in line]
    prose = [(ROOT / name).read_text(encoding="utf-8") for name in ("LICENSE", "CONTRIBUTING.md", "config.toml")]
    text.write_text("\n".join(lines + prose), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "tokenizer"), model_type="bpe", vocab_size=700,
        character_coverage=0.98, byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, add_dummy_prefix=True,
        user_defined_symbols=["<think>"], control_symbols=["<|user|>"], minloglevel=2,
    )  # fmt: skip
    return folder / "tokenizer.model"


def kind(model, id: int) -> int:
    if model.is_unknown(id):
        return UNKNOWN
    if model.is_control(id):
        return CONTROL
    if model.is_byte(id):
        return BYTE
    return USER_DEFINED if model.id_to_piece(id) == "<think>" else NORMAL


def sentencepiece_golden(path: Path) -> dict:
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = range(len(model))
    special = [model.id_to_piece(id) for id in ids if kind(model, id) in (UNKNOWN, CONTROL)]
    # In a text, sentencepiece takes special tokens for plain text; the server, as transformers, does not.
    texts = [text for text in TEXTS if not any(token in text for token in special)]
    return {
        "tokens": [model.id_to_piece(id) for id in ids],
        "scores": [model.get_score(id) for id in ids],
        "types": [kind(model, id) for id in ids],
        "texts": [{"text": text, "ids": model.encode(text), "decoded": model.decode(model.encode(text))} for text in texts],
    }


def quantised_golden() -> list:
    random.seed(7)
    result = []
    for name in ENCODINGS:
        kind = gguf.GGMLQuantizationType[name]
        values, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = [bytes(random.randrange(256) for _ in range(size)) for _ in range(BLOCKS * max(1, 32 // values))]
        data = bytearray(b"".join(blocks))
        tame(name, data, size)
        decoded = gguf.dequantize(np.frombuffer(bytes(data), dtype=np.uint8), kind).astype(np.float32).ravel()
        # Bits, since the last digit matters.
        result.append({"name": name, "code": int(kind), "bytes": data.hex(), "bits": decoded.view(np.uint32).tolist()})
    return result


def tame(name: str, data: bytearray, size: int) -> None:
    """Puts numbers of ordinary size where random bytes would be scales that are infinite or no numbers."""
    places = {
        "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
        "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "BF16": [0], "F16": [0],
    }[name]  # fmt: skip
    for start in range(0, len(data), size):
        for place in places:
            value = np.float32(random.uniform(-2, 2))
            if name == "BF16":
                data[start + place : start + place + 2] = value.tobytes()[2:]
            else:
                data[start + place : start + place + 2] = value.astype(np.float16).tobytes()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write("sentencepiece.json", sentencepiece_golden(train(Path(folder))))
    write("quantised.json", quantised_golden())


if __name__ == "__main__":
    main()
