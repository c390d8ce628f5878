"""Makes optimizer_losses.json: losses of 20 steps of the small checkpoints beside it, with optimizers other than AdamW.

    TORCHDYNAMO_DISABLE=1 python make_optimizer_losses.py

The steps' micro-batches are those of NAME/golden.json (make_model_golden.py), the gradient is clipped to norm 1, and
the rate is 1e-3 unless a case has its own. Sophia is its authors' (sophia-opt); its labels are sampled by the engine's
random numbers (philox.py), where a step's tokens are numbered from 1000 · step on. adamw_8bit is bitsandbytes' update
in plain PyTorch (make_eight_bit_golden.py) of tensors from 256 elements on, GPT-2's matrices transposed as the engine
stores them, and PyTorch's AdamW of the others. LOMO and AdaLomo are their authors' (lomo-optim), whose two backward
passes are over all micro-batches of a step at a time, Adafactor is transformers', and Muon is PyTorch's, of
two-dimensional weights but embeddings and heads, beside PyTorch's AdamW. Its Newton-Schulz iterations are in float32.

main() prints the losses of other public implementations, too. Those of pytorch-optimizer (LOMO, AdaLOMO, AdaFactor,
Muon) agree, but its LOMO has no weight decay. torch.optim.Adafactor has another place for eps: the paper (arXiv
1804.04235, algorithm 4) adds it to each squared gradient, as transformers does, and PyTorch bounds the moments by its
square.
Made with torch 2.15.0, transformers 5.24.0, pytorch-optimizer 4.1.0, lomo-optim 0.1.1, sophia-opt 0.2.2, bitsandbytes
0.50.2, in float32.
"""

import json
import pathlib

import torch
from bitsandbytes.backends.triton.kernels_optim import optimizer_update_8bit_blockwise_pytorch
from bitsandbytes.functional import create_dynamic_map
from lomo_optim import AdaLomo, Lomo
from pytorch_optimizer import LOMO, AdaFactor, AdaLOMO, Adan
from pytorch_optimizer import Muon as OtherMuon
from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5
from sophia_opt import SophiaG
from transformers import AutoModelForCausalLM
from transformers.optimization import Adafactor
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


def losses_with(name, optimizers_of):
    """The losses of a model that optimizers_of(model) update, one after another."""
    model, steps = load(name)
    optimizers = optimizers_of(model)
    losses = []
    for step in range(STEPS):
        losses.append(backward(model, steps[step % len(steps)]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        for optimizer in optimizers:
            optimizer.step()
    return losses


def adan(name):
    return losses_with(name, lambda model: [Adan(model.parameters(), lr=LR, weight_decay=0.1, weight_decouple=False)])


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
    def optimizers_of(model):
        transposed = {id(m.weight) for m in model.modules() if isinstance(m, Conv1D)}
        large = [EightBit(p, id(p) in transposed) for p in model.parameters() if p.numel() >= 256]
        return [*large, torch.optim.AdamW([p for p in model.parameters() if p.numel() < 256], lr=LR, **EIGHT_BIT)]
    return losses_with(name, optimizers_of)


def losses_inside_backward(name, make, lr):
    """The losses of a model that make(model) updates inside the second of two backward passes."""
    model, steps = load(name)
    optimizer = make(model)
    losses = []
    for step in range(STEPS):
        micro_batches = steps[step % len(steps)]
        loss = sum(token_losses(model, documents)[0] for documents in micro_batches) / targets_of(micro_batches)
        losses.append(loss.item())
        optimizer.grad_norm(loss)
        optimizer.fused_backward(loss, lr)
    return losses


LOMO_CASE = {"lr": 0.3, "weight_decay": 0.1}


def lomo(name, make=Lomo, **options):
    return losses_inside_backward(name, lambda model: make(model, clip_grad_norm=MAX_NORM, **options), LOMO_CASE["lr"])


ADALOMO_CASE = {"lr": 1e-2, "weight_decay": 0.1}


def with_eps(case, name):
    """GPT-2's bias of keys has no gradient but rounding noise, which Adafactor would divide by its own size: with the
    default 1e-30 public implementations differ by 1e-4 there. A larger eps keeps the noise small."""
    return {**case, "eps": [1e-12, 1e-3]} if name == "gpt2" else case


def adalomo(name, make=AdaLomo):
    torch.Tensor.cuda = lambda self: self  # where lomo-optim puts its states
    options = with_eps({"weight_decay": ADALOMO_CASE["weight_decay"]}, name)
    if make is AdaLOMO and "eps" in options:
        options["eps1"], options["eps2"] = options.pop("eps")
    return losses_inside_backward(name, lambda model: make(model, clip_grad_norm=MAX_NORM, loss_scale=0, **options),
                                  ADALOMO_CASE["lr"])


# The engine's relative step is the least of lr and 1 / sqrt(step), which is transformers' with lr 1e-2.
ADAFACTOR_CASES = [{"lr": 1e-2}, {"lr": 2e-2, "beta1": 0.9, "weight_decay": 0.1, "relative_step": False}]


def adafactor(name, case):
    own = with_eps(case if "relative_step" in case else {"lr": None, "relative_step": True}, name)
    return losses_with(name, lambda model: [Adafactor(model.parameters(), warmup_init=False, **own)])


MUON_CASES = [{"lr": 1e-3}, {"lr": 1e-3, "momentum": 0.9, "nesterov": False, "match_rms_adamw": False,
                             "weight_decay": 0.05}]


def hidden_and_others(model):
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    tables.add(id(model.get_output_embeddings().weight))
    hidden = {id(p) for p in model.parameters() if p.ndim == 2} - tables
    return [[p for p in model.parameters() if (id(p) in hidden) == is_hidden] for is_hidden in (True, False)]


class InFloat32:
    """An optimizer whose bfloat16 is float32."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        narrow, torch.bfloat16 = torch.bfloat16, torch.float32
        self.optimizer.step()
        torch.bfloat16 = narrow


def muon(name, case):
    def optimizers_of(model):
        hidden, others = hidden_and_others(model)
        decay = case.get("weight_decay", 0.1)
        adjust = "match_rms_adamw" if case.get("match_rms_adamw", True) else "original"
        return [InFloat32(torch.optim.Muon(hidden, lr=case["lr"], weight_decay=decay, adjust_lr_fn=adjust,
                                           momentum=case.get("momentum", 0.95), nesterov=case.get("nesterov", True))),
                torch.optim.AdamW(others, lr=case["lr"], betas=(0.9, 0.95), weight_decay=decay)]
    return losses_with(name, optimizers_of)


RULES = [("adamw_8bit", EIGHT_BIT, adamw_8bit), ("adan", {"weight_decay": 0.1}, adan), ("sophia", SOPHIA, sophia),
         ("sophia", {**SOPHIA, "batch_size": 50}, lambda name: sophia(name, 50)),
         ("lomo", LOMO_CASE, lambda name: lomo(name, weight_decay=LOMO_CASE["weight_decay"])),
         ("adalomo", ADALOMO_CASE, adalomo),
         *[("adafactor", case, lambda name, case=case: adafactor(name, case)) for case in ADAFACTOR_CASES],
         *[("muon", case, lambda name, case=case: muon(name, case)) for case in MUON_CASES]]


def other_implementations(name):
    """(what, its losses) of public implementations that are not in the golden."""
    iterations = zero_power_via_newton_schulz_5
    iterations.__defaults__ = (*iterations.__defaults__[:-1], torch.float32)

    def other_muon(model):
        hidden, others = hidden_and_others(model)
        return [OtherMuon([{"params": hidden, "use_muon": True}], lr=1e-3, weight_decay=0.1, use_adjusted_lr=True),
                torch.optim.AdamW(others, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)]

    yield "lomo (pytorch-optimizer, no decay)", lomo(name, LOMO)
    yield "lomo (lomo-optim, no decay)", lomo(name)
    yield "adalomo (pytorch-optimizer)", adalomo(name, AdaLOMO)
    eps1, eps2 = with_eps({"eps": [1e-30, 1e-3]}, name)["eps"]
    yield "adafactor (pytorch-optimizer)", losses_with(name, lambda model: [
        AdaFactor(model.parameters(), lr=1e-2, betas=(None, 0.999), relative_step=False, eps1=eps1, eps2=eps2)])
    yield "adafactor (torch)", losses_with(name, lambda model: [
        torch.optim.Adafactor(model.parameters(), lr=1e-2, weight_decay=0, eps=(eps1, eps2))])
    yield "muon (pytorch-optimizer)", losses_with(name, other_muon)


def main():
    torch.set_num_threads(1)
    factored = ["adafactor", "adalomo"]
    cases = [{"rule": rule, "options": with_eps(options, name) if rule in factored else options, "checkpoint": name,
              "losses": losses_of(name)}
             for rule, options, losses_of in RULES for name in NAMES]
    for case in cases:
        print(case["rule"], case["checkpoint"], case["losses"][0], "->", case["losses"][-1])
    for name in NAMES:
        for what, losses in other_implementations(name):
            print("another implementation:", what, name, losses[0], "->", losses[-1])
    golden = {"lr": LR, "max_norm": MAX_NORM, "seed": SEED, "cases": cases}
    text = json.dumps(golden, separators=(",", ":")).replace("},{", "},\n{")
    (HERE / "optimizer_losses.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
