"""One PPO step here and in torch: the same base in f32, prompts, shapes, epochs and threads, on this machine, in one run.

Both sample 16 responses of 32 tokens, score them under the policy and the base, and do 2 epochs of minibatches of 8 over a
LoRA of rank 16 on q_proj and v_proj and a value head. Torch samples with a KV cache (transformers' generate) and trains with
PEFT. Called by benches/ppo/run.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The base, dequantised to f32: what the trainer computes with is dequantised from the same file.
MODEL = ROOT / "target" / "peft" / "base"
BATCH, MINIBATCH, EPOCHS, TOKENS = 16, 8, 2, 32


def ours(trainer, threads, steps):
    """Wall and CPU seconds a step: metrics for the first, two runs of different length for the second."""

    def run(count):
        out = ROOT / "target" / "trainer" / f"step-{count}"
        (out / "metrics.jsonl").unlink(missing_ok=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [trainer, "--threads", str(threads), "ppo", "--config", "benches/ppo/step.toml"]
        subprocess.run([*command, "--steps", str(count), "--out", out], cwd=ROOT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, lines, after.ru_maxrss

    short, _, _ = run(1)
    long, lines, peak = run(1 + steps)
    wall = statistics.median(line["time/ppo/total"] for line in lines[1:])
    return wall, (long - short) / steps, peak


class Torch:
    """The loop of TRL 0.7 over one process."""

    def __init__(self):
        torch.manual_seed(1)
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
        config = LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        self.model = get_peft_model(base, config)
        self.value = torch.nn.Linear(base.config.hidden_size, 1)
        parameters = [p for p in self.model.parameters() if p.requires_grad] + list(self.value.parameters())
        self.parameters, self.adam = parameters, torch.optim.Adam(parameters, lr=5e-4)
        lines = (ROOT / "crates" / "trainer" / "data" / "train.txt").read_text().splitlines()
        chats = [[{"role": "user", "content": line}] for line in lines if line.strip()][:BATCH]
        self.tokenizer.padding_side = "left"
        self.tokenizer.pad_token = self.tokenizer.eos_token
        texts = [self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
        self.prompts = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)

    def score(self, tokens, mask):
        """Log-probabilities and hidden states of the responses' tokens."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        inner = self.model.base_model.model
        hidden = inner.model(input_ids=tokens, attention_mask=mask, position_ids=positions).last_hidden_state
        hidden = hidden[:, -TOKENS - 1 : -1]
        logits = inner.lm_head(hidden)
        log_probs = torch.log_softmax(logits, -1).gather(2, tokens[:, -TOKENS:].unsqueeze(2)).squeeze(2)
        return log_probs, hidden

    def step(self):
        with torch.no_grad():
            tokens = self.model.generate(
                **self.prompts, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=TOKENS,
                min_new_tokens=TOKENS, pad_token_id=self.tokenizer.pad_token_id,
            )
            mask = torch.cat([self.prompts["attention_mask"], torch.ones(BATCH, TOKENS, dtype=torch.long)], 1)
            old, hidden = self.score(tokens, mask)
            values = self.value(hidden).squeeze(2)
            with self.model.disable_adapter():
                reference, _ = self.score(tokens, mask)
        rewards = -0.08 * (old - reference)
        rewards[:, -1] += torch.randn(BATCH)
        advantages, last = torch.zeros_like(rewards), torch.zeros(BATCH)
        for token in reversed(range(TOKENS)):
            following = values[:, token + 1] if token + 1 < TOKENS else torch.zeros(BATCH)
            last = rewards[:, token] + following - values[:, token] + 0.95 * last
            advantages[:, token] = last
        returns = advantages + values
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        for _ in range(EPOCHS):
            for rows in torch.randperm(BATCH).split(MINIBATCH):
                log_probs, hidden = self.score(tokens[rows], mask[rows])
                ratio = (log_probs - old[rows]).exp()
                clipped = ratio.clamp(0.8, 1.2)
                policy = torch.max(-advantages[rows] * ratio, -advantages[rows] * clipped).mean()
                value = self.value(hidden).squeeze(2)
                held = values[rows] + (value - values[rows]).clamp(-0.2, 0.2)
                error = torch.max((value - returns[rows]) ** 2, (held - returns[rows]) ** 2)
                self.adam.zero_grad()
                (policy + 0.1 * 0.5 * error.mean()).backward()
                torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
                self.adam.step()


def theirs(threads, steps):
    torch.set_num_threads(threads)
    loop = Torch()
    loop.step()
    walls, cpu = [], time.process_time()
    for _ in range(steps):
        start = time.perf_counter()
        loop.step()
        walls.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return statistics.median(walls), (time.process_time() - cpu) / steps, peak


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    here = ours(arguments.trainer, arguments.threads, arguments.steps)
    there = theirs(arguments.threads, arguments.steps)
    print(f"one PPO step: {BATCH} responses of {TOKENS} tokens, {EPOCHS} epochs, f32, {arguments.threads} threads")
    print("| | wall, s (median) | CPU, s (mean) | peak RSS, GB |\n|---|---|---|---|")
    for name, (wall, cpu, peak) in [("tureen-trainer", here), ("torch", there)]:
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak / 1e6:.2f} |")
    print(f"| torch / tureen-trainer | {there[0] / here[0]:.2f} | {there[1] / here[1]:.2f} | {there[2] / here[2]:.2f} |")


if __name__ == "__main__":
    main()
