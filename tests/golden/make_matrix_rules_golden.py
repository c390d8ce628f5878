"""Makes matrix_rules.json, the golden of tests/optim/test_matrix_rules.cpp: rules that see whole matrices.

    python make_matrix_rules_golden.py

The reference is written here in numpy, in double, from the papers' equations: Adafactor (arXiv 1804.04235), AdaLomo
(arXiv 2310.10195), Muon (Jordan et al., 2024; arXiv 2502.16982). Matrices [7, 5], [3, 14] and [4, 6], of which the last
stands for an embedding, and a vector [11] make 50 steps. Weights and gradients come from a formula that the test
repeats. The golden has the weights after steps 1 and 50, and the states after step 50.

The public implementations are run beside the reference and must agree with it: transformers' Adafactor,
lomo-optim's AdaLomo, torch.optim.Muon and AdamW, all in float32 (Muon's Newton-Schulz iterations, too, which are in
bfloat16 otherwise). They follow the papers; Adafactor's weight decay and its running mean of updates (the paper's
section 9 has neither) are as transformers has them.
Made with torch 2.15.0, transformers 5.24.0, lomo-optim 0.1.1.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
SHAPES = {"wide": (7, 5), "flat": (3, 14), "table": (4, 6), "vector": (11,)}
STEPS = 50


def values(shape, phase, uneven):
    """What the test computes: sines, for gradients times powers of two that differ between rows and columns."""
    count = int(np.prod(shape))
    index = np.arange(count, dtype=np.float64)
    x = np.sin(0.7 * index + 1.3 * phase + 0.1)
    if uneven:
        x = x * np.exp2((index.astype(np.int64) * 5) % 9 - 4)
    return x.astype(np.float32).astype(np.float64).reshape(shape)


def weight_of(name):
    return 0.1 * values(SHAPES[name], len(name), False)


def gradient_of(name, step):
    return values(SHAPES[name], step + 17 * len(name), True)


def rate_of(step, highest):
    return highest * (0.2 + 0.8 * step / STEPS)


def rms(x):
    return math.sqrt(np.mean(np.square(x)))


class Factored:
    """Adafactor, and AdaLomo, which is Adafactor without relative steps."""

    def __init__(self, shape, eps=(1e-30, 1e-3), clip_threshold=1.0, decay_rate=-0.8, beta1=0.0, weight_decay=0.0,
                 scale_parameter=True, relative_step=False):
        self.o = dict(eps=eps, clip_threshold=clip_threshold, decay_rate=decay_rate, beta1=beta1,
                      weight_decay=weight_decay, scale_parameter=scale_parameter, relative_step=relative_step)
        self.states = ({"exp_avg_sq": np.zeros(shape)} if len(shape) == 1 else
                       {"exp_avg_sq_row": np.zeros(shape[0]), "exp_avg_sq_col": np.zeros(shape[1])})
        if beta1:
            self.states["exp_avg"] = np.zeros(shape)

    def step(self, w, g, lr, t):
        o, s = self.o, self.states
        beta2 = 1 - t ** o["decay_rate"]
        square = g * g + o["eps"][0]
        if g.ndim == 1:
            s["exp_avg_sq"] = beta2 * s["exp_avg_sq"] + (1 - beta2) * square
            u = g / np.sqrt(s["exp_avg_sq"])
        else:
            r = s["exp_avg_sq_row"] = beta2 * s["exp_avg_sq_row"] + (1 - beta2) * square.mean(axis=1)
            c = s["exp_avg_sq_col"] = beta2 * s["exp_avg_sq_col"] + (1 - beta2) * square.mean(axis=0)
            u = g / np.sqrt(np.outer(r, c) / r.mean())
        u = u / max(1.0, rms(u) / o["clip_threshold"])
        rate = min(lr, 1 / math.sqrt(t)) if o["relative_step"] else lr
        rate *= max(o["eps"][1], rms(w)) if o["scale_parameter"] else 1
        u = rate * u
        if o["beta1"]:
            u = s["exp_avg"] = o["beta1"] * s["exp_avg"] + (1 - o["beta1"]) * u
        return w * (1 - rate * o["weight_decay"]) - u


def public_adafactor(options, highest):
    from transformers.optimization import Adafactor
    parameters = {name: torch.nn.Parameter(torch.tensor(weight_of(name), dtype=torch.float32)) for name in SHAPES}
    options = dict(options)
    options["beta1"] = options.get("beta1") or None
    relative = options.pop("relative_step", True)
    options.setdefault("scale_parameter", True)
    # relative_step of the engine is min(lr, 1 / sqrt(step)); the library's is that of lr = 1e-2, without a schedule.
    optimizer = Adafactor(parameters.values(), lr=highest, relative_step=False, warmup_init=False, **options)
    for step in range(1, STEPS + 1):
        rate = rate_of(step, highest)
        optimizer.param_groups[0]["lr"] = min(rate, 1 / math.sqrt(step)) if relative else rate
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(gradient_of(name, step), dtype=torch.float32)
        optimizer.step()
    return {name: parameter.detach().numpy().astype(np.float64) for name, parameter in parameters.items()}


def public_adalomo(options, highest):
    torch.Tensor.cuda = lambda self: self
    from lomo_optim import AdaLomo
    model = torch.nn.ParameterDict({name: torch.nn.Parameter(torch.tensor(weight_of(name), dtype=torch.float32))
                                    for name in SHAPES})
    optimizer = AdaLomo(model, loss_scale=None, **options)
    for step in range(1, STEPS + 1):
        loss = sum((model[name] * torch.tensor(gradient_of(name, step), dtype=torch.float32)).sum() for name in SHAPES)
        optimizer.fused_backward(loss, rate_of(step, highest))
    return {name: parameter.detach().numpy().astype(np.float64) for name, parameter in model.items()}


class AdamW:
    def __init__(self, shape, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1):
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.states = {"exp_avg": np.zeros(shape), "exp_avg_sq": np.zeros(shape)}

    def step(self, w, g, lr, t):
        s, (beta1, beta2) = self.states, self.betas
        s["exp_avg"] = beta1 * s["exp_avg"] + (1 - beta1) * g
        s["exp_avg_sq"] = beta2 * s["exp_avg_sq"] + (1 - beta2) * g * g
        denominator = np.sqrt(s["exp_avg_sq"] / (1 - beta2 ** t)) + self.eps
        return w * (1 - lr * self.weight_decay) - lr / (1 - beta1 ** t) * s["exp_avg"] / denominator


class Muon:
    def __init__(self, shape, momentum=0.95, nesterov=True, ns_steps=5, match_rms_adamw=True, weight_decay=0.1):
        self.o = dict(momentum=momentum, nesterov=nesterov, ns_steps=ns_steps, match=match_rms_adamw,
                      weight_decay=weight_decay)
        self.states = {"momentum_buffer": np.zeros(shape)}

    def step(self, w, g, lr, t):
        o, beta = self.o, self.o["momentum"]
        b = self.states["momentum_buffer"] = beta * self.states["momentum_buffer"] + (1 - beta) * g
        x = (1 - beta) * g + beta * b if o["nesterov"] else b
        x = x / max(np.linalg.norm(x), 1e-7)
        for _ in range(o["ns_steps"]):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        rows, columns = w.shape
        size = 0.2 * math.sqrt(max(rows, columns)) if o["match"] else math.sqrt(max(1, rows / columns))
        return w * (1 - lr * o["weight_decay"]) - lr * size * x


def muon_or_adamw(name, shape, betas=(0.9, 0.95), weight_decay=0.1, **options):
    if len(shape) == 2 and name != "table":
        return Muon(shape, weight_decay=weight_decay, **options)
    return AdamW(shape, betas=betas, weight_decay=weight_decay)


def public_muon(options, highest):
    torch.bfloat16 = torch.float32  # what Muon casts to
    options = dict(options)
    adjust = "match_rms_adamw" if options.pop("match_rms_adamw", True) else "original"
    betas, decay = options.pop("betas", (0.9, 0.95)), options.pop("weight_decay", 0.1)
    parameters = {name: torch.nn.Parameter(torch.tensor(weight_of(name), dtype=torch.float32)) for name in SHAPES}
    hidden = [name for name in SHAPES if len(SHAPES[name]) == 2 and name != "table"]
    optimizers = [
        torch.optim.Muon([parameters[name] for name in hidden], lr=highest, weight_decay=decay, adjust_lr_fn=adjust,
                         **options),
        torch.optim.AdamW([parameters[name] for name in SHAPES if name not in hidden], lr=highest, betas=betas,
                          weight_decay=decay)]
    for step in range(1, STEPS + 1):
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(gradient_of(name, step), dtype=torch.float32)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate_of(step, highest)
            optimizer.step()
    return {name: parameter.detach().numpy().astype(np.float64) for name, parameter in parameters.items()}


# (rule, options of the engine, the highest rate, options of the reference, the public implementation)
CASES = [
    ("adafactor", {}, 1e-2, {"relative_step": True}, public_adafactor),
    ("adafactor", {"beta1": 0.9, "weight_decay": 0.1, "relative_step": False}, 2e-2,
     {"beta1": 0.9, "weight_decay": 0.1}, public_adafactor),
    ("adafactor", {"scale_parameter": False, "relative_step": False, "clip_threshold": 0.5, "decay_rate": -0.5}, 1e-3,
     {"scale_parameter": False, "clip_threshold": 0.5, "decay_rate": -0.5}, public_adafactor),
    ("adalomo", {}, 1e-3, {}, public_adalomo),
    ("adalomo", {"weight_decay": 0.1, "clip_threshold": 0.7}, 2e-2, {"weight_decay": 0.1, "clip_threshold": 0.7},
     public_adalomo),
    ("muon", {}, 1e-2, {}, public_muon),
    ("muon", {"momentum": 0.8, "nesterov": False, "match_rms_adamw": False, "weight_decay": 0.0, "betas": [0.8, 0.9]},
     1e-2, {"momentum": 0.8, "nesterov": False, "match_rms_adamw": False, "weight_decay": 0.0, "betas": [0.8, 0.9]},
     public_muon),
]


def main():
    cases = []
    for rule, options, highest, own, public in CASES:
        theirs = public(options, highest)
        tensors = {}
        for name, shape in SHAPES.items():
            reference = muon_or_adamw(name, shape, **own) if rule == "muon" else Factored(shape, **own)
            weight = weight_of(name)
            for step in range(1, STEPS + 1):
                weight = reference.step(weight, gradient_of(name, step), rate_of(step, highest), step)
                if step == 1:
                    first = weight
            error = np.linalg.norm(weight - theirs[name]) / np.linalg.norm(weight)
            assert error < (1e-4 if rule == "muon" else 2e-6), (rule, options, name, error)
            print(rule, options, name, f"{error:.1e}")
            tensors[name] = {"first": first.ravel().tolist(), "last": weight.ravel().tolist(),
                             "states": {key: value.ravel().tolist() for key, value in reference.states.items()}}
        cases.append({"rule": rule, "options": options, "lr": highest, "tensors": tensors})
    golden = {"steps": STEPS, "shapes": SHAPES, "cases": cases}
    text = json.dumps(golden, separators=(",", ":")).replace('},{"rule"', '},\n{"rule"')
    (HERE / "matrix_rules.json").write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
