"""Makes learning_rates.json, the golden of tests/optim/test_learning_rate.cpp, from PyTorch's and transformers' schedulers.

    python make_learning_rate_golden.py

A case has the engine's name of the schedule, its options, the number of steps of the run, and the factor of the rate at
each step (from 1), as the library's own scheduler gives it for a rate of 1. "ahead" says by how many calls of the
scheduler's step() the engine is ahead of it: transformers' schedules start at 0 and would reach their end one step behind
the last one, so the engine's step t has the rate after t calls of step(), and not after t - 1.
transformers' linear and restarting schedules have no minimum, and its warm-up to a stable rate begins at the minimum. The
engine's minimum is that of what follows the warm-up, so the factors behind it are least + (1 - least) times the library's.
Made with torch 2.15.0, transformers 5.24.0.
"""

import json
import math
import pathlib
import warnings

import torch
import transformers
from torch.optim import lr_scheduler as pytorch

HERE = pathlib.Path(__file__).parent
warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
warnings.filterwarnings("ignore", message=".*epoch parameter.*")

constant = transformers.get_constant_schedule_with_warmup
linear = transformers.get_linear_schedule_with_warmup
cosine = transformers.get_cosine_schedule_with_warmup
restarts = transformers.get_cosine_with_hard_restarts_schedule_with_warmup
polynomial = transformers.get_polynomial_decay_schedule_with_warmup
inverse_sqrt = transformers.get_inverse_sqrt_schedule
stable_decay = transformers.get_wsd_schedule


def one_cycle(steps, **options):
    return lambda o: pytorch.OneCycleLR(o, max_lr=1.0, total_steps=steps, cycle_momentum=False, **options)


def steps_after_warmup(warmup, step_size, gamma):
    def make(optimizer):
        falling = pytorch.StepLR(optimizer, step_size, gamma)
        if warmup == 0:
            return falling
        rising = pytorch.LinearLR(optimizer, 1 / warmup, 1.0, warmup - 1)
        return pytorch.SequentialLR(optimizer, [rising, falling], [warmup])
    return make


def case(name, options, steps, make, ahead=1, least=0.0, warmup=0):
    return {"name": name, "options": options, "steps": steps, "make": make, "ahead": ahead, "least": least,
            "warmup": warmup}


def cases():
    yield case("constant", {"warmup_steps": 4}, 9, lambda o: constant(o, 4))
    yield case("linear", {"warmup_steps": 4, "min_lr_ratio": 0.0}, 20, lambda o: linear(o, 4, 20))
    yield case("linear", {"warmup_ratio": 0.15, "min_lr_ratio": 0.1}, 30, lambda o: linear(o, math.ceil(30 * 0.15), 30),
               least=0.1, warmup=math.ceil(30 * 0.15))
    yield case("cosine", {"warmup_steps": 0, "min_lr_ratio": 0.0}, 20, lambda o: cosine(o, 0, 20))
    yield case("cosine", {"warmup_ratio": 0.07, "min_lr_ratio": 0.25}, 100,
               lambda o: transformers.get_cosine_with_min_lr_schedule_with_warmup(
                   o, math.ceil(100 * 0.07), 100, min_lr_rate=0.25))
    # The numbers of steps are such that a restart is at a step, and between two.
    for cycles, warmup, steps in [(1, 3, 20), (2, 4, 24), (3, 5, 32), (4, 0, 41)]:
        yield case("cosine_with_restarts", {"warmup_steps": warmup, "num_cycles": cycles, "min_lr_ratio": 0.0}, steps,
                   lambda o, c=cycles, w=warmup, s=steps: restarts(o, w, s, c))
    yield case("cosine_with_restarts", {"warmup_steps": 4, "num_cycles": 2, "min_lr_ratio": 0.2}, 24,
               lambda o: restarts(o, 4, 24, 2), least=0.2, warmup=4)
    for power, lowest in [(1.0, 0.1), (2.0, 0.0), (0.5, 0.3)]:
        yield case("polynomial", {"warmup_steps": 3, "power": power, "min_lr_ratio": lowest}, 17,
                   lambda o, p=power, r=lowest: polynomial(o, 3, 17, lr_end=r, power=p))
    yield case("inverse_sqrt", {"warmup_steps": 5}, 40, lambda o: inverse_sqrt(o, 5))
    yield case("inverse_sqrt", {"warmup_steps": 0}, 40, lambda o: inverse_sqrt(o, 0))
    yield case("inverse_sqrt", {"warmup_steps": 3, "timescale": 50}, 40, lambda o: inverse_sqrt(o, 3, timescale=50))
    yield case("one_cycle", {}, 50, one_cycle(50), ahead=0)
    yield case("one_cycle", {"pct_start": 0.45, "anneal_strategy": "linear", "div_factor": 10.0, "final_div_factor": 50.0},
               33, one_cycle(33, pct_start=0.45, anneal_strategy="linear", div_factor=10.0, final_div_factor=50.0), ahead=0)
    yield case("one_cycle", {"pct_start": 0.2, "three_phase": True}, 41,
               one_cycle(41, pct_start=0.2, three_phase=True), ahead=0)
    yield case("one_cycle", {"pct_start": 0.3}, 2, one_cycle(2), ahead=0)
    for kind in ["linear", "cosine", "1-sqrt"]:
        yield case("warmup_stable_decay", {"warmup_steps": 4, "decay_steps": 8, "decay_type": kind, "min_lr_ratio": 0.1}, 30,
                   lambda o, k=kind: stable_decay(o, 4, 8, num_training_steps=30, decay_type=k), least=0.1, warmup=4)
    yield case("warmup_stable_decay", {"warmup_ratio": 0.1, "decay_ratio": 0.15, "min_lr_ratio": 0.0}, 30,
               lambda o: stable_decay(o, 3, 5, num_training_steps=30))
    yield case("step", {"warmup_steps": 0, "step_size": 7}, 30, steps_after_warmup(0, 7, 0.1), ahead=0)
    yield case("step", {"warmup_steps": 4, "step_size": 5, "gamma": 0.5}, 30, steps_after_warmup(4, 5, 0.5), ahead=0)


def rates(make, steps, ahead):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    for _ in range(ahead):
        scheduler.step()
    for step in range(steps):
        yield optimizer.param_groups[0]["lr"]
        if step + 1 < steps:  # OneCycleLR refuses more
            scheduler.step()


def main():
    written = []
    for each in cases():
        make, ahead, least, warmup = each.pop("make"), each["ahead"], each.pop("least"), each.pop("warmup")
        each["factors"] = [rate if step < warmup else least + (1 - least) * rate
                           for step, rate in enumerate(rates(make, each["steps"], ahead))]
        written.append(json.dumps(each, separators=(",", ":")))
    (HERE / "learning_rates.json").write_text("[" + ",\n".join(written) + "]\n")


if __name__ == "__main__":
    main()
