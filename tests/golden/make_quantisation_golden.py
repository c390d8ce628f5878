"""Makes quantisation.json, the golden of tests/kernels/quantise.cpp: codes, scales and values of matrices that
bitsandbytes quantises on the CPU.

    TORCHDYNAMO_DISABLE=1 python make_quantisation_golden.py

Matrices come from a formula that the test repeats: sines times powers of two, of which some have zero rows, or equal
blocks; and `critical`: blocks of the numbers half-way between two codes, and of their neighbours, and 1. Codes, scales
and values are there as their SHA-256, and as numbers where there are few. (+ 0, because bitsandbytes' functions do not agree
on the sign of fp4's second zero.) Made with torch 2.15.0, bitsandbytes 0.50.2.
"""

import hashlib
import json
import pathlib

import numpy as np
import torch
from bitsandbytes import functional

HERE = pathlib.Path(__file__).parent
# name: rows, columns, block size
SHAPES = {"one": (1, 1, 64), "row": (1, 7, 32), "odd": (37, 53, 64), "blocks": (6, 128, 128), "large": (301, 611, 64),
          "zeros": (9, 40, 32), "equal": (8, 64, 64), "critical": (3, 64, 64)}
FEW = 400


def critical(kind):
    """Around each number that is half-way between two codes; 1 begins each block."""
    code = sorted(set(functional.get_4bit_type(kind, device="cpu").tolist()))
    numbers = []
    for low, high in zip(code, code[1:]):
        middle = (np.float32(low) + np.float32(high)) / np.float32(2)
        numbers += [np.nextafter(middle, np.float32(-2)), middle, np.nextafter(middle, np.float32(2))]
    values = np.zeros(192, np.float32)
    at = 0
    for number in numbers:
        if at % 64 == 0:
            values[at] = 1
            at += 1
        values[at] = number
        at += 1
    for block in range(0, 192, 64):
        values[block] = 1
    return values


def values_of(name, kind):
    rows, columns, _ = SHAPES[name]
    if name == "critical":
        return critical("nf4" if kind == "int8" else kind).reshape(rows, columns)
    index = np.arange(rows * columns, dtype=np.float64)
    x = np.sin(0.7 * index + 1.3 * len(name) + 0.1) * np.exp2((index.astype(np.int64) // 5 * 5) % 9 - 4)
    if name == "equal":
        x = x[:columns][np.arange(rows * columns) % columns]
    x = x.astype(np.float32).reshape(rows, columns)
    if name == "zeros":
        x[3:6] = 0
    return x


def described(array):
    data = np.ascontiguousarray(array)
    result = {"sha256": hashlib.sha256(data.tobytes()).hexdigest()}
    if data.size <= FEW:
        result["numbers"] = data.reshape(-1).tolist()
    return result


def of_blocks(name, kind, nested):
    block = SHAPES[name][2]
    codes, state = functional.quantize_4bit(torch.from_numpy(values_of(name, kind)), blocksize=block, quant_type=kind,
                                            compress_statistics=nested)
    result = {"codes": described(codes.numpy()), "scales": described(state.absmax.numpy()),
              "values": described(functional.dequantize_4bit(codes, state).numpy() + 0)}
    if nested:
        result["nested"] = described(state.state2.absmax.numpy())
        result["offset"] = state.offset.item()
    return result


def of_rows(name):
    # A weight is rounded to float16 before, which these numbers are not: the function itself is compared.
    codes, scales, _ = torch.ops.bitsandbytes.int8_vectorwise_quant(torch.from_numpy(values_of(name, "int8")))
    return {"codes": described(codes.numpy()), "scales": described(scales.numpy()),
            "values": described(functional.int8_vectorwise_dequant(codes, scales).numpy())}


if __name__ == "__main__":
    torch.set_num_threads(1)  # the sum behind the offset depends on it
    cases = []
    for name, (rows, columns, block) in SHAPES.items():
        for kind in ("nf4", "fp4"):
            for nested in (False, True):
                cases.append({"name": name, "kind": kind, "rows": rows, "columns": columns, "block_size": block,
                              "double_quant": nested, **of_blocks(name, kind, nested)})
        cases.append({"name": name, "kind": "int8", "rows": rows, "columns": columns, "block_size": block,
                      "double_quant": False, **of_rows(name)})
    text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "quantisation.json").write_text("[" + text + "]\n")
