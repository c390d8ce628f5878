"""Makes moving_average.json, the golden of tests/optim/test_moving_average.cpp.

    python make_moving_average_golden.py

20 steps of torch.optim.AdamW on one tensor in float64, and after each step PyTorch's exponential moving average of the
weights (torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn). The gradients are given by a formula that the
test has, too. Made with torch 2.15.0.
"""

import json
import pathlib

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

HERE = pathlib.Path(__file__).parent
NUMEL, STEPS, KEPT = 7 * 13, 20, (1, 2, 10, 20)
LR, BETAS, EPS, DECAY, OF_AVERAGE = 1e-2, (0.9, 0.95), 1e-8, 0.1, 0.9


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        i = torch.arange(NUMEL, dtype=torch.float64)
        self.weight = torch.nn.Parameter(torch.sin(1.7 * i + 0.3))


def gradient(t):
    i = torch.arange(NUMEL, dtype=torch.float64)
    return torch.cos(0.37 * i + 0.9 * t) * (1 + 0.05 * i) + 0.5 * torch.sin(2.3 * i)


def main():
    model = Model()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(OF_AVERAGE))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)
    steps = {}
    for t in range(1, STEPS + 1):
        model.weight.grad = gradient(t)
        optimizer.step()
        average.update_parameters(model)
        if t in KEPT:
            steps[str(t)] = {"weight": model.weight.tolist(), "average": average.module.weight.tolist()}
    (HERE / "moving_average.json").write_text(json.dumps({"decay": OF_AVERAGE, "steps": steps}, indent=None) + "\n")


main()
