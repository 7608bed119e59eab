"""One PPO step here and in torch: the same base in f32, prompts, shapes, epochs and threads, on this machine, in one run.

Both sample responses (16 of 32 tokens, if not told otherwise), score them under the policy and the base, and do 2 epochs of
minibatches of 8 over a LoRA of rank 16 on q_proj and v_proj and a value head. Torch samples with a KV cache (transformers'
generate) and trains with PEFT. With --checkpointing the step is ours alone, without and with gradient checkpointing. Called by
benches/ppo/run.
"""

import argparse
import collections
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
MINIBATCH, EPOCHS = 8, 2
# Responses of a step, and the tokens of each.
Shape = collections.namedtuple("Shape", ["batch", "tokens"])


def train(trainer, threads, shape, steps, more=""):
    """The metrics of a run of `steps` steps, its CPU seconds, and its peak RSS in kB. `more` goes into [ppo]."""
    out = ROOT / "target" / "trainer" / "step"
    (out / "metrics.jsonl").unlink(missing_ok=True)
    text = (ROOT / "benches" / "ppo" / "step.toml").read_text().replace("_length = 32", f"_length = {shape.tokens}")
    text = text.replace("batch_size = 16", f"batch_size = {shape.batch}").replace("[ppo]", f"[ppo]\n{more}")
    config = ROOT / "target" / "trainer" / "step.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text)
    command = [trainer, "--threads", str(threads), "ppo", "--config", config, "--steps", str(steps), "--out", out]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read().decode()
    # This child's own peak: that of all children is the largest one's.
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(errors)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return lines, used.ru_utime + used.ru_stime, used.ru_maxrss


def ours(trainer, threads, shape, steps):
    """Wall and CPU seconds a step: metrics for the first, two runs of different length for the second."""
    _, short, _ = train(trainer, threads, shape, 1)
    lines, long, peak = train(trainer, threads, shape, 1 + steps)
    wall = statistics.median(line["time/ppo/total"] for line in lines[1:])
    return wall, (long - short) / steps, peak


def checkpointing(trainer, threads, shape, steps):
    """Prints what gradient checkpointing costs and saves."""
    print("| gradient checkpointing | wall, s | updates in it, s | CPU, s | peak RSS, GB |\n|---|---|---|---|---|")
    learned = []
    for name, value in [("off", "false"), ("on", "true")]:
        lines, _, peak = train(trainer, threads, shape, 1 + steps, f"gradient_checkpointing = {value}")
        total, rollout, cpu = (
            statistics.median(line[f"time/ppo/{of}"] for line in lines[1:]) for of in ["total", "rollout", "cpu"]
        )
        print(f"| {name} | {total:.2f} | {total - rollout:.2f} | {cpu:.2f} | {peak / 1e6:.2f} |", flush=True)
        learned.append([{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines])
    print("every other metric is the same" if learned[0] == learned[1] else "METRICS DIFFER")


class Torch:
    """The loop of TRL 0.7 over one process."""

    def __init__(self, shape):
        self.shape = shape
        torch.manual_seed(1)
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
        config = LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        self.model = get_peft_model(base, config)
        self.value = torch.nn.Linear(base.config.hidden_size, 1)
        parameters = [p for p in self.model.parameters() if p.requires_grad] + list(self.value.parameters())
        self.parameters, self.adam = parameters, torch.optim.Adam(parameters, lr=5e-4)
        lines = (ROOT / "crates" / "trainer" / "data" / "train.txt").read_text().splitlines()
        chats = [[{"role": "user", "content": line}] for line in lines if line.strip()][: shape.batch]
        self.tokenizer.padding_side = "left"
        self.tokenizer.pad_token = self.tokenizer.eos_token
        texts = [self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
        self.prompts = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)

    def score(self, tokens, mask):
        """Log-probabilities and hidden states of the responses' tokens."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        inner = self.model.base_model.model
        hidden = inner.model(input_ids=tokens, attention_mask=mask, position_ids=positions).last_hidden_state
        hidden = hidden[:, -self.shape.tokens - 1 : -1]
        logits = inner.lm_head(hidden)
        log_probs = torch.log_softmax(logits, -1).gather(2, tokens[:, -self.shape.tokens :].unsqueeze(2)).squeeze(2)
        return log_probs, hidden

    def step(self):
        batch, length = self.shape
        with torch.no_grad():
            tokens = self.model.generate(
                **self.prompts, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=length,
                min_new_tokens=length, pad_token_id=self.tokenizer.pad_token_id,
            )
            mask = torch.cat([self.prompts["attention_mask"], torch.ones(batch, length, dtype=torch.long)], 1)
            old, hidden = self.score(tokens, mask)
            values = self.value(hidden).squeeze(2)
            with self.model.disable_adapter():
                reference, _ = self.score(tokens, mask)
        rewards = -0.08 * (old - reference)
        rewards[:, -1] += torch.randn(batch)
        advantages, last = torch.zeros_like(rewards), torch.zeros(batch)
        for token in reversed(range(length)):
            following = values[:, token + 1] if token + 1 < length else torch.zeros(batch)
            last = rewards[:, token] + following - values[:, token] + 0.95 * last
            advantages[:, token] = last
        returns = advantages + values
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        for _ in range(EPOCHS):
            for rows in torch.randperm(batch).split(MINIBATCH):
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


def theirs(threads, shape, steps):
    torch.set_num_threads(threads)
    loop = Torch(shape)
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
    parser.add_argument("--responses", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--checkpointing", action="store_true", help="here without and with it, instead of torch")
    arguments = parser.parse_args()
    threads, shape = arguments.threads, Shape(arguments.responses, arguments.tokens)
    os.chdir(ROOT)
    print(f"one PPO step: {shape.batch} responses of {shape.tokens} tokens, {EPOCHS} epochs, f32, {threads} threads")
    if arguments.checkpointing:
        return checkpointing(arguments.trainer, threads, shape, arguments.steps)
    here = ours(arguments.trainer, threads, shape, arguments.steps)
    there = theirs(threads, shape, arguments.steps)
    print("| | wall, s (median) | CPU, s (mean) | peak RSS, GB |\n|---|---|---|---|")
    for name, (wall, cpu, peak) in [("tureen-trainer", here), ("torch", there)]:
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak / 1e6:.2f} |")
    print(f"| torch / tureen-trainer | {there[0] / here[0]:.2f} | {there[1] / here[1]:.2f} | {there[2] / here[2]:.2f} |")


if __name__ == "__main__":
    main()
