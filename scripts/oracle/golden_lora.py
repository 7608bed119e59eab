"""Two seeded LoRA policies for the real base, and the logits of their soups.

The logits come from weights merged here in f64 and rounded once to f32. PEFT, which adds its adapters to the layers'
outputs instead and concatenates the factors for a mix, must agree or nothing is written.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file

from reference import PROBES, distance, load_model, logits, probes, top

BASE_NAME = "SmolLM2-135M-Instruct"
# The mix of the goldens, and how far PEFT may be from it: max |difference| / max |logit|.
MIX = {"a": 0.6, "b": 0.4}
AGREEMENT = 1e-4
# Every soup must move the logits by more than this share, or the goldens would pass without any policy.
EFFECT = 0.02


@dataclass(frozen=True)
class Policy:
    """One adapter. The two differ in everything a merge must keep apart: rank, alpha, scaling, targets and dtype."""

    name: str
    rank: int
    alpha: int
    rslora: bool
    dtype: torch.dtype
    modules: tuple[str, ...]
    seed: int

    @property
    def scale(self) -> float:
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)


POLICIES = (
    Policy(
        name="a",
        rank=4,
        alpha=8,
        rslora=False,
        dtype=torch.float32,
        modules=(
            "model.layers.0.self_attn.q_proj",
            "model.layers.0.self_attn.v_proj",
            "model.layers.17.self_attn.q_proj",
            "model.layers.17.self_attn.v_proj",
        ),
        seed=101,
    ),
    Policy(
        name="b",
        rank=8,
        alpha=6,
        rslora=True,
        dtype=torch.bfloat16,
        modules=(
            "model.layers.0.self_attn.k_proj",
            "model.layers.17.self_attn.v_proj",
            "model.layers.17.self_attn.o_proj",
            "model.layers.29.mlp.gate_proj",
            "model.layers.29.mlp.down_proj",
        ),
        seed=202,
    ),
)


def write_adapter(policy: Policy, weights: dict[str, torch.Tensor], directory: Path) -> None:
    """A folder in PEFT's layout. The factors are as large as the weights they change, so that the soup shows."""
    directory.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(policy.seed)
    factors = {}
    for module in policy.modules:
        weight = weights[f"{module}.weight"]
        rows, columns = weight.shape
        a = random.standard_normal((policy.rank, columns)) / columns**0.5
        b = random.standard_normal((rows, policy.rank)) * weight.std().item() * columns**0.5
        for name, factor in (("lora_A", a), ("lora_B", b / (policy.scale * policy.rank))):
            factors[f"base_model.model.{module}.{name}.weight"] = torch.from_numpy(factor).to(policy.dtype)
    save_file(factors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    (directory / "adapter_model.safetensors").chmod(0o644)
    config = LoraConfig(
        base_model_name_or_path=BASE_NAME,
        task_type="CAUSAL_LM",
        inference_mode=True,
        r=policy.rank,
        lora_alpha=policy.alpha,
        use_rslora=policy.rslora,
        target_modules=list(policy.modules),
    )
    text = json.dumps(config.to_dict(), indent=2, sort_keys=True, default=sorted)  # PEFT's sets become sorted lists
    (directory / "adapter_config.json").write_text(text + "\n", encoding="utf-8")


class Factors:
    """One policy's factors in f64, as they are on disk."""

    def __init__(self, policy: Policy, directory: Path):
        self.policy = policy
        self.tensors = load_file(directory / policy.name / "adapter_model.safetensors")

    def a(self, module: str) -> torch.Tensor:
        return self.tensors[f"base_model.model.{module}.lora_A.weight"].double()

    def b(self, module: str) -> torch.Tensor:
        return self.tensors[f"base_model.model.{module}.lora_B.weight"].double()


def exact(weighted: list[tuple[Factors, float]], module: str) -> torch.Tensor:
    """sum_i w_i s_i B_i A_i"""
    return sum(weight * one.policy.scale * one.b(module) @ one.a(module) for one, weight in weighted)


def factor(weighted: list[tuple[Factors, float]], module: str) -> torch.Tensor:
    """(sum_i w_i s_i B_i)(sum_j w_j A_j), the smaller ranks padded with zeros: each scale stays with its own B."""
    rank = max(one.policy.rank for one, _ in weighted)
    pad = torch.nn.functional.pad
    b = sum(w * one.policy.scale * pad(one.b(module), (0, rank - one.policy.rank)) for one, w in weighted)
    a = sum(w * pad(one.a(module), (0, 0, 0, rank - one.policy.rank)) for one, w in weighted)
    return b @ a


METHODS = {"exact": exact, "factor": factor}


def merged_logits(
    model, factors: dict[str, Factors], preference: dict[str, float], method: str, tokens: list[int]
) -> torch.Tensor:
    """Logits with the soup added to the weights, which are put back afterwards."""
    kept = {}
    for module in sorted({module for name in preference for module in factors[name].policy.modules}):
        weighted = [(factors[name], w) for name, w in preference.items() if module in factors[name].policy.modules]
        weight = model.get_parameter(f"{module}.weight")
        kept[weight] = weight.clone()
        weight.copy_(weight.double() + METHODS[method](weighted, module))
    rows = logits(model, tokens)
    for weight, value in kept.items():
        weight.copy_(value)
    return rows


def peft_logits(base, directory: Path, tokens: list[int]) -> dict[str, torch.Tensor]:
    """Logits as PEFT computes them, from the files: each policy alone, and the mix by concatenated factors."""
    model = PeftModel.from_pretrained(base, directory / "a", adapter_name="a")
    model.load_adapter(directory / "b", adapter_name="b")
    # "a" goes first: PEFT takes the first adapter's use_rslora for the mix, and would scale it once more for "b".
    model.add_weighted_adapter(list(MIX), list(MIX.values()), "mix", combination_type="cat")
    rows = {}
    for name in ("a", "b", "mix"):
        model.set_adapter(name)
        rows[name] = logits(model, tokens)
    return rows


def build(base: Path, directory: Path, prompt: str, tokens: list[int]) -> dict:
    """Writes the adapters to `directory`; the answer is the content of lora_logits.json."""
    model = load_model(base)
    for policy in POLICIES:
        write_adapter(policy, model.state_dict(), directory / policy.name)
    factors = {policy.name: Factors(policy, directory) for policy in POLICIES}
    untouched = logits(model, tokens)
    cases = [("a", {"a": 1.0}, "exact"), ("b", {"b": 1.0}, "exact"), ("mix", MIX, "exact"), ("factor", MIX, "factor")]
    rows = {name: merged_logits(model, factors, preference, method, tokens) for name, preference, method in cases}
    if not torch.equal(logits(model, tokens), untouched):
        raise SystemExit("the base was not put back")
    for name, soup in rows.items():
        if distance(soup, untouched) < EFFECT:
            raise SystemExit(f"{name} hardly differs from the base: {distance(soup, untouched):.2e}")
    for name, theirs in peft_logits(model, directory, tokens).items():
        error = distance(theirs, rows[name])
        print(f"{name}: {distance(rows[name], untouched):.2e} from the base, {error:.2e} from PEFT")
        if error > AGREEMENT:
            raise SystemExit(f"PEFT differs on {name}")
    return {
        "probe_ids": PROBES,
        "prompt": prompt,
        "tokens": tokens,
        "soups": [
            {
                "name": name,
                "preference": preference,
                "method": method,
                "top": [top(row) for row in rows[name]],
                "probes": [probes(row) for row in rows[name]],
            }
            for name, preference, method in cases
        ],
    }
