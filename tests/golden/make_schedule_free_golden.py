"""Makes schedule_free.json, the golden of tests/optim/test_schedule_free.cpp.

    python make_schedule_free_golden.py

"steps": 50 steps on one tensor in float64, from the equations of the paper (Defazio et al., arXiv 2405.15682, algorithm
1) and not from its package: x, y and z are kept apart. The gradients are given by a formula that the test has, too.
Both packages, schedulefree and pytorch-optimizer, are compared with it here, in float64.
"models": 20 steps of the goldens llama_tied and gpt2 with the package schedulefree in float32, on the micro-batches of
their golden.json, and the losses of the first step's micro-batches with the averaged weights after steps 10 and 20.
Made with numpy 2.4.6, torch 2.15.0, schedulefree 1.4.1, pytorch-optimizer 4.1.0, transformers 5.24.0.
"""

import copy
import json
import pathlib

import numpy as np
import torch
from pytorch_optimizer import ScheduleFreeAdamW
from schedulefree import AdamWScheduleFree
from transformers import AutoModelForCausalLM

from make_model_golden import token_losses

HERE = pathlib.Path(__file__).parent
SHAPE, STEPS, WARMUP = (7, 13), 50, 10
LR, BETA1, BETA2, EPS, DECAY = 1e-2, 0.9, 0.95, 1e-8, 0.1
MODEL = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0, warmup_steps=5)


def first_weights():
    i = np.arange(np.prod(SHAPE), dtype=np.float64)
    return np.sin(1.7 * i + 0.3)


def gradient(t):
    i = np.arange(np.prod(SHAPE), dtype=np.float64)
    return np.cos(0.37 * i + 0.9 * t) * (1 + 0.05 * i) + 0.5 * np.sin(2.3 * i)


def by_the_paper():
    """(x, y, z, v) after each step; y is where the next gradient is taken."""
    x, z, v, squares, after = first_weights(), first_weights(), 0.0, 0.0, []
    for t in range(1, STEPS + 1):
        y = (1 - BETA1) * z + BETA1 * x
        g = gradient(t)
        v = BETA2 * v + (1 - BETA2) * g * g
        rate = LR * min(1, t / WARMUP)
        z = z - rate * g / (np.sqrt(v / (1 - BETA2 ** t)) + EPS) - rate * DECAY * y
        squares += rate ** 2
        c = rate ** 2 / squares
        x = (1 - c) * x + c * z
        after.append((x, (1 - BETA1) * z + BETA1 * x, z, v))
    return after


def by_package(make):
    weight = torch.nn.Parameter(torch.tensor(first_weights()))
    optimizer = make([weight])
    optimizer.train()
    for t in range(1, STEPS + 1):
        weight.grad = torch.tensor(gradient(t))
        optimizer.step()
    y = weight.detach().numpy().copy()
    optimizer.eval()
    return weight.detach().numpy(), y


def compare_packages(x, y):
    packages = {
        "schedulefree": lambda p: AdamWScheduleFree(p, lr=LR, betas=(BETA1, BETA2), eps=EPS, weight_decay=DECAY,
                                                    warmup_steps=WARMUP),
        "pytorch-optimizer": lambda p: ScheduleFreeAdamW(p, lr=LR, betas=(BETA1, BETA2), eps=EPS, weight_decay=DECAY,
                                                         warmup_steps=WARMUP),
    }
    for name, make in packages.items():
        found_x, found_y = by_package(make)
        print(name, "x", np.linalg.norm(found_x - x) / np.linalg.norm(x), "y",
              np.linalg.norm(found_y - y) / np.linalg.norm(y))


def evaluated(model, optimizer, micro_batches):
    """The loss with x. The package's way to x and back rounds, so it is taken on copies."""
    weights = copy.deepcopy(model.state_dict())
    optimizer.eval()
    with torch.no_grad():
        sums = [token_losses(model, documents) for documents in micro_batches]
    optimizer.train()
    model.load_state_dict(weights)
    return sum(float(total) for total, _ in sums) / sum(targets for _, targets in sums)


def train(name):
    model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32, attn_implementation="eager").eval()
    steps = json.loads((HERE / name / "golden.json").read_text())["steps"]
    optimizer = AdamWScheduleFree(model.parameters(), **MODEL)
    optimizer.train()
    losses, averages = [], []
    for step in range(20):
        micro_batches = steps[step % len(steps)]
        targets = sum(sum(label != -100 for d in documents for label in d["labels"]) for documents in micro_batches)
        optimizer.zero_grad()
        loss = 0.0
        for documents in micro_batches:
            total, _ = token_losses(model, documents)
            (total / targets).backward()
            loss += total.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss / targets)
        if step in (9, 19):
            averages.append(evaluated(model, optimizer, steps[0]))
    print(name, losses[0], "->", losses[-1], "averages", averages)
    return {"losses": losses, "averages": averages}


def main():
    torch.set_num_threads(1)
    after = by_the_paper()
    compare_packages(*after[-1][:2])
    kept = {str(t): dict(zip("xyzv", (values.tolist() for values in after[t - 1]))) for t in (1, 10, 50)}
    golden = {"steps": kept, "models": {name: train(name) for name in ("llama_tied", "gpt2")}}
    (HERE / "schedule_free.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
