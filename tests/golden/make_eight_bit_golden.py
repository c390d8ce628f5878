"""Makes eight_bit.json, the golden of tests/optim/test_eight_bit.cpp: AdamW with states of 8 bits in blocks.

    TORCHDYNAMO_DISABLE=1 python make_eight_bit_golden.py

The reference is bitsandbytes: the maps of create_dynamic_map(), and optimizer_update_8bit_blockwise_pytorch(), its
update in plain PyTorch, which takes the code nearest to each number. (Its operation for the CPU finds codes in a
table that is coarse near 0: 0 itself gets the code of 1.2e-5. Its kernels for CUDA give a negative first moment that
rounds to 0 the code below that of 0.) A matrix [37, 29], one whose rows are whole blocks, and a vector, none of a
whole number of blocks but the second, make 50 steps. Weights and gradients come from a formula that the test
repeats. The golden has codes and maxima after step 1, and the weights after step 50.
Made with torch 2.15.0, bitsandbytes 0.50.2.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from bitsandbytes.backends.triton import kernels_optim
from bitsandbytes.functional import create_dynamic_map

HERE = pathlib.Path(__file__).parent
SHAPES = {"odd": (37, 29), "rows": (3, 512), "vector": (300,)}
STEPS, LR, DECAY, BETAS, EPS, BLOCK = 50, 1e-2, 0.1, (0.9, 0.95), 1e-8, 256


def values(shape, phase, uneven):
    """What the test computes: sines, for gradients times powers of two."""
    index = np.arange(int(np.prod(shape)), dtype=np.float64)
    x = np.sin(0.7 * index + 1.3 * phase + 0.1)
    if uneven:
        x = x * np.exp2((index.astype(np.int64) * 5) % 9 - 4)
    return x.astype(np.float32)


def weights_of(name):
    return (0.1 * values(SHAPES[name], len(name), False).astype(np.float64)).astype(np.float32)


def digits(x):
    return [float(f"{value:.7g}") for value in x.tolist()]


def train(name):
    update = kernels_optim.optimizer_update_8bit_blockwise_pytorch
    maps = [create_dynamic_map(signed=True), create_dynamic_map(signed=False)]
    weight = torch.from_numpy(weights_of(name))
    codes = [torch.zeros(weight.numel(), dtype=torch.uint8) for _ in maps]
    absmax = [torch.zeros(-(-weight.numel() // BLOCK)) for _ in maps]
    for step in range(1, STEPS + 1):
        gradient = torch.from_numpy(values(SHAPES[name], step + 17 * len(name), True))
        rate = LR * (0.2 + 0.8 * step / STEPS)
        update(weight, gradient, codes[0], codes[1], *BETAS, 0.0, 0.0, EPS, step, rate, *maps, *absmax, DECAY, 1.0,
               False, optimizer_name="adam")
        if step == 1:
            first = {"codes": [bytes(each.tolist()).hex() for each in codes],
                     "absmax": [digits(each) for each in absmax]}
    return {**first, "last": digits(weight)}


def main():
    golden = {"steps": STEPS, "lr": LR, "weight_decay": DECAY, "betas": BETAS, "eps": EPS, "shapes": SHAPES,
              "maps": [create_dynamic_map(signed=signed).tolist() for signed in (True, False)],
              "tensors": {name: train(name) for name in SHAPES}}
    text = json.dumps(golden, separators=(",", ":")).replace('},"', '},\n"').replace('],"', '],\n"')
    (HERE / "eight_bit.json").write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
