"""Makes clipped_training.json, a golden of tests/optim/test_golden_clipping.cpp: training with gradients clipped by value.

    python make_clipping_golden.py

20 AdamW steps of the checkpoints that make_model_golden.py made, on the micro-batches of their golden.json. Each step
clips the gradient by value, then by the norm of what that left. Weight decay is as PyTorch users write it: for parameters
with two or more dimensions. It is strong, so that decay of the others would be seen. Made with torch 2.15.0,
transformers 5.24.0.
"""

import json
import pathlib

import torch
from transformers import AutoModelForCausalLM

from make_model_golden import token_losses

HERE = pathlib.Path(__file__).parent
STEPS, MAX_VALUE, MAX_NORM, DECAY = 20, 0.01, 0.2, 5.0


def train(model, steps):
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for micro_batches in steps:
        optimizer.zero_grad()
        targets = sum(sum(label != -100 for d in documents for label in d["labels"]) for documents in micro_batches)
        loss = 0.0
        for documents in micro_batches:
            total, _ = token_losses(model, documents)
            (total / targets).backward()
            loss += total.item()
        torch.nn.utils.clip_grad_value_(model.parameters(), MAX_VALUE)
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM).item())
        optimizer.step()
        losses.append(loss / targets)
    return losses, norms


def main():
    torch.set_num_threads(1)
    result = {"clip_grad_value": MAX_VALUE, "clip_grad_norm": MAX_NORM, "weight_decay": DECAY, "models": {}}
    for name in ["llama_tied", "gpt2"]:
        model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32, attn_implementation="eager").eval()
        steps = json.loads((HERE / name / "golden.json").read_text())["steps"]
        losses, norms = train(model, [steps[s % len(steps)] for s in range(STEPS)])
        result["models"][name] = {"losses": losses, "grad_norms": norms}
        print(name, losses[0], "->", losses[-1], "norms", norms[0], norms[-1])
    (HERE / "clipped_training.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
