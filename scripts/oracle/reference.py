"""The reference model: transformers in f32 on one thread."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is on disk
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)
torch.set_grad_enabled(False)
transformers.utils.logging.disable_progress_bar()

VOCABULARY = 49152
# 64 indices spread over the vocabulary, for comparing logits without storing all of them.
PROBES = [(13 + 769 * i) % VOCABULARY for i in range(64)]
TOP = 8


def load_model(directory: Path):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def load_tokenizer(directory: Path):
    return AutoTokenizer.from_pretrained(directory)


def logits(model, tokens: list[int]) -> torch.Tensor:
    """(positions, vocabulary), f32."""
    return model(torch.tensor([tokens])).logits[0]


def top(row: torch.Tensor) -> list:
    """The likeliest tokens of one position: [[id, logit], ...], best first."""
    values, ids = row.topk(TOP)
    return [[id, short(value)] for id, value in zip(ids.tolist(), values)]


def probes(row: torch.Tensor) -> list[float]:
    return [short(value) for value in row[PROBES]]


def short(value: torch.Tensor) -> float:
    """The shortest decimal that reads back as the same f32."""
    return float(str(value.numpy()))


def distance(left: torch.Tensor, right: torch.Tensor) -> float:
    """max |difference| / max |right|"""
    return ((left - right).abs().max() / right.abs().max()).item()


def greedy(model, tokens: list[int], count: int) -> tuple[list[int], float]:
    """The likeliest continuation, past any end token, and the smallest lead of a first choice over the second."""
    row, lead = list(tokens), float("inf")
    for _ in range(count):
        best = logits(model, row)[-1].topk(2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        row.append(best.indices[0].item())
    return row[len(tokens) :], lead
