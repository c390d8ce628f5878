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


# Philox4x32-10 (Salmon et al., SC 2011), for the engine's addresses of masks.
def philox(counter, key):
    low, high = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        first, second = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [second >> 32 ^ counter[1] ^ low, second & 0xFFFFFFFF,
                   first >> 32 ^ counter[3] ^ high, first & 0xFFFFFFFF]
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return counter


# Causal attention of one document, q [queries, heads, dim], k and v [keys, kv_heads, dim], with what transformers'
# eager_attention_forward of Gemma 2 does to scores, and dropout of the weights after softmax, by a mask that is given.
def attention(q, k, v, options):
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = torch.einsum("qhd,khd->hqk", q, k) * options["scale"]
    cap = options["soft_cap"]
    if cap > 0:
        scores = torch.tanh(scores / cap) * cap
    queries, keys = q.shape[0], k.shape[0]
    hidden = torch.ones(queries, keys).triu(keys - queries + 1).bool()
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    rate, limit = options["dropout"], options["dropout"] * 2**32

    def kept(head, query, key):
        row, number = options["first_row"] + query, options["first_key"] + key
        return philox([row, 0, number // 4, 1 + head], options["key"])[number % 4] >= limit

    mask = torch.tensor([[[kept(h, i, j) for j in range(keys)] for i in range(queries)] for h in range(q.shape[1])])
    return torch.einsum("hqk,khd->qhd", weights * mask / (1 - rate), v)


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
    for cap, rate in ((0, 0), (1.5, 0), (0, 0.3), (1.5, 0.3)):
        options = {"scale": 0.5, "soft_cap": cap, "dropout": rate, "key": 0x1234567890, "first_row": 21,
                   "first_key": 6}
        inputs = {"q": numbers(5, 4, 3, deviation=2), "k": numbers(7, 2, 3, deviation=2), "v": numbers(7, 2, 3)}
        cases.append(case("attention", options, inputs,
                          lambda q, k, v, options=options: attention(q, k, v, options)))
    text = ",\n".join(json.dumps(each, separators=(",", ":")) for each in cases)
    (HERE / "operations.json").write_text("[" + text + "]\n")


main()
