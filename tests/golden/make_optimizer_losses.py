"""Makes optimizer_losses.json: losses of 20 steps of the small checkpoints beside it, with optimizers other than AdamW.

    python make_optimizer_losses.py

The steps' micro-batches are those of NAME/golden.json (make_model_golden.py), the gradient is clipped to norm 1, and
the rate is 1e-3. Sophia is its authors' (sophia-opt); its labels are sampled by the engine's random numbers
(philox.py), where a step's tokens are numbered from 1000 · step on. Made with torch 2.15.0, transformers 5.24.0,
pytorch-optimizer 4.1.0, sophia-opt 0.2.2, in float32.
"""

import json
import pathlib

import torch
from pytorch_optimizer import Adan
from sophia_opt import SophiaG
from transformers import AutoModelForCausalLM

from make_model_golden import token_losses
from philox import gumbel_labels, random_key

HERE = pathlib.Path(__file__).parent
NAMES = ["llama_tied", "llama_untied", "gpt2"]
STEPS, MAX_NORM, LR, SEED = 20, 1.0, 1e-3, 42


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


def backward_of_sampled(model, micro_batches, step):
    """The gradient of the mean loss over labels that the model has sampled."""
    model.zero_grad()
    number = 1000 * step
    for document in (d for documents in micro_batches for d in documents):
        logits = model(input_ids=torch.tensor([document["tokens"]]), use_cache=False).logits[0]
        sampled = gumbel_labels(logits.detach().double().numpy(), range(number, number + len(logits)),
                                random_key(SEED, f"sampled labels/{step}"))
        number += len(logits)
        is_target = torch.tensor(document["labels"]) != -100
        labels = torch.where(is_target, torch.from_numpy(sampled), -100)
        total = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        (total / targets_of(micro_batches)).backward()


SOPHIA = {"betas": [0.9, 0.8], "rho": 2.0, "weight_decay": 0.1, "hessian_interval": 3}


def sophia(name, batch_size=0):
    model, steps = load(name)
    optimizer = SophiaG(model.parameters(), lr=LR, betas=SOPHIA["betas"], rho=SOPHIA["rho"], weight_decay=0.1)
    losses = []
    for step in range(1, STEPS + 1):
        micro_batches = steps[(step - 1) % len(steps)]
        if (step - 1) % SOPHIA["hessian_interval"] == 0:
            backward_of_sampled(model, micro_batches, step)
            for parameter in model.parameters():  # the paper's factor is in the estimate, and so not in step()
                parameter.grad *= (batch_size or targets_of(micro_batches)) ** 0.5
            optimizer.update_hessian()
        losses.append(backward(model, micro_batches))
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step(bs=1)
    states = [optimizer.state[p] for p in model.parameters()]
    clipped = sum((s["exp_avg"].abs() > SOPHIA["rho"] * s["hessian"]).sum().item() for s in states)
    print("of all elements clipped:", clipped / sum(p.numel() for p in model.parameters()))
    return losses


RULES = [("adan", {"weight_decay": 0.1}, adan), ("sophia", SOPHIA, sophia),
         ("sophia", {**SOPHIA, "batch_size": 50}, lambda name: sophia(name, 50))]


def main():
    torch.set_num_threads(1)
    cases = [{"rule": rule, "options": options, "checkpoint": name, "losses": losses_of(name)}
             for rule, options, losses_of in RULES for name in NAMES]
    for case in cases:
        print(case["rule"], case["checkpoint"], case["losses"][0], "->", case["losses"][-1])
    golden = {"lr": LR, "max_norm": MAX_NORM, "seed": SEED, "cases": cases}
    (HERE / "optimizer_losses.json").write_text(json.dumps(golden, separators=(",", ":")).replace("},{", "},\n{") + "\n")


if __name__ == "__main__":
    main()
