"""Makes rule_steps.json, the golden of 50 steps of update rules, from their papers' equations in double precision.

    python make_rule_golden.py

The tensors of SHAPES begin at random, and every step has a random gradient. Both are drawn as philox.py says, so the
file has neither: element i of them all has the first weight 2 u(i) - 1 of the key ("weight"), and in step t, from 0,
the gradient (2 u(t · ELEMENTS + i) - 1) / 2^(i mod 7) of the key ("gradient"), rounded to float32. A rule that
estimates the curvature gets such numbers of the key ("estimate") before each interval's first step, as the mean
gradient of TARGETS losses. A case has the engine's name of the rule, its options, and what the weights and states are
after the last step. Made with numpy 2.4.6.

The numbers are checked here against public implementations: pytorch-optimizer 4.1.0 and sophia-opt 0.2.2, the Sophia
of its authors. pytorch-optimizer has SophiaH alone, another estimator.
"""

import json
import math
import pathlib

import numpy as np
import torch
import pytorch_optimizer
from sophia_opt import SophiaG

from philox import random_key, uniform

HERE = pathlib.Path(__file__).parent
SHAPES = [[7, 11], [3], [1]]
ELEMENTS, STEPS, SEED, LR = sum(map(math.prod, SHAPES)), 50, 15, 0.01
TARGETS = 300


def draws(purpose, step=0):
    indices = np.arange(ELEMENTS, dtype=np.uint64) + np.uint64(step * ELEMENTS)
    return 2 * uniform(random_key(SEED, purpose), indices) - 1


def first_weights():
    return draws("weight").astype(np.float32).astype(np.float64)


def gradient(step, purpose="gradient"):
    return (draws(purpose, step) / 2.0 ** (np.arange(ELEMENTS) % 7)).astype(np.float32).astype(np.float64)


def adan(betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.0, no_prox=False):
    """Xie et al., arXiv 2208.06677, algorithm 1 with its betas b = 1 - `betas`; the authors' code divides the means by
    1 - (1 - b)^t, which the paper leaves to the implementation."""
    b1, b2, b3 = (1 - beta for beta in betas)
    w = first_weights()
    m, v, n, last = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w), gradient(0)
    for t in range(1, STEPS + 1):
        g = gradient(t - 1)
        m = (1 - b1) * m + b1 * g
        v = (1 - b2) * v + b2 * (g - last)
        n = (1 - b3) * n + b3 * (g + (1 - b2) * (g - last)) ** 2
        last = g
        corrected = [mean / (1 - (1 - b) ** t) for mean, b in ((m, b1), (v, b2), (n, b3))]
        eta = LR / (np.sqrt(corrected[2]) + eps)
        step = eta * (corrected[0] + (1 - b2) * corrected[1])
        w = (1 - LR * weight_decay) * w - step if no_prox else (w - step) / (1 + LR * weight_decay)
    return w, {"exp_avg": m, "exp_avg_sq": n, "exp_avg_diff": v, "neg_pre_grad": -last}


def sophia(betas=(0.965, 0.99), rho=0.04, weight_decay=0.1, hessian_interval=10, batch_size=0):
    """Liu et al., arXiv 2305.14342, algorithms 2 and 3, where the clip is at 1 and `rho` is their gamma."""
    w = first_weights()
    m, h = np.zeros_like(w), np.zeros_like(w)
    for t in range(1, STEPS + 1):
        if (t - 1) % hessian_interval == 0:
            h = betas[1] * h + (1 - betas[1]) * (batch_size or TARGETS) * gradient(t - 1, "estimate") ** 2
        m = betas[0] * m + (1 - betas[0]) * gradient(t - 1)
        w = w - LR * weight_decay * w
        w = w - LR * np.clip(m / np.maximum(rho * h, 1e-12), -1, 1)
    return w, {"exp_avg": m, "hessian": h}


class AuthorsSophia:
    """sophia-opt's SophiaG with the estimates, whose factor is the same in every step."""

    def __init__(self, parameters, interval, factor, **options):
        self.optimizer, self.parameters, self.step_number = SophiaG(parameters, lr=LR, **options), parameters, 0
        self.interval, self.factor = interval, factor

    def step(self):
        weight, of_step = self.parameters[0], self.parameters[0].grad
        if self.step_number % self.interval == 0:
            weight.grad = torch.from_numpy(gradient(self.step_number, "estimate"))
            self.optimizer.update_hessian()
        weight.grad = of_step
        self.optimizer.step(bs=self.factor)
        self.step_number += 1


def by_library(make):
    """The weights that an optimizer of PyTorch gives."""
    weight = torch.nn.Parameter(torch.from_numpy(first_weights()))
    optimizer = make([weight])
    for step in range(STEPS):
        weight.grad = torch.from_numpy(gradient(step))
        optimizer.step()
    return weight.detach().numpy()


# (rule, its equations, options, the library's optimizer)
CASES = [
    ("adan", adan, {"weight_decay": 0.1},
     lambda p: pytorch_optimizer.Adan(p, lr=LR, weight_decay=0.1, weight_decouple=False)),
    ("adan", adan, {"betas": [0.9, 0.85, 0.95], "eps": 1e-4, "weight_decay": 0.1, "no_prox": True},
     lambda p: pytorch_optimizer.Adan(p, lr=LR, betas=(0.9, 0.85, 0.95), eps=1e-4, weight_decay=0.1,
                                      weight_decouple=True)),
    ("sophia", sophia, {}, lambda p: AuthorsSophia(p, 10, TARGETS)),
    ("sophia", sophia, {"betas": [0.9, 0.8], "rho": 0.01, "weight_decay": 0.5, "hessian_interval": 7, "batch_size": 40},
     lambda p: AuthorsSophia(p, 7, 40, betas=(0.9, 0.8), rho=0.01, weight_decay=0.5)),
]


def numbers(array):
    return [float(f"{x:.9g}") for x in array]


def main():
    cases = []
    for rule, equations, options, library in CASES:
        weights, states = equations(**options)
        difference = np.linalg.norm(weights - by_library(library)) / np.linalg.norm(weights)
        print(rule, options, "from the library's by", difference)
        assert difference < 1e-12
        cases.append({"rule": rule, "options": options, "weights": numbers(weights),
                      "states": {name: numbers(state) for name, state in states.items()}})
    golden = {"shapes": SHAPES, "steps": STEPS, "seed": SEED, "lr": LR, "targets": TARGETS, "cases": cases}
    text = json.dumps(golden, separators=(",", ":")).replace("},{", "},\n{")
    (HERE / "rule_steps.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
