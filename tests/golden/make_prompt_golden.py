"""Makes the goldens of virtual tokens (tests/peft/test_prompt_golden.cpp) from Hugging Face's peft (float32, CPU), over
the checkpoints that make_model_golden.py made.

    python make_prompt_golden.py [CASE...]

Writes beside itself, for each case (all, or those named):
    peft/CASE/adapter_config.json, adapter_model.safetensors   what save_pretrained writes, of random virtual tokens
    peft/CASE/encoder.safetensors                              where an encoder makes them: its parameters, by its own names
    peft/CASE/gradients.safetensors                            d(loss)/d(parameter) of the base's `batch`, by the encoder's
                                                               names
    peft/CASE/golden.json                                      base, loss and logits of the base's golden.json's `batch`
                                                               and `sequences`; losses of its 20 steps
    peft/CASE/trained.safetensors                              adapter_model.safetensors after these steps
and peft/prompt_text: as what virtual tokens begin that are given by a text (tests/plan/test_prompt_start.cpp):
    model.safetensors                                          the embedding of a vocabulary of bytes
    golden.json                                                text, number of tokens, the rows of a model that scales
                                                               its embedding, as Gemma does
Made with torch 2.15.0, transformers 5.24.0, peft 0.21.2.
"""

import argparse
import json

import torch
from peft import PrefixTuningConfig, PromptEmbedding, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.models.gemma.modeling_gemma import GemmaTextScaledWordEmbedding

from adapter_steps import HERE, rounded, token_losses, train

CASES = {
    "prompt_llama": ("llama_tied", PromptTuningConfig, dict(num_virtual_tokens=5)),
    "prompt_gpt2": ("gpt2", PromptTuningConfig, dict(num_virtual_tokens=3)),
    "prompt_qwen2": ("qwen2_window", PromptTuningConfig, dict(num_virtual_tokens=4)),
    "prompt_gemma": ("gemma", PromptTuningConfig, dict(num_virtual_tokens=2)),
    "prefix_llama": ("llama_tied", PrefixTuningConfig, dict(num_virtual_tokens=5)),
    "prefix_wide_llama": ("llama_untied", PrefixTuningConfig, dict(num_virtual_tokens=3)),
    "prefix_gpt2": ("gpt2", PrefixTuningConfig, dict(num_virtual_tokens=4)),
    "prefix_qwen2": ("qwen2", PrefixTuningConfig, dict(num_virtual_tokens=2)),
    "ptuning_llama": ("llama_tied", PromptEncoderConfig, dict(num_virtual_tokens=4, encoder_hidden_size=24)),
    "ptuning_gemma": ("gemma", PromptEncoderConfig, dict(num_virtual_tokens=3)),
    "ptuning_lstm_qwen2": ("qwen2", PromptEncoderConfig, dict(
        num_virtual_tokens=5, encoder_hidden_size=10, encoder_reparameterization_type="LSTM")),
    "ptuning_lstm_gpt2": ("gpt2", PromptEncoderConfig, dict(
        num_virtual_tokens=1, encoder_hidden_size=8, encoder_reparameterization_type="LSTM", encoder_num_layers=3)),
    "prefix_mlp_llama": ("llama_tied", PrefixTuningConfig, dict(
        num_virtual_tokens=4, encoder_hidden_size=20, prefix_projection=True)),
    "prefix_mlp_gpt2": ("gpt2", PrefixTuningConfig, dict(num_virtual_tokens=3, prefix_projection=True)),
}
SIZE = 0.4  # of the virtual tokens' numbers, so that they matter and do not drown the rest


def state_of(model):
    return {name: value.contiguous() for name, value in get_peft_model_state_dict(model).items()}


def own_name(name):
    return name.removeprefix("prompt_encoder.default.")


def make(case, base, kind, settings, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(HERE / base, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(model, kind(task_type="CAUSAL_LM", **settings)).eval()
    trained = {own_name(name): value for name, value in model.named_parameters() if value.requires_grad}
    with torch.no_grad():
        trained["embedding.weight"].mul_(SIZE if len(trained) == 1 else 1)
        for name, value in trained.items():
            if name.startswith("lstm") or len(trained) > 1 and "weight" in name and "embedding" not in name:
                value.mul_(2)  # of a size at which what they give matters
    folder = HERE / "peft" / case
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base  # no path of the machine that made it
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
    if len(trained) > 1:
        save_file({name: value.detach().clone() for name, value in trained.items()}, folder / "encoder.safetensors")

    golden = json.loads((HERE / base / "golden.json").read_text())
    total, targets = token_losses(model, golden["batch"])
    (total / targets).backward()
    save_file({name: value.grad.contiguous() for name, value in trained.items()}, folder / "gradients.safetensors")
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([tokens])).logits[0][-len(tokens):].tolist()
                  for tokens in golden["sequences"]]

    losses = train(model, golden, list(trained.values()))
    save_file(state_of(model), folder / "trained.safetensors")
    result = {"base": base, "loss": total.item() / targets,
              "logits": rounded(logits), "losses": losses}
    (folder / "golden.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(case, "loss", result["loss"], "losses", losses[0], "->", losses[-1])


def make_text():
    torch.manual_seed(99)
    vocabulary, hidden, count = 258, 4, 7
    table = GemmaTextScaledWordEmbedding(vocabulary, hidden, None, embed_scale=hidden**0.5)
    texts = ["dog", "The dog herds sheep."]  # one is repeated, one is cut
    folder = HERE / "peft" / "prompt_text"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"model.embed_tokens.weight": table.weight.detach()}, folder / "model.safetensors")
    rows = []
    for text in texts:
        config = PromptTuningConfig(
            num_virtual_tokens=count, token_dim=hidden, num_transformer_submodules=1, prompt_tuning_init="TEXT",
            prompt_tuning_init_text=text, tokenizer_name_or_path=str(HERE / "byte_tokenizer"))
        rows.append(PromptEmbedding(config, table).embedding.weight.tolist())
    (folder / "golden.json").write_text(json.dumps({"tokens": count, "texts": texts, "rows": rows}) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join([*CASES, "prompt_text"]))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for number, (name, (checkpoint, kind, options)) in enumerate(CASES.items(), start=1):
        if not arguments.cases or name in arguments.cases:
            make(name, checkpoint, kind, options, number)
    if not arguments.cases or "prompt_text" in arguments.cases:
        make_text()
