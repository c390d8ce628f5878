"""InternLM and InternLM2, whose code is not in transformers, as transformers' Llama and back.

Both are Llama's maths. InternLM is Llama with the biases of attention; InternLM2 has other names, and the rows of queries,
keys and values in one matrix: of each key head the queries of all heads that read it, its keys, its values.
"""

import torch
from transformers import LlamaConfig

KINDS = {"internlm": "InternLMForCausalLM", "internlm2": "InternLM2ForCausalLM"}
SHARED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
          "max_position_embeddings", "initializer_range", "rms_norm_eps", "tie_word_embeddings")
NAMES = {  # of InternLM2, by Llama's
    "embed_tokens": "tok_embeddings", "lm_head": "output", "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2",
    "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
}


def llama_settings(kind, config):
    """What LlamaConfig is given for a config.json of the kind."""
    settings = {key: config[key] for key in SHARED if key in config}
    settings["attention_bias"] = config.get("bias", True)
    if kind == "internlm":
        rotary = config.get("rotary") or {"base": 10000}
        scaling = {"rope_type": "default", "rope_theta": rotary["base"]}
        if rotary.get("type") == "dynamic":
            scaling.update(rope_type="dynamic", factor=rotary.get("scaling_factor", 1.0))
    else:
        settings["num_key_value_heads"] = config["num_key_value_heads"]
        scaling = {"rope_type": "default", "rope_theta": config["rope_theta"]}
        if config.get("rope_scaling"):
            scaling.update(rope_type=config["rope_scaling"]["type"], factor=config["rope_scaling"]["factor"])
    return {**settings, "rope_parameters": scaling}


def _renamed(name, names):
    for old, new in names.items():
        name = name.replace(old, new)
    return name


def _packed(q, k, v, heads):
    """Rows of q [.., ..] and so on, of `heads` key heads."""
    parts = [x.reshape(heads, -1, *x.shape[1:]) for x in (q, k, v)]
    return torch.cat(parts, dim=1).reshape(-1, *q.shape[1:]).contiguous()


def from_llama(kind, tensors, config):
    """Llama's tensors {name: tensor} under the kind's names. `config` has num_key_value_heads."""
    if kind == "internlm":
        return dict(tensors)
    heads, result = config["num_key_value_heads"], {}
    for name, tensor in tensors.items():
        if "q_proj" in name:
            k, v = (tensors[name.replace("q_proj", other)] for other in ("k_proj", "v_proj"))
            result[name.replace("self_attn.q_proj", "attention.wqkv")] = _packed(tensor, k, v, heads)
        elif "k_proj" not in name and "v_proj" not in name:
            result[_renamed(name, NAMES)] = tensor
    return result


def to_llama(kind, tensors, config):
    """The inverse."""
    if kind == "internlm":
        return dict(tensors)
    heads, result = config["num_key_value_heads"], {}
    head = config["hidden_size"] // config["num_attention_heads"]
    for name, tensor in tensors.items():
        if "wqkv" not in name:
            result[_renamed(name, {new: old for old, new in NAMES.items()})] = tensor
            continue
        groups = tensor.reshape(heads, -1, *tensor.shape[1:])
        parts = (groups[:, :-2 * head], groups[:, -2 * head:-head], groups[:, -head:])
        for letter, part in zip("qkv", parts):
            llama = name.replace("attention.wqkv", f"self_attn.{letter}_proj")
            result[llama] = part.reshape(-1, *tensor.shape[1:]).contiguous()
    return result


def llama_config(kind, config):
    return LlamaConfig(**llama_settings(kind, config))
