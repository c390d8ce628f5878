"""Checks that transformers reads what the engine writes of every golden as the same model. Not part of ctest.

    python check_exported_models.py COLLIE_ENGINE [NAME...]

Exports each checkpoint of make_model_golden.py (or those named), loads config.json and weights in transformers, and
compares logits and the loss of the batch with golden.json, within 1e-4. InternLM and InternLM2 are loaded as the Llama
that they are, ChatGLM2 as the GLM, and ChatGLM-6B as chatglm_6b.py.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GlmForCausalLM, LlamaForCausalLM

from chatglm_6b import ChatGLM6B
from chatglm_as_glm import glm_config, to_glm
from internlm_as_llama import KINDS, llama_config, to_llama
from make_model_golden import CHECKPOINTS, HERE, token_losses

# A tokenizer of fewer ids than the smallest of the models has.
LETTERS = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
           "pre_tokenizer": None, "post_processor": None, "decoder": None,
           "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                     "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                     "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}}


def load(folder):
    """Of a folder; no weight may be missing or left over."""
    config = json.loads((folder / "config.json").read_text())
    kind = config["model_type"]
    if kind == "chatglm":
        tensors = load_file(folder / "model.safetensors")
        is_first = "position_encoding_2d" in config
        model = ChatGLM6B(config) if is_first else GlmForCausalLM(glm_config(config))
        model.load_state_dict(tensors if is_first else to_glm(tensors, config))
        return model.float().eval()
    if kind not in KINDS:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        assert not any(info[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        return model.eval()
    as_llama = llama_config(kind, config)
    as_llama._attn_implementation = "eager"
    model = LlamaForCausalLM(as_llama).float().eval()
    missing, unexpected = model.load_state_dict(
        to_llama(kind, load_file(folder / "model.safetensors"), config), strict=False)
    tied = {"lm_head.weight"} if config["tie_word_embeddings"] else set()
    assert set(missing) <= tied and not unexpected, (missing, unexpected)
    return model


def differences(model, golden):
    """The largest of logits, and that of the batch's loss."""
    with torch.no_grad():
        total, targets = token_losses(model, golden["batch"])
        firsts = golden.get("first", [0] * len(golden["sequences"]))
        logits = max((model(input_ids=torch.tensor([tokens])).logits[0, f:] - torch.tensor(expected)).abs().max().item()
                     for tokens, expected, f in zip(golden["sequences"], golden["logits"], firsts))
    return logits, abs(total.item() / targets - golden["loss"])


def main():
    engine, names = sys.argv[1], sys.argv[2:] or list(CHECKPOINTS)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer = pathlib.Path(temporary) / "letters"
        tokenizer.mkdir()
        (tokenizer / "tokenizer.json").write_text(json.dumps(LETTERS))
        for name in names:
            out = pathlib.Path(temporary) / name
            subprocess.run([engine, "export", "--model", HERE / name, "--out", out, "--set", f"tokenizer.path={tokenizer}"],
                           check=True, stdout=subprocess.DEVNULL)
            logits, loss = differences(load(out), json.loads((HERE / name / "golden.json").read_text()))
            print(f"{name}: logits differ by {logits:.1e}, the loss by {loss:.1e}")
            assert logits < 1e-4 and loss < 1e-4, name
    print("ok")


if __name__ == "__main__":
    main()
