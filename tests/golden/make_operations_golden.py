"""Makes operations.json, the golden of tests/kernels/golden.cpp, from PyTorch's own functions and its autograd.

    python make_operations_golden.py

A case has the engine's name of the operation, its options, and named tensors: the inputs, among them `d_out`, the
gradient from above, and the outputs with the gradients of the inputs. All is computed in float64, of inputs that are
float32 numbers. Made with torch 2.15.0.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).parent
TOKENS, WIDTH = 3, 10
ACTIVATIONS = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


def numbers(*shape, deviation=1.0, mean=0.0):
    return (torch.randn(*shape) * deviation + mean).float().double()


def case(operation, options, inputs, function):
    """The function takes the inputs in their order."""
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    out = function(*leaves.values())
    d_out = numbers(*out.shape)
    out.backward(d_out)
    tensors = {**inputs, "d_out": d_out, "out": out.detach(), **{"d_" + name: x.grad for name, x in leaves.items()}}
    return {"operation": operation, "options": options,
            "tensors": {name: {"shape": list(x.shape), "values": x.flatten().tolist()} for name, x in tensors.items()}}


# As in transformers' GemmaRMSNorm.
def rms_norm(x, weight, offset, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * (offset + weight)


def main():
    torch.manual_seed(15)
    cases = []
    x, weight, bias = numbers(TOKENS, WIDTH, deviation=2, mean=1), numbers(WIDTH), numbers(WIDTH)
    cases.append(case("layer_norm", {"eps": 1e-5}, {"x": x, "weight": weight, "bias": bias},
                      lambda x, w, b: F.layer_norm(x, (WIDTH,), w, b, 1e-5)))
    cases.append(case("layer_norm", {"eps": 0.1}, {"x": x, "weight": weight},
                      lambda x, w: F.layer_norm(x, (WIDTH,), w, None, 0.1)))
    cases.append(case("rms_norm", {"eps": 1e-3, "offset": 0.0}, {"x": x, "weight": weight},
                      lambda x, w: F.rms_norm(x, (WIDTH,), w, 1e-3)))
    cases.append(case("rms_norm", {"eps": 1e-3, "offset": 1.0}, {"x": x, "weight": weight},
                      lambda x, w: rms_norm(x, w, 1, 1e-3)))
    for name, function in ACTIVATIONS.items():
        x = numbers(TOKENS, WIDTH, deviation=3)
        x[0, :4] = torch.tensor([0.0, -6.5, 6.5, -1e-4]).float().double()
        cases.append(case("activate", {"activation": name}, {"x": x}, function))
        cases.append(case("gated", {"activation": name}, {"gate": x, "up": numbers(TOKENS, WIDTH)},
                          lambda gate, up, function=function: function(gate) * up))
    text = ",\n".join(json.dumps(each, separators=(",", ":")) for each in cases)
    (HERE / "operations.json").write_text("[" + text + "]\n")


main()
