"""ChatGLM2, ChatGLM3 and GLM-4-9B, whose code is not in transformers, as transformers' glm and back.

They have the same maths. ChatGLM's code has other names, and queries, keys and values in one matrix, one below another.
"""

import torch
from transformers import GlmConfig

NAMES = {"model.embed_tokens.weight": "transformer.embedding.word_embeddings.weight",
         "model.norm.weight": "transformer.encoder.final_layernorm.weight",
         "lm_head.weight": "transformer.output_layer.weight"}
PARTS = {"self_attn.o_proj": "self_attention.dense", "mlp.gate_up_proj": "mlp.dense_h_to_4h",
         "mlp.down_proj": "mlp.dense_4h_to_h"}


def from_glm(tensors):
    """The tensors of transformers' glm, renamed and put together as ChatGLM's code has them."""
    renamed = {}
    for name, tensor in tensors.items():
        if not name.startswith("model.layers."):
            renamed[NAMES[name]] = tensor
            continue
        block, rest = name.removeprefix("model.layers.").split(".", 1)
        prefix, (module, kind) = f"transformer.encoder.layers.{block}.", rest.rsplit(".", 1)
        if module == "self_attn.q_proj":
            of_heads = [tensors[name.replace("q_proj", f"{which}_proj")] for which in "qkv"]
            renamed[f"{prefix}self_attention.query_key_value.{kind}"] = torch.cat(of_heads)
        elif not module.endswith(("k_proj", "v_proj")):
            renamed[f"{prefix}{PARTS.get(module, module)}.{kind}"] = tensor
    return renamed


def chatglm_config(config):
    """The config.json of ChatGLM's code, with the keys that published ones have."""
    return {
        "model_type": "chatglm", "architectures": ["ChatGLMModel"], "add_bias_linear": False, "add_qkv_bias": True,
        "apply_query_key_layer_scaling": True, "apply_residual_connection_post_layernorm": False,
        "attention_dropout": 0.0, "attention_softmax_in_fp32": True, "bias_dropout_fusion": True,
        "classifier_dropout": None, "ffn_hidden_size": config.intermediate_size, "fp32_residual_connection": False,
        "hidden_dropout": 0.0, "hidden_size": config.hidden_size, "kv_channels": config.head_dim,
        "layernorm_epsilon": config.rms_norm_eps, "multi_query_attention": True,
        "multi_query_group_num": config.num_key_value_heads, "num_attention_heads": config.num_attention_heads,
        "num_layers": config.num_hidden_layers, "original_rope": True, "padded_vocab_size": config.vocab_size,
        "post_layer_norm": True, "pre_seq_len": None, "prefix_projection": False, "quantization_bit": 0,
        "rmsnorm": True, "rope_ratio": config.rope_parameters["rope_theta"] / 10000, "seq_length": 256,
        "tie_word_embeddings": False, "torch_dtype": "float32", "use_cache": True, "eos_token_id": 2, "pad_token_id": 0,
        "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig",
                     "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration"}}


def glm_config(config):
    """The GlmConfig of a config.json of ChatGLM's code."""
    rotary = {"rope_type": "default", "rope_theta": 10000.0 * config["rope_ratio"], "partial_rotary_factor": 0.5}
    return GlmConfig(
        hidden_size=config["hidden_size"], intermediate_size=config["ffn_hidden_size"], pad_token_id=None,
        num_hidden_layers=config["num_layers"], num_attention_heads=config["num_attention_heads"],
        num_key_value_heads=config["multi_query_group_num"], head_dim=config["kv_channels"],
        vocab_size=config["padded_vocab_size"], max_position_embeddings=config["seq_length"],
        rms_norm_eps=config["layernorm_epsilon"], tie_word_embeddings=config["tie_word_embeddings"],
        attention_bias=config["add_qkv_bias"], rope_parameters=rotary,
        bos_token_id=config.get("bos_token_id"), eos_token_id=config.get("eos_token_id"))


def to_glm(tensors, config):
    """What from_glm() makes of glm's tensors, made glm's again."""
    names = {new: old for old, new in (NAMES | PARTS).items()}
    heads, groups, width = config["num_attention_heads"], config["multi_query_group_num"], config["kv_channels"]
    renamed = {}
    for name, tensor in tensors.items():
        if name in names:
            renamed[names[name]] = tensor
            continue
        block, rest = name.removeprefix("transformer.encoder.layers.").split(".", 1)
        prefix, (module, kind) = f"model.layers.{block}.", rest.rsplit(".", 1)
        if module == "self_attention.query_key_value":
            for which, part in zip("qkv", tensor.split([heads * width, groups * width, groups * width])):
                renamed[f"{prefix}self_attn.{which}_proj.{kind}"] = part.contiguous()
        else:
            renamed[f"{prefix}{names.get(module, module)}.{kind}"] = tensor
    return renamed
