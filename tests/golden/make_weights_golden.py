"""Makes the folders of tests/io/test_weight_folder.cpp from PyTorch and transformers.

    python make_weights_golden.py

Writes beside itself:
    weights/tensors.bin             torch.save of a state_dict() with dense, transposed, cut, shared, expanded, empty and
                                    scalar tensors in every dtype that is read, some others, and a Parameter
    weights/tensors_protocol4.bin   a part of it, pickled by protocol 4
    weights/tensors.json            for each tensor its dtype, shape and float32 values, row by row
    weights/legacy.bin, script.bin  what must be refused: the format before PyTorch 1.6, a TorchScript archive
    weights/index.json              how transformers divides llama_tied for some max_shard_size: weight_map and metadata
    weights/halves.json             float32 numbers and the bits of PyTorch's float16 for them

Made with torch 2.15.0, transformers 5.24.0.
"""

import collections
import json
import pathlib
import tempfile

import torch
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
OUT = HERE / "weights"


def tensors():
    generator = torch.Generator().manual_seed(7)
    base = torch.randn(6, 5, generator=generator)
    long = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    return collections.OrderedDict(
        dense=base,
        transposed=base.t(),                        # shares the storage of dense
        columns=base[:, 1:4],                       # rows with gaps
        rows=base[2:5],                             # dense, from the middle of a storage
        every_other=torch.arange(20.0)[1::3],
        permuted=long.permute(2, 0, 1),
        expanded=torch.tensor([[1.5], [-2.5]]).expand(2, 3),
        scalar=torch.tensor(7.25),
        empty=torch.zeros(0, 4),
        one_column=base[:, 2:3],                    # axes of one element
        half=torch.randn(3, 4, generator=generator).half(),
        brain=torch.randn(3, 4, generator=generator).bfloat16().t(),
        double=torch.tensor([0.1, -1e300, 1e-310], dtype=torch.float64),
        parameter=torch.nn.Parameter(torch.tensor([1.0, 2.0])),
        counts=torch.tensor([1, 2, 3]),
        flags=torch.tensor([True, False]))


def halves():
    generator = torch.Generator().manual_seed(11)
    bits = torch.randint(-2**31, 2**31, (3000,), generator=generator, dtype=torch.int64).to(torch.int32)
    near = torch.randn(1000, generator=generator) * 10.0 ** torch.randint(-8, 5, (1000,), generator=generator)
    edges = torch.tensor([0.0, -0.0, 65504, 65519.996, 65520, -65520, 2.0**-24, 2.0**-25, 2.0**-25 * 1.0001, 2.0**-26,
                          1 + 2.0**-11, 1 + 3 * 2.0**-11, 2.0**-14 - 2.0**-25, float("inf"), float("-inf")])
    values = torch.cat([bits.view(torch.float32), near, edges])
    values = values[~values.isnan()]
    found = values.half().view(torch.int16).to(torch.int32) & 0xFFFF
    return [[a & 0xFFFFFFFF, b] for a, b in zip(values.view(torch.int32).tolist(), found.tolist())]


def real(tensor):
    return tensor.dtype.is_floating_point


def main():
    OUT.mkdir(exist_ok=True)
    all_tensors = tensors()
    all_tensors._metadata = collections.OrderedDict({"": {"version": 1}, "layer": {"version": 2}})
    torch.save(all_tensors, OUT / "tensors.bin")
    part = {name: all_tensors[name] for name in ("dense", "transposed", "half")}
    torch.save(part, OUT / "tensors_protocol4.bin", pickle_protocol=4)
    torch.save(part, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), OUT / "script.bin")
    described = {name: {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape),
                        "values": tensor.detach().float().flatten().contiguous().view(torch.int32).tolist() if real(tensor) else None}
                 for name, tensor in all_tensors.items()}  # the bits of float32
    (OUT / "tensors.json").write_text(json.dumps(described) + "\n")
    model = AutoModelForCausalLM.from_pretrained(HERE / "llama_tied")
    indices = {}
    for size in ("20KB", "13000", "0.0001MB"):
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder, max_shard_size=int(size) if size.isdigit() else size)
            indices[size] = (pathlib.Path(folder) / "model.safetensors.index.json").read_text()
    (OUT / "index.json").write_text(json.dumps(indices, indent=1) + "\n")
    (OUT / "halves.json").write_text(json.dumps(halves(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
