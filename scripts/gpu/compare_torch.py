#!/usr/bin/env python3
"""What torch, transformers and PEFT take for the work of the GPU benchmark, on the same GPU. One JSON object.

usage: compare_torch.py FOLDER     with the base and the pool that `--bench gpu -- --keep FOLDER` wrote
"""

import json
import pathlib
import sys
import time

HIDDEN, INNER, LAYERS, POLICIES, RANK = 4096, 11008, 32, 6, 16
LINEARS = [(4, HIDDEN, HIDDEN), (2, INNER, HIDDEN), (1, HIDDEN, INNER)]
VALUES = sum(count * out * width for count, out, width in LINEARS)
PROMPT, TOKENS = 16, 64


def quickest(torch, work):
    """Seconds of the quickest of five rounds, after one that warms up."""
    work()
    torch.cuda.synchronize()
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times)


def merging(torch):
    new = lambda *shape: torch.rand(*shape, device="cuda", dtype=torch.bfloat16) - 0.5
    policies = [new(VALUES) for _ in range(POLICIES)]
    weights = [1 / POLICIES] * POLICIES

    def full():
        for _ in range(LAYERS):
            total = policies[0] * weights[0]
            for policy, weight in zip(policies[1:], weights[1:]):
                total.add_(policy, alpha=weight)

    def foreach():
        for _ in range(LAYERS):
            total = torch._foreach_mul(policies, weights)
            torch.stack(total).sum(0)

    def copy():
        policies[0].clone()

    copied = 2 * 2 * VALUES / quickest(torch, copy)
    found = {"copy_bytes_per_s": copied, "full_add_ms": quickest(torch, full) * 1e3}
    found["full_foreach_ms"] = quickest(torch, foreach) * 1e3
    del policies
    linears = [
        (new(count, out, width), new(count, out, POLICIES * RANK), new(count, POLICIES * RANK, width))
        for count, out, width in LINEARS
    ]

    def lora():
        for _ in range(LAYERS):
            for w, b, a in linears:
                torch.baddbmm(w, b, a)

    found["lora_baddbmm_ms"] = quickest(torch, lora) * 1e3
    return found


def generation(torch, folder):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder / "base", torch_dtype=torch.bfloat16).cuda().eval()
    found = []

    def tokens_per_s(model, rows, **options):
        prompt = torch.randint(0, 250, (rows, PROMPT), device="cuda")
        sizes = dict(attention_mask=torch.ones_like(prompt), do_sample=False, min_new_tokens=TOKENS, max_new_tokens=TOKENS)
        times = []
        with torch.inference_mode():
            for _ in range(3):
                begun = time.perf_counter()
                model.generate(prompt, **sizes, **options)
                torch.cuda.synchronize()
                times.append(time.perf_counter() - begun)
        return rows * TOKENS / min(times)

    alone = {rows: tokens_per_s(base, rows) for rows in (1, 16, 64)}
    names = sorted(path.name for path in (folder / "pool").iterdir() if path.is_dir())
    model = PeftModel.from_pretrained(base, folder / "pool" / names[0], adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(folder / "pool" / name, adapter_name=name)
    begun = time.perf_counter()
    for row in range(64):
        weights = [(1 + (row * (i + 3)) % 97) / 300 for i in range(len(names))]
        model.add_weighted_adapter(names, weights, f"mix-{row}", combination_type="cat")
    made = time.perf_counter() - begun
    for rows, base_only in alone.items():
        mixed = tokens_per_s(model, rows, adapter_names=[f"mix-{row}" for row in range(rows)])
        found.append({"rows": rows, "base_tokens_per_s": base_only, "mixed_tokens_per_s": mixed})
    return {"decoding": found, "adapters_made_s": made}


def main(folder):
    try:
        import torch
    except ImportError as error:
        return {"error": str(error)}
    if not torch.cuda.is_available():
        return {"error": "torch sees no GPU"}
    found = {"version": torch.__version__, "cuda": torch.version.cuda}
    for name, work in [("merging", lambda: merging(torch)), ("generation", lambda: generation(torch, folder))]:
        try:
            found[name] = work()
        except Exception as error:  # What one library cannot do is a result, too.
            found[name] = {"error": f"{type(error).__name__}: {error}"}
        torch.cuda.empty_cache()
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(json.dumps(main(pathlib.Path(sys.argv[1])), indent=2))
