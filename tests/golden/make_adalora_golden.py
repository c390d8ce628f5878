"""Makes the goldens of AdaLoRA in tests/peft from Hugging Face's peft (float32, CPU), over the checkpoints that
make_model_golden.py made.

    python make_adalora_golden.py [CASE...]

Writes beside itself, for each case (all, or those named):
    peft/CASE/adapter_config.json, adapter_model.safetensors   what save_pretrained writes, of random triplets
    peft/CASE/gradients.safetensors                            of the base's `batch`, by the names of
                                                               adapter_model.safetensors; the regulariser's
                                                               included, once
    peft/CASE/golden.json                                      base; loss and logits of the base's golden.json's
                                                               `batch` and `sequences`; losses of its 20 steps,
                                                               each without the regulariser; the triplets that
                                                               were kept after each step, and rank_pattern
    peft/CASE/trained.safetensors                              all triplets after these steps
    peft/CASE/kept/                                            what save_pretrained writes of them, and logits.json,
                                                               the logits of that folder, read again
A step is that of peft's examples: backward, clip, optimizer.step(), update_and_allocate(step), with steps from 0.
Made with torch 2.15.0, transformers 5.24.0, peft 0.21.2.
"""

import argparse
import json

import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from adapter_steps import HERE, STEPS, rounded, token_losses, train

CASES = {
    "adalora_llama": ("llama_tied", dict(
        target_modules="all-linear", init_r=4, target_r=2, lora_alpha=6, tinit=2, tfinal=4, deltaT=3)),
    "adalora_qwen2": ("qwen2", dict(
        target_modules=["q_proj", "k_proj", "down_proj"], init_r=6, target_r=1, lora_alpha=16, tinit=1, tfinal=3,
        deltaT=2, beta1=0.7, beta2=0.9, bias="all")),
    "adalora_gpt2": ("gpt2", dict(
        target_modules=["c_attn", "mlp.c_proj"], init_r=5, target_r=3, orth_reg_weight=0.1)),
}


def load(base):
    return AutoModelForCausalLM.from_pretrained(HERE / base, dtype=torch.float32, attn_implementation="eager")


def regulariser(model, tokens):
    """What peft's forward adds to the loss."""
    tokens = torch.tensor([tokens])
    output = model(input_ids=tokens, labels=tokens)
    return output.loss - torch.nn.functional.cross_entropy(output.logits[0, :-1], tokens[0, 1:])


def save(model, folder, base):
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base  # no path of the machine that made it
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")


def logits_of(model, golden):
    with torch.no_grad():
        return [model(input_ids=torch.tensor([tokens])).logits[0].tolist() for tokens in golden["sequences"]]


def kept(model):
    """Which values are not zero, by the names of a rank_pattern."""
    return {name.replace(".default", ""): (value != 0).flatten().tolist()
            for name, value in model.base_model.model.named_parameters() if "lora_E" in name}


def steps(model, golden):
    patterns = []

    def allocate(step):
        model.base_model.update_and_allocate(step)
        patterns.append(kept(model))

    losses = train(model, golden, [value for value in model.parameters() if value.requires_grad],
                   regulariser=lambda: regulariser(model, golden["sequences"][0]), after_step=allocate)
    return losses, patterns


def make(case, base, settings, seed):
    torch.manual_seed(seed)
    model = get_peft_model(load(base), AdaLoraConfig(task_type="CAUSAL_LM", total_step=STEPS, **settings)).eval()
    with torch.no_grad():  # of a size at which it matters
        for name, value in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                value.copy_(torch.randn(value.shape) * value.shape[-1 if "lora_A" in name else 0] ** -0.5)
            elif "lora_E" in name:
                value.copy_(0.5 * torch.randn(value.shape))
    folder = HERE / "peft" / case
    save(model, folder, base)
    golden = json.loads((HERE / base / "golden.json").read_text())
    by_storage = {value.data_ptr(): name for name, value in get_peft_model_state_dict(model).items()}
    names = {name: by_storage[value.data_ptr()] for name, value in model.named_parameters() if value.requires_grad}
    total, targets = token_losses(model, golden["batch"])
    (total / targets).backward()
    regulariser(model, golden["sequences"][0]).backward()
    save_file({names[name]: value.grad.contiguous() for name, value in model.named_parameters() if value.requires_grad},
              folder / "gradients.safetensors")
    logits = logits_of(model, golden)

    model.zero_grad()
    losses, patterns = steps(model, golden)
    save_file({names[name]: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad},
              folder / "trained.safetensors")
    save(model, folder / "kept", base)
    again = PeftModel.from_pretrained(load(base), folder / "kept").eval()
    (folder / "kept" / "logits.json").write_text(
        json.dumps(rounded(logits_of(again, golden)), separators=(",", ":")) + "\n")
    result = {"base": base, "loss": total.item() / targets, "logits": rounded(logits), "losses": losses,
              "patterns": patterns, "rank_pattern": model.peft_config["default"].rank_pattern}
    (folder / "golden.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(case, "loss", result["loss"], "losses", losses[0], "->", losses[-1], "kept",
          [sum(map(sum, pattern.values())) for pattern in patterns])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for number, (name, (checkpoint, options)) in enumerate(CASES.items(), start=1):
        if not arguments.cases or name in arguments.cases:
            make(name, checkpoint, options, number)
