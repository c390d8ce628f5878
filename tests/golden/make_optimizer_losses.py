"""Makes optimizer_losses.json: losses of 20 steps of the small checkpoints beside it, with optimizers other than AdamW.

    TORCHDYNAMO_DISABLE=1 python make_optimizer_losses.py

The steps' micro-batches are those of NAME/golden.json (make_model_golden.py), the gradient is clipped to norm 1, and
the rate is 1e-3. Sophia is its authors' (sophia-opt); its labels are sampled by the engine's random numbers
(philox.py), where a step's tokens are numbered from 1000 · step on. adamw_8bit is bitsandbytes' update in plain
PyTorch (make_eight_bit_golden.py) of tensors from 256 elements on, GPT-2's matrices transposed as the engine stores
them, and PyTorch's AdamW of the others. Made with torch 2.15.0, transformers 5.24.0, pytorch-optimizer 4.1.0,
sophia-opt 0.2.2, bitsandbytes 0.50.2, in float32.
"""

import json
import pathlib

import torch
from bitsandbytes.backends.triton.kernels_optim import optimizer_update_8bit_blockwise_pytorch
from bitsandbytes.functional import create_dynamic_map
from pytorch_optimizer import Adan
from sophia_opt import SophiaG
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from make_model_golden import token_losses
from philox import gumbel_labels, random_key

HERE = pathlib.Path(__file__).parent
NAMES = ["llama_tied", "llama_untied", "gpt2"]
STEPS, MAX_NORM, LR, SEED = 20, 1.0, 1e-3, 42


def load(name):
    model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32, attn_implementation="eager").eval()
    return model, json.loads((HERE / name / "golden.json").read_text())["steps"]


def targets_of(micro_batches):
    return sum(label != -100 for documents in micro_batches for d in documents for label in d["labels"])


def backward(model, micro_batches):
    """The gradient of the mean loss over the step's targets. Returns that loss."""
    model.zero_grad()
    loss = 0.0
    for documents in micro_batches:
        total, _ = token_losses(model, documents)
        (total / targets_of(micro_batches)).backward()
        loss += total.item()
    return loss / targets_of(micro_batches)


def adan(name):
    model, steps = load(name)
    optimizer = Adan(model.parameters(), lr=LR, weight_decay=0.1, weight_decouple=False)
    losses = []
    for step in range(STEPS):
        losses.append(backward(model, steps[step % len(steps)]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
    return losses


def backward_of_sampled(model, micro_batches, step):
    """The gradient of the mean loss over labels that the model has sampled."""
    model.zero_grad()
    number = 1000 * step
    for document in (d for documents in micro_batches for d in documents):
        logits = model(input_ids=torch.tensor([document["tokens"]]), use_cache=False).logits[0]
        sampled = gumbel_labels(logits.detach().double().numpy(), range(number, number + len(logits)),
                                random_key(SEED, f"sampled labels/{step}"))
        number += len(logits)
        is_target = torch.tensor(document["labels"]) != -100
        labels = torch.where(is_target, torch.from_numpy(sampled), -100)
        total = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        (total / targets_of(micro_batches)).backward()


SOPHIA = {"betas": [0.9, 0.8], "rho": 2.0, "weight_decay": 0.1, "hessian_interval": 3}


def sophia(name, batch_size=0):
    model, steps = load(name)
    optimizer = SophiaG(model.parameters(), lr=LR, betas=SOPHIA["betas"], rho=SOPHIA["rho"], weight_decay=0.1)
    losses = []
    for step in range(1, STEPS + 1):
        micro_batches = steps[(step - 1) % len(steps)]
        if (step - 1) % SOPHIA["hessian_interval"] == 0:
            backward_of_sampled(model, micro_batches, step)
            for parameter in model.parameters():  # the paper's factor is in the estimate, and so not in step()
                parameter.grad *= (batch_size or targets_of(micro_batches)) ** 0.5
            optimizer.update_hessian()
        losses.append(backward(model, micro_batches))
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step(bs=1)
    states = [optimizer.state[p] for p in model.parameters()]
    clipped = sum((s["exp_avg"].abs() > SOPHIA["rho"] * s["hessian"]).sum().item() for s in states)
    print("of all elements clipped:", clipped / sum(p.numel() for p in model.parameters()))
    return losses


EIGHT_BIT = {"betas": [0.9, 0.95], "weight_decay": 0.1}


class EightBit:
    """The states of one tensor, in blocks of 256 elements of it, or of its transpose."""

    def __init__(self, parameter, transposed):
        self.parameter, self.transposed, self.step_count = parameter, transposed, 0
        self.maps = [create_dynamic_map(signed=signed) for signed in (True, False)]
        self.codes = [torch.zeros(parameter.numel(), dtype=torch.uint8) for _ in self.maps]
        self.absmax = [torch.zeros(-(-parameter.numel() // 256)) for _ in self.maps]

    def stored(self, x):
        return (x.t() if self.transposed else x).contiguous().flatten()

    @torch.no_grad()
    def step(self):
        self.step_count += 1
        weight, p = self.stored(self.parameter), self.parameter
        optimizer_update_8bit_blockwise_pytorch(
            weight, self.stored(p.grad), *self.codes, *EIGHT_BIT["betas"], 0.0, 0.0, 1e-8, self.step_count, LR,
            *self.maps, *self.absmax, EIGHT_BIT["weight_decay"], 1.0, False, optimizer_name="adam")
        p.copy_(weight.view(p.shape[::-1]).t() if self.transposed else weight.view(p.shape))


def adamw_8bit(name):
    model, steps = load(name)
    transposed = {id(m.weight) for m in model.modules() if isinstance(m, Conv1D)}
    large = [EightBit(p, id(p) in transposed) for p in model.parameters() if p.numel() >= 256]
    small = torch.optim.AdamW([p for p in model.parameters() if p.numel() < 256], lr=LR, **EIGHT_BIT)
    losses = []
    for step in range(STEPS):
        losses.append(backward(model, steps[step % len(steps)]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        for optimizer in [*large, small]:
            optimizer.step()
    return losses


RULES = [("adamw_8bit", EIGHT_BIT, adamw_8bit), ("adan", {"weight_decay": 0.1}, adan), ("sophia", SOPHIA, sophia),
         ("sophia", {**SOPHIA, "batch_size": 50}, lambda name: sophia(name, 50))]


def main():
    torch.set_num_threads(1)
    cases = [{"rule": rule, "options": options, "checkpoint": name, "losses": losses_of(name)}
             for rule, options, losses_of in RULES for name in NAMES]
    for case in cases:
        print(case["rule"], case["checkpoint"], case["losses"][0], "->", case["losses"][-1])
    golden = {"lr": LR, "max_norm": MAX_NORM, "seed": SEED, "cases": cases}
    (HERE / "optimizer_losses.json").write_text(json.dumps(golden, separators=(",", ":")).replace("},{", "},\n{") + "\n")


if __name__ == "__main__":
    main()
