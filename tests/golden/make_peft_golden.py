"""Makes the goldens of tests/peft from Hugging Face's peft (float32, CPU), over the checkpoints that
make_model_golden.py made.

    python make_peft_golden.py [CASE...]

Writes beside itself, for each case (all, or those named):
    peft/CASE/adapter_config.json, adapter_model.safetensors   what save_pretrained writes, of a random adapter
    peft/CASE/gradients.safetensors                            d(loss)/d(parameter) of the base's `batch`, by the
                                                               names of adapter_model.safetensors
    peft/CASE/golden.json                                      base, loss and logits of the base's golden.json's
                                                               `batch` and `sequences`; losses of its 20 steps
    peft/CASE/trained.safetensors                              the adapter after these steps
and for a case of STARTS, whose adapter begins with what it takes out of the matrices:
    peft/CASE/golden.json                                      base, settings, losses of 20 steps
    peft/CASE/start.safetensors                                the adapter before them
    peft/CASE/merged.safetensors                               the matrices, merged with it, after them
Made with torch 2.15.0, transformers 5.24.0, peft 0.21.2.
"""

import argparse
import json

import torch
from peft import IA3Config, LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from adapter_steps import HERE, rounded, token_losses, train

CASES = {
    "lora_llama": ("llama_tied", {}),
    "lora_all_llama": ("llama_tied", dict(
        target_modules="all-linear", r=4, lora_alpha=6, rank_pattern={"layers.1.mlp.down_proj": 3},
        alpha_pattern={r".*\.0\..*q_proj": 9})),
    "rslora_qwen2": ("qwen2", dict(
        target_modules=["q_proj", "k_proj", "down_proj"], r=5, lora_alpha=3, use_rslora=True, bias="all")),
    "lora_bias_llama": ("llama_bias", dict(
        target_modules=["o_proj", "up_proj"], r=3, layers_to_transform=[1], bias="lora_only",
        modules_to_save=["lm_head", "model.norm"])),
    "lora_gpt2": ("gpt2", dict(target_modules=["c_attn", "mlp.c_proj"], r=4)),
    "loraplus_llama": ("llama_untied", dict(target_modules=["v_proj", "gate_proj"], r=4)),
    "dora_llama": ("llama_tied", dict(target_modules="all-linear", r=4, lora_alpha=6, use_dora=True)),
    "dora_qwen2": ("qwen2", dict(
        target_modules=["q_proj", "k_proj", "down_proj"], r=3, use_dora=True, use_rslora=True, bias="all")),
    "dora_gpt2": ("gpt2", dict(target_modules=["c_attn", "c_proj"], r=4, use_dora=True)),
    "ia3_llama": ("llama_tied", dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "ia3_qwen2": ("qwen2", dict(target_modules=["k_proj", "v_proj", "up_proj", "down_proj"],
                                feedforward_modules=["up_proj", "down_proj"], modules_to_save=["model.norm"])),
    "ia3_gpt2": ("gpt2", dict(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"])),
    # one A of queries, keys and values, and one of gate and up
    "lora_phi3": ("phi3_longrope", dict(target_modules=["qkv_proj", "gate_up_proj", "down_proj"], r=3)),
    "dora_phi3": ("phi3", dict(target_modules=["qkv_proj", "o_proj", "gate_up_proj"], r=2, use_dora=True)),
}
STARTS = {
    "pissa_llama": ("llama_untied", dict(target_modules=["q_proj", "v_proj", "down_proj"], r=4, lora_alpha=6,
                                         init_lora_weights="pissa")),
    "olora_qwen2": ("qwen2", dict(target_modules=["k_proj", "o_proj", "up_proj"], r=3, lora_alpha=3,
                                  use_rslora=True, init_lora_weights="olora")),
}
RATIO = {"loraplus_llama": 4.0}  # LoRA+: the rate of B by that of A


def saved_names(model):
    """Each trained parameter's name in adapter_model.safetensors."""
    by_storage = {value.data_ptr(): name for name, value in get_peft_model_state_dict(model).items()}
    return {name: by_storage[value.data_ptr()] for name, value in model.named_parameters() if value.requires_grad}


def make(case, base, settings, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(HERE / base, dtype=torch.float32, attn_implementation="eager")
    kind = IA3Config(task_type="CAUSAL_LM", **settings) if case.startswith("ia3") else LoraConfig(
        task_type="CAUSAL_LM", init_lora_weights=False, **settings)
    model = get_peft_model(model, kind).eval()
    with torch.no_grad():  # of a size at which it matters
        for name, value in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                value.copy_(0.3 * torch.randn(value.shape) * value.shape[-1] ** -0.5)
            elif "magnitude" in name or "ia3_" in name:
                value.mul_(1 + 0.2 * torch.randn(value.shape))
    folder = HERE / "peft" / case
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base  # no path of the machine that made it
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(config.get(key), list):
            config[key].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")

    golden = json.loads((HERE / base / "golden.json").read_text())
    names = saved_names(model)
    total, targets = token_losses(model, golden["batch"])
    (total / targets).backward()
    save_file({names[name]: value.grad.contiguous() for name, value in model.named_parameters() if value.requires_grad},
              folder / "gradients.safetensors")
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([tokens])).logits[0].tolist() for tokens in golden["sequences"]]

    model.zero_grad()
    ratio = RATIO.get(case, 1.0)
    trained = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    losses = train(model, golden, [value for _, value in trained], [
        {"params": [value for name, value in trained if "lora_B" not in name]},
        {"params": [value for name, value in trained if "lora_B" in name], "lr": ratio * 1e-2}])
    save_file({key: value.contiguous() for key, value in get_peft_model_state_dict(model).items()},
              folder / "trained.safetensors")
    result = {"base": base, "lr_ratio": ratio, "loss": total.item() / targets,
              "logits": rounded(logits), "losses": losses}
    (folder / "golden.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(case, "loss", result["loss"], "losses", losses[0], "->", losses[-1])


def make_start(case, base, settings):
    model = AutoModelForCausalLM.from_pretrained(HERE / base, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    folder = HERE / "peft" / case
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.clone() for key, value in get_peft_model_state_dict(model).items()},
              folder / "start.safetensors")
    targets = [name for name, module in model.base_model.model.named_modules() if hasattr(module, "lora_A")]
    trained = [value for value in model.parameters() if value.requires_grad]
    losses = train(model, json.loads((HERE / base / "golden.json").read_text()), trained)
    merged = model.merge_and_unload().state_dict()
    save_file({name + ".weight": merged[name + ".weight"].clone() for name in targets}, folder / "merged.safetensors")
    result = {"base": base, "settings": settings, "losses": losses}
    (folder / "golden.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(case, "losses", losses[0], "->", losses[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join([*CASES, *STARTS]))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for number, (name, (checkpoint, options)) in enumerate(CASES.items(), start=1):
        if not arguments.cases or name in arguments.cases:
            make(name, checkpoint, options, number)
    for name, (checkpoint, options) in STARTS.items():
        if not arguments.cases or name in arguments.cases:
            make_start(name, checkpoint, options)
