"""Makes optimizer_losses.json: losses of 20 steps of the small checkpoints beside it, with optimizers other than AdamW.

    python make_optimizer_losses.py

The steps' micro-batches are those of NAME/golden.json (make_model_golden.py), the gradient is clipped to norm 1, and
the rate is 1e-3. Made with torch 2.15.0, transformers 5.24.0, pytorch-optimizer 4.1.0, in float32.
"""

import json
import pathlib

import torch
from pytorch_optimizer import Adan
from transformers import AutoModelForCausalLM

from make_model_golden import token_losses

HERE = pathlib.Path(__file__).parent
NAMES = ["llama_tied", "llama_untied", "gpt2"]
STEPS, MAX_NORM, LR = 20, 1.0, 1e-3


def load(name):
    model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32, attn_implementation="eager").eval()
    return model, json.loads((HERE / name / "golden.json").read_text())["steps"]


def targets_of(micro_batches):
    return sum(label != -100 for documents in micro_batches for d in documents for label in d["labels"])


def backward(model, micro_batches):
    """The gradient of the mean loss over the step's targets. Returns that loss."""
    model.zero_grad()
    loss = 0.0
    for documents in micro_batches:
        total, _ = token_losses(model, documents)
        (total / targets_of(micro_batches)).backward()
        loss += total.item()
    return loss / targets_of(micro_batches)


def adan(name):
    model, steps = load(name)
    optimizer = Adan(model.parameters(), lr=LR, weight_decay=0.1, weight_decouple=False)
    losses = []
    for step in range(STEPS):
        losses.append(backward(model, steps[step % len(steps)]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
    return losses


RULES = [("adan", {"weight_decay": 0.1}, adan)]


def main():
    torch.set_num_threads(1)
    cases = [{"rule": rule, "options": options, "checkpoint": name, "losses": losses_of(name)}
             for rule, options, losses_of in RULES for name in NAMES]
    for case in cases:
        print(case["rule"], case["checkpoint"], case["losses"][0], "->", case["losses"][-1])
    golden = {"lr": LR, "max_norm": MAX_NORM, "cases": cases}
    (HERE / "optimizer_losses.json").write_text(json.dumps(golden, separators=(",", ":")).replace("},{", "},\n{") + "\n")


if __name__ == "__main__":
    main()
