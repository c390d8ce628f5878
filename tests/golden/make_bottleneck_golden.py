"""Makes the goldens of tests/peft of bottleneck adapters from the library `adapters` (float32, CPU), over the
checkpoints that make_model_golden.py made. It needs an environment of its own: adapters 1.3.0 with transformers 4.57.

    python make_bottleneck_golden.py

Writes beside itself what make_peft_golden.py writes of a case. The folder's adapter_config.json is the engine's.
Made with torch 2.15.0, transformers 4.57.6, adapters 1.3.0.
"""

import json
import re

import adapters
import torch
from adapters import DoubleSeqBnConfig, ParBnConfig, SeqBnConfig
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from adapter_steps import HERE, rounded, token_losses, train

CASES = {
    "seq_bn_llama": ("llama_tied", SeqBnConfig(reduction_factor=4)),
    "double_seq_bn_gpt2": ("gpt2", DoubleSeqBnConfig(reduction_factor=5)),
    "par_bn_qwen2": ("qwen2", ParBnConfig(reduction_factor=3)),
}


def name_of(parameter):
    name = re.sub(r"\.adapters\.a\.", ".", parameter)
    return "base_model.model." + name.replace("adapter_down.0", "adapter_down")


def make(case, base, settings, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(HERE / base, torch_dtype=torch.float32, attn_implementation="eager")
    adapters.init(model)
    model.add_adapter("a", config=settings)
    model.train_adapter("a")
    model.eval()
    trained = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    with torch.no_grad():  # of a size at which it matters
        for _, value in trained:
            value.copy_(0.3 * torch.randn(value.shape) * value.shape[-1] ** -0.5)
    folder = HERE / "peft" / case
    folder.mkdir(parents=True, exist_ok=True)
    kind = re.sub(r"_[a-z0-9]+$", "", case)
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "BOTTLENECK", "adapter_config": kind, "reduction_factor": settings.reduction_factor,
        "scaling": float(settings.scaling), "non_linearity": {"swish": "silu"}.get(settings.non_linearity, settings.non_linearity),
    }, indent=1) + "\n")
    saved = lambda: {name_of(name): value.detach().clone() for name, value in trained}
    save_file(saved(), folder / "adapter_model.safetensors")
    golden = json.loads((HERE / base / "golden.json").read_text())
    total, targets = token_losses(model, golden["batch"])
    (total / targets).backward()
    save_file({name_of(name): value.grad.contiguous() for name, value in trained}, folder / "gradients.safetensors")
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([tokens])).logits[0].tolist() for tokens in golden["sequences"]]
    losses = train(model, golden, [value for _, value in trained])
    save_file(saved(), folder / "trained.safetensors")
    result = {"base": base, "lr_ratio": 1.0, "loss": total.item() / targets,
              "logits": rounded(logits), "losses": losses}
    (folder / "golden.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(case, "loss", result["loss"], "losses", losses[0], "->", losses[-1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number, (name, (checkpoint, options)) in enumerate(CASES.items(), start=1):
        make(name, checkpoint, options, number)
