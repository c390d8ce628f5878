"""Makes optimizers.json, the goldens of tests/optim/test_optimizer_golden.cpp, from torch.optim, lion-pytorch,
pytorch-optimizer and schedulefree.

    python make_optimizer_golden.py

A case has the engine's name of the rule, its options, and after each of the steps the weights that the library's own
optimizer gives, in float64; behind the last step the states, too. All cases share the first weights, the gradients
and the learning rates of the steps. The first element's gradient is zero in each step, the second's in the first
three; the third weight is zero. Made with torch 2.15.0, lion-pytorch 0.2.5,
pytorch-optimizer 4.1.0, schedulefree 1.4.1, lomo-optim 0.1.1.

lomo-optim updates inside backward, and in float32. LOMO is written here in double, and must agree with it.

pytorch-optimizer's Adan is the authors' (sail-sg/Adan) but for the names of its options and of a state. adan-pytorch
0.1.0 does not follow the paper: it leaves all means at zero in the first step and yet corrects their bias as if they
were not.
"""

import json
import pathlib
import sys

import torch
from lion_pytorch import Lion
import lomo_optim
from pytorch_optimizer import Adan
from schedulefree import AdamWScheduleFree

NAMES = {"previous_grad": "neg_pre_grad"}  # as the authors of the optimizer call the state
HERE = pathlib.Path(__file__).parent
ELEMENTS, STEPS = 11, 6


class Lomo:
    """A step of LOMO (arXiv 2306.09782) in double, with a public one beside it."""

    def __init__(self, parameters, weight_decay=0.0):
        (self.weight,) = parameters
        self.weight_decay = weight_decay
        self.param_groups, self.state = [{"lr": 0.0}], {self.weight: {}}
        self.public = torch.nn.ParameterDict({"w": torch.nn.Parameter(self.weight.detach().float().clone())})
        self.optimizer = lomo_optim.Lomo(self.public, lr=0.0, weight_decay=weight_decay)

    def step(self):
        lr, gradient = self.param_groups[0]["lr"], self.weight.grad
        with torch.no_grad():
            self.weight.mul_(1 - lr * self.weight_decay).sub_(lr * gradient)
        self.optimizer.fused_backward((self.public["w"] * gradient.float()).sum(), lr)
        torch.testing.assert_close(self.public["w"].detach().double(), self.weight.detach(), rtol=1e-5, atol=1e-6)


# (the engine's rule, the engine's options, the library's optimizer with its own names)
CASES = [
    ("adamw", {"betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1},
     lambda p: torch.optim.AdamW(p, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)),
    ("adam", {}, lambda p: torch.optim.Adam(p)),
    ("adam", {"betas": [0.8, 0.97], "eps": 1e-3, "weight_decay": 0.1},
     lambda p: torch.optim.Adam(p, betas=(0.8, 0.97), eps=1e-3, weight_decay=0.1)),
    ("adan", {}, lambda p: Adan(p)),
    ("adan", {"betas": [0.9, 0.8, 0.95], "eps": 1e-3, "weight_decay": 0.5},
     lambda p: Adan(p, betas=(0.9, 0.8, 0.95), eps=1e-3, weight_decay=0.5, weight_decouple=False)),
    ("adan", {"weight_decay": 0.5, "no_prox": True}, lambda p: Adan(p, weight_decay=0.5, weight_decouple=True)),
    ("sgd", {}, lambda p: torch.optim.SGD(p)),
    ("sgd", {"weight_decay": 0.1}, lambda p: torch.optim.SGD(p, weight_decay=0.1)),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.1}, lambda p: torch.optim.SGD(p, momentum=0.9, weight_decay=0.1)),
    ("sgd", {"momentum": 0.8, "dampening": 0.4}, lambda p: torch.optim.SGD(p, momentum=0.8, dampening=0.4)),
    ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
     lambda p: torch.optim.SGD(p, momentum=0.9, nesterov=True, weight_decay=0.05)),
    ("lion", {}, lambda p: Lion(p)),
    ("lion", {"betas": [0.95, 0.98], "weight_decay": 0.5}, lambda p: Lion(p, betas=(0.95, 0.98), weight_decay=0.5)),
    ("lomo", {}, lambda p: Lomo(p)),
    ("lomo", {"weight_decay": 0.5}, lambda p: Lomo(p, weight_decay=0.5)),
    ("adamw_schedule_free", {}, lambda p: AdamWScheduleFree(p)),
    ("adamw_schedule_free", {"betas": [0.85, 0.97], "eps": 1e-3, "weight_decay": 0.1, "r": 0.5, "weight_lr_power": 1},
     lambda p: AdamWScheduleFree(p, betas=(0.85, 0.97), eps=1e-3, weight_decay=0.1, r=0.5, weight_lr_power=1)),
]


def main():
    torch.manual_seed(14)
    first = torch.randn(ELEMENTS).double()
    first[2] = 0
    gradients = torch.randn(STEPS, ELEMENTS).double()
    gradients[:, 0] = 0
    gradients[:3, 1] = 0
    rates = [0.01 * (step + 1) for step in range(STEPS)]
    cases = []
    for rule, options, make in CASES:
        weight = torch.nn.Parameter(first.clone())
        optimizer = make([weight])
        if hasattr(optimizer, "train"):
            optimizer.train()
        weights = []
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = rates[step]
            weight.grad = gradients[step].clone()
            optimizer.step()
            weights.append(weight.tolist())
        states = {NAMES.get(name, name): value.tolist() for name, value in optimizer.state[weight].items()
                  if isinstance(value, torch.Tensor) and value.shape == weight.shape}
        cases.append({"rule": rule, "options": options, "weights": weights, "states": states})
    golden = {"rates": rates, "first": first.tolist(), "gradients": gradients.tolist(), "cases": cases}
    (HERE / "optimizers.json").write_text(json.dumps(golden, indent=None, separators=(",", ":")).replace("},{", "},\n{") + "\n")


if __name__ == "__main__":
    sys.exit(main())
