"""Writes a GGUF model of the llama architecture as a Hugging Face directory in f32.

usage: dequantise.py BASE.gguf DIRECTORY

Reads with the `gguf` package and its own dequantiser, so that it shares no code with the server that it checks.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize
from safetensors.numpy import save_file

SPECIAL = 3  # "control" in tokenizer.ggml.token_type


def metadata(reader: GGUFReader) -> dict:
    return {name: field.contents() for name, field in reader.fields.items()}


def config(meta: dict) -> dict:
    """config.json; every number comes from the file."""
    heads = meta["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(meta["tokenizer.ggml.tokens"]),
        "hidden_size": meta["llama.embedding_length"],
        "intermediate_size": meta["llama.feed_forward_length"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "head_dim": meta["llama.rope.dimension_count"],
        "max_position_embeddings": meta["llama.context_length"],
        "rope_theta": meta["llama.rope.freq_base"],
        # Stored as f32: the shortest decimal that gives the same f32 back.
        "rms_norm_eps": float(str(np.float32(meta["llama.attention.layer_norm_rms_epsilon"]))),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
        "torch_dtype": "float32",
    }


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undoes llama.cpp's conversion, which interleaves the halves of every rotary head: rows 0, d/2, 1, d/2+1, ..."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, rows // heads // 2, 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


MODULES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def tensors(reader: GGUFReader, meta: dict) -> dict[str, np.ndarray]:
    """Every weight, dequantised, under its Hugging Face name and layout. A tensor without a place is an error."""
    heads = {"attn_q": meta["llama.attention.head_count"], "attn_k": meta["llama.attention.head_count_kv"]}
    result = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name in TOP:
            result[TOP[tensor.name]] = values
            continue
        _, layer, module, _ = tensor.name.split(".")  # blk.0.attn_q.weight
        if module in heads:
            values = unpermute(values, heads[module])
        result[f"model.layers.{layer}.{MODULES[module]}.weight"] = np.ascontiguousarray(values)
    return result


def tokenizer(meta: dict) -> tuple[dict, dict]:
    """tokenizer.json and tokenizer_config.json."""
    if (meta["tokenizer.ggml.model"], meta["tokenizer.ggml.pre"]) != ("gpt2", "smollm"):
        raise SystemExit("only byte-level BPE with the 'smollm' pre-tokenizer is known here")
    tokens = meta["tokenizer.ggml.tokens"]
    special = [id for id, kind in enumerate(meta["tokenizer.ggml.token_type"]) if kind == SPECIAL]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": tokens[id], **flags} for id in special],
        "normalizer": None,
        # Every digit by itself, then GPT-2's expression.
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {**byte_level, "add_prefix_space": False},
            ],
        },
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            # The vocabulary lacks some bytes; without an unknown token they are dropped, as llama.cpp does.
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(tokens)},
            "merges": meta["tokenizer.ggml.merges"],
        },
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": meta["llama.context_length"],
        "add_prefix_space": meta["tokenizer.ggml.add_space_prefix"],
        "clean_up_tokenization_spaces": False,
        "bos_token": tokens[meta["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[meta["tokenizer.ggml.eos_token_id"]],
        "unk_token": tokens[meta["tokenizer.ggml.unknown_token_id"]],
        "pad_token": tokens[meta["tokenizer.ggml.padding_token_id"]],
        "chat_template": meta["tokenizer.chat_template"],
    }
    return document, settings


def main() -> None:
    source, directory = Path(sys.argv[1]), Path(sys.argv[2])
    reader = GGUFReader(source)
    meta = metadata(reader)
    if meta["general.architecture"] != "llama":
        raise SystemExit(f"{source} is not of the llama architecture but {meta['general.architecture']}")
    directory.mkdir(parents=True, exist_ok=True)
    document, settings = tokenizer(meta)
    for name, value in (("config", config(meta)), ("tokenizer", document), ("tokenizer_config", settings)):
        text = json.dumps(value, ensure_ascii=False, indent=None if name == "tokenizer" else 2)
        (directory / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    # The weights last and by a rename: a directory that has them is complete.
    unfinished = directory / "model.safetensors.unfinished"
    save_file(tensors(reader, meta), unfinished, metadata={"format": "pt"})
    unfinished.chmod(0o644)
    unfinished.rename(directory / "model.safetensors")


if __name__ == "__main__":
    main()
