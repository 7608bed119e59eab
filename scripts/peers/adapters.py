"""Makes the LoRA policies that both sides serve, and pools of them.

usage: adapters.py BASE_DIR MANIFEST OUT

BASE_DIR is the base in the Hugging Face layout (its config.json is read), MANIFEST a pool.toml whose [base] section is
taken over. Writes OUT/adapters/p01 ... p16 in PEFT's layout and, for every size in POOLS, OUT/pools/N: a pool of the
first N. The values are random, seeded and exact in f16; B is small, so that the model still writes text. What a policy
says does not matter here: only how much arithmetic it asks for.
"""

import hashlib
import json
import math
import os
import sys
import tomllib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SEED = 20231117
RANK = 16
ALPHA = 32
B_DEVIATION = 0.01
POOLS = (1, 2, 4, 6, 8, 16)


def modules(config: dict) -> dict[str, tuple[int, int]]:
    """(out, in) of the seven projections of a layer."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    return {
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }


def write_adapter(folder: Path, number: int, config: dict) -> None:
    random = np.random.default_rng([SEED, number])
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for module, (out, width) in modules(config).items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            a = random.standard_normal((RANK, width)) / math.sqrt(width)
            b = random.standard_normal((out, RANK)) * B_DEVIATION
            tensors[f"{name}.lora_A.weight"] = a.astype(np.float16)
            tensors[f"{name}.lora_B.weight"] = b.astype(np.float16)
    settings = {
        "base_model_name_or_path": "SmolLM2-135M-Instruct",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": RANK,
        "target_modules": sorted(module.rsplit(".", 1)[1] for module in modules(config)),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def write_pool(folder: Path, adapters: list[Path], base: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "format = 1\n\n[base]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in base.items())
    text += f'\n[[dimension]]\nid = "bench"\npoles = {json.dumps([a.name for a in adapters])}\n'
    for adapter in adapters:
        text += f'\n[[policy]]\nid = "{adapter.name}"\ncode = "{adapter.name.upper()}"\ndimension = "bench"\n'
        text += 'instruction = "None: random values of a bench."\nkind = "lora"\n'
        text += f'dir = "{adapter.name}"\nlicense = "Apache-2.0"\n\n[policy.files]\n'
        (folder / adapter.name).mkdir(exist_ok=True)
        for file in sorted(adapter.iterdir()):
            place = folder / adapter.name / file.name
            place.unlink(missing_ok=True)
            os.link(file, place)
            text += f'"{file.name}" = "{hashlib.sha256(file.read_bytes()).hexdigest()}"\n'
    (folder / "pool.toml").write_text(text)


def main() -> None:
    base_dir, manifest, out = map(Path, sys.argv[1:])
    config = json.loads((base_dir / "config.json").read_text())
    base = tomllib.loads(manifest.read_text())["base"]
    adapters = [out / "adapters" / f"p{number:02}" for number in range(1, max(POOLS) + 1)]
    for number, folder in enumerate(adapters, 1):
        write_adapter(folder, number, config)
    for size in POOLS:
        write_pool(out / "pools" / str(size), adapters[:size], base)


if __name__ == "__main__":
    main()
