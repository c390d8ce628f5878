"""Makes the goldens of tests/models from transformers and PyTorch (float32, CPU, eager attention).

    python make_model_golden.py [NAME...] [--stories FOLDER]

Writes beside itself, for small random checkpoints of several families (all, or those named):
    NAME/config.json, model.safetensors    what save_pretrained writes
    NAME/gradients.safetensors             d(loss)/d(parameter) of `batch`
    NAME/golden.json                       everything else, see golden() below
and, with --stories, stories260k.json: loss and greedy decoding of that pretrained model (not copied here).

A micro-batch is a list of documents {"tokens", "labels"}; each document is run through PyTorch by itself, and losses
are summed over all targets (label != -100) and divided by their number. Made with torch 2.15.0, transformers 5.23.0.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from chatglm_6b import ChatGLM6B, chatglm_6b_config, chatglm_6b_tensors, context_of, with_blank
from chatglm_as_glm import chatglm_config, from_glm
from internlm_as_llama import KINDS, from_llama, llama_config

HERE = pathlib.Path(__file__).parent
STEPS, MICRO_BATCHES = 20, 3

CHECKPOINTS = {
    # grouped queries, tied
    "llama_tied": dict(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=96, tie_word_embeddings=True, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    # one key head for all queries, heads wider than hidden / heads, far rotary base
    "llama_untied": dict(
        hidden_size=40, intermediate_size=56, num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=1,
        head_dim=12, vocab_size=80, tie_word_embeddings=False, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0}),
    # biases everywhere, no grouping
    "llama_bias": dict(
        hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        vocab_size=64, tie_word_embeddings=False, rms_norm_eps=1e-5, attention_bias=True, mlp_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    # as published: LayerNorm, learned positions, transposed matrices, one of them queries, keys and values, tied
    "gpt2": dict(model_type="gpt2", n_embd=32, n_layer=2, n_head=4, vocab_size=96, n_positions=256),
    # what GPT-2's configuration may say: another width and activation, an own head, scores scaled by the block
    "gpt2_untied": dict(
        model_type="gpt2", n_embd=24, n_layer=3, n_head=3, n_inner=40, vocab_size=64, n_positions=256,
        activation_function="gelu", tie_word_embeddings=False, scale_attn_by_inverse_layer_idx=True),
    # biases of queries, keys and values, grouped queries
    "qwen2": dict(
        model_type="qwen2", hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=96, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
    # the second block sees 16 keys
    "qwen2_window": dict(
        model_type="qwen2", hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, vocab_size=64, tie_word_embeddings=False, use_sliding_window=True,
        sliding_window=16, max_window_layers=1,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    # norms of query and key heads, heads wider than hidden / heads
    "qwen3": dict(
        model_type="qwen3", hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, vocab_size=64, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
    # attention and MLP side by side, heads rotated in part, queries, keys and values head after head
    "gpt_neox": dict(
        model_type="gpt_neox", hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=64, tie_word_embeddings=False, rotary_pct=0.5, rotary_emb_base=10000),
    # norms of 1 + weight, GELU, scaled embedding; PyTorch gives the row of a padding token no gradient, so there is none
    "gemma": dict(
        model_type="gemma", pad_token_id=None, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=1, head_dim=12, vocab_size=64,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    # Llama 3.1's rotary positions: of 8 wavelengths two stay, two change in part
    "llama3": dict(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
        head_dim=16, vocab_size=40, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "rope_theta": 1000.0, "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 128}),
    # all wavelengths longer, of heads rotated in part
    "gpt_neox_linear": dict(
        model_type="gpt_neox", hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3,
        vocab_size=40, tie_word_embeddings=True,
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5, "partial_rotary_factor": 0.5}),
    # as Qwen2.5 says it: of 8 wavelengths two change in part, and scores are scaled
    "qwen2_yarn": dict(
        model_type="qwen2", hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=3, head_dim=16, vocab_size=40, tie_word_embeddings=True,
        rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                         "original_max_position_embeddings": 64}),
    # every key of it; the lengths stand in the whole file; no window
    "mistral_yarn": dict(
        model_type="mistral", hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=20, vocab_size=40, tie_word_embeddings=False, sliding_window=None,
        rope_parameters={"rope_type": "yarn", "rope_theta": 500.0, "factor": 6.0, "beta_fast": 9.0, "beta_slow": 1.5,
                         "mscale": 1.2, "mscale_all_dim": 0.7, "truncate": False,
                         "original_max_position_embeddings": 48}),
    # a query sees 16 keys; heads wider than hidden / heads
    "mistral": dict(
        model_type="mistral", hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=10, vocab_size=40, tie_word_embeddings=True, sliding_window=16,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    # fused matrices, and a window
    "phi3": dict(
        model_type="phi3", hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, vocab_size=40, tie_word_embeddings=False, sliding_window=16, pad_token_id=None,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    # grouped queries in the fused matrix, heads rotated in part, other angles for documents of more than 16 tokens
    "phi3_longrope": dict(
        model_type="phi3", hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=40, tie_word_embeddings=True, pad_token_id=None,
        original_max_position_embeddings=16,
        rope_parameters={"rope_type": "longrope", "rope_theta": 100.0, "partial_rotary_factor": 0.75,
                         "short_factor": [1.0, 1.1, 1.3], "long_factor": [1.5, 3.0, 9.0],
                         "original_max_position_embeddings": 16}),
    # biases of attention
    "internlm": dict(
        model_type="internlm", hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3,
        vocab_size=40, tie_word_embeddings=False, bias=True, rms_norm_eps=1e-6,
        rotary={"base": 10000, "type": "dynamic"}),
    # queries, keys and values by key heads
    "internlm2": dict(
        model_type="internlm2", hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=40, tie_word_embeddings=False, bias=False, rms_norm_eps=1e-5, rope_theta=1000000,
        rope_scaling={"type": "dynamic", "factor": 2.0}),
    # the same with biases, tied, one key head
    "internlm2_bias": dict(
        model_type="internlm2", hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, vocab_size=40, tie_word_embeddings=True, bias=True, rms_norm_eps=1e-5, rope_theta=10000,
        rope_scaling={"type": "linear", "factor": 3.0}),
    # norms around each branch, caps that bend scores and logits, a window on the first and the third block
    "gemma2": dict(
        model_type="gemma2", pad_token_id=None, hidden_size=24, intermediate_size=40, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=64, query_pre_attn_scalar=6,
        sliding_window=16, attn_logit_softcapping=2.0, final_logit_softcapping=3.0,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    # an own head, biases, no caps, heads wider than hidden / heads
    "gemma2_untied": dict(
        model_type="gemma2", pad_token_id=None, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=1, head_dim=12, vocab_size=64, tie_word_embeddings=False,
        attention_bias=True, attn_logit_softcapping=None, final_logit_softcapping=None, sliding_window=7,
        layer_types=["full_attention", "sliding_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    # norms of query and key heads too, rotary bases of windows and of the rest
    "gemma3_text": dict(
        model_type="gemma3_text", pad_token_id=None, hidden_size=24, intermediate_size=40, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=64, query_pre_attn_scalar=6,
        sliding_window=16, layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}),
    # an own head and capped logits
    "gemma3_text_untied": dict(
        model_type="gemma3_text", pad_token_id=None, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=1, head_dim=12, vocab_size=48, tie_word_embeddings=False,
        final_logit_softcapping=4.0, sliding_window=9, layer_types=["full_attention", "sliding_attention"]),
    # gate and up in one matrix, the first half of a head rotated in neighbouring pairs
    "glm": dict(
        model_type="glm", pad_token_id=None, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=64, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}),
    # norms of what branches give, tied, no biases, heads wider than hidden / heads
    "glm4": dict(
        model_type="glm4", pad_token_id=None, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=1, head_dim=12, vocab_size=64, tie_word_embeddings=True,
        attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}),
    # transformers' glm under the names of ChatGLM's own code, with queries, keys and values in one matrix
    "chatglm": dict(
        model_type="glm", stored_as="chatglm", pad_token_id=None, hidden_size=32, intermediate_size=40,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=64,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 50000.0, "partial_rotary_factor": 0.5}),
    # attention and MLP after one norm, an own head with a bias, the first channels rotated in neighbouring pairs
    "gptj": dict(
        model_type="gptj", n_embd=24, n_layer=2, n_head=3, rotary_dim=4, vocab_size=64, n_positions=256, n_inner=40),
    # the same with queries, values and keys in one matrix, in four parts of two heads
    "codegen": dict(
        model_type="codegen", n_embd=32, n_layer=2, n_head=8, rotary_dim=4, vocab_size=64, n_positions=256, n_inner=48),
    # the 7B's kind: one key head, attention and MLP after one norm, tied; transformers ignores num_kv_heads
    "falcon": dict(
        model_type="falcon", hidden_size=24, num_hidden_layers=2, num_attention_heads=3, num_kv_heads=3, vocab_size=64),
    # the 40B's: groups of heads, a norm for each branch, an own head
    "falcon_40b": dict(
        model_type="falcon", hidden_size=32, ffn_hidden_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_kv_heads=2, new_decoder_architecture=True, vocab_size=64, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    # the 11B's: groups of heads, one norm
    "falcon_11b": dict(
        model_type="falcon", hidden_size=24, ffn_hidden_size=40, num_hidden_layers=2, num_attention_heads=6,
        num_kv_heads=3, new_decoder_architecture=True, num_ln_in_parallel_attn=1, vocab_size=40,
        tie_word_embeddings=False),
    # the MLP after attention, biases, a key head for each query head, another activation. (Not relu: where it reads a
    # number that rounding brings to the other side of 0, norms of later steps differ by 1e-3.)
    "falcon_serial": dict(
        model_type="falcon", hidden_size=24, ffn_hidden_size=44, num_hidden_layers=2, num_attention_heads=3,
        multi_query=False, parallel_attn=False, bias=True, activation="silu", vocab_size=40),
    # documents with a context and an answer, two positions, residuals scaled by α (chatglm_6b.py; not in transformers)
    "chatglm_6b": dict(
        model_type="chatglm_6b", hidden_size=48, inner_hidden_size=40, num_layers=2, num_attention_heads=3,
        vocab_size=64, max_sequence_length=256, layernorm_epsilon=1e-5, position_encoding_2d=True, bos_token_id=61,
        gmask_token_id=62, mask_token_id=63),
    # as published: biases, grouped queries, tied, a query sees 16 keys
    "starcoder2": dict(
        model_type="starcoder2", hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=40, sliding_window=16,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0}),
    # no biases, no window, odd sizes, a key head for each query head, all wavelengths longer
    "starcoder2_plain": dict(
        model_type="starcoder2", hidden_size=27, intermediate_size=35, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=3, head_dim=10, vocab_size=37, use_bias=False, norm_epsilon=1e-3,
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5}),
    # an own head, one key head, another activation
    "starcoder2_untied": dict(
        model_type="starcoder2", hidden_size=20, intermediate_size=33, num_hidden_layers=3, num_attention_heads=5,
        num_key_value_heads=1, vocab_size=41, tie_word_embeddings=False, hidden_act="gelu",
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    # an own head, no biases, a query sees 7 keys, heads wider than hidden / heads
    "starcoder2_window": dict(
        model_type="starcoder2", hidden_size=24, intermediate_size=30, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=3, head_dim=6, vocab_size=40, tie_word_embeddings=False, use_bias=False,
        sliding_window=7, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
}
# Documents of the batch, and of the logits, beside or in place of the usual ones.
MORE_LENGTHS = {"phi3_longrope": [(16, 0), (12, 0), (17, 0)]}
SHOWN_LENGTHS = {"phi3_longrope": (9, 25), "starcoder2": (9, 25), "starcoder2_window": (9, 25)}


def transformers_model(kind, settings):
    config = llama_config(kind, settings) if kind in KINDS else AutoConfig.for_model(**settings)
    config._attn_implementation = "eager"
    return AutoModelForCausalLM.from_config(config).float().eval()  # eval(): no dropout


def make_model(made_of, generator):
    settings = {key: value for key, value in made_of.items() if key != "stored_as"}
    settings = {"model_type": "llama", "max_position_embeddings": 256, "initializer_range": 0.02, **settings}
    kind = settings["model_type"]
    model = ChatGLM6B(made_of) if kind == "chatglm_6b" else transformers_model(kind, settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            elif "norm" in name or "ln_" in name:
                parameter.copy_(0.2 * noise + (0.0 if model.config.model_type.startswith("gemma") else 1.0))
            else:
                parameter.copy_(noise * parameter.shape[-1] ** -0.5)
    return model


def make_document(length, vocab, generator, masked=0):
    """`length` targets; a walk with a fixed stride and some noise, so that there is something to learn."""
    start, stride = torch.randint(0, vocab, (2,), generator=generator).tolist()
    walk = (start + (1 + stride % 3) * torch.arange(length + 1)) % vocab
    noise = torch.randint(0, vocab, (length + 1,), generator=generator)
    tokens = torch.where(torch.rand(length + 1, generator=generator) < 0.1, noise, walk).tolist()
    return {"tokens": tokens[:-1], "labels": [-100] * masked + tokens[1 + masked:]}


def token_losses(model, documents):
    """Sum of the losses over all targets, and their number."""
    total, targets = 0.0, 0
    for document in documents:
        labels = torch.tensor(document["labels"])
        logits = model(input_ids=torch.tensor([document["tokens"]]), use_cache=False).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        targets += int((labels != -100).sum())
    return total, targets


def train(model, steps):
    """steps: [STEPS][MICRO_BATCHES] micro-batches. Losses (token means) and gradient norms before clipping."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    losses, norms = [], []
    for micro_batches in steps:
        optimizer.zero_grad()
        targets = sum(sum(label != -100 for d in documents for label in d["labels"]) for documents in micro_batches)
        loss = 0.0
        for documents in micro_batches:
            total, _ = token_losses(model, documents)
            (total / targets).backward()
            loss += total.item()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
        losses.append(loss / targets)
    return losses, norms


def save(model, settings, folder):
    if settings.get("model_type") == "chatglm_6b":
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(chatglm_6b_config(model), indent=2) + "\n")
        save_file(chatglm_6b_tensors(model), folder / "model.safetensors", {"format": "pt"})
        return
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    kind, stored = settings.get("model_type"), folder / "model.safetensors"
    if settings.get("stored_as") == "chatglm":
        (folder / "config.json").write_text(json.dumps(chatglm_config(model.config), indent=2) + "\n")
        save_file(from_glm(load_file(stored)), stored, {"format": "pt"})
    if kind not in KINDS:
        return
    config = {"architectures": [KINDS[kind]], "max_position_embeddings": 256, **settings}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(from_llama(kind, load_file(stored), settings), stored, {"format": "pt"})


def golden(name, settings, seed):
    generator = torch.Generator().manual_seed(seed)
    model = make_model(settings, generator)
    folder = HERE / name
    save(model, settings, folder)
    vocab = settings["vocab_size"]
    has_blanks = settings.get("model_type") == "chatglm_6b"

    def document(length, masked=0):
        if not has_blanks:
            return make_document(length, vocab, generator, masked)
        plain = make_document(max(length, 2), vocab - 3, generator)  # the last ids are those of blank and start
        return with_blank(plain, settings, generator)

    # Above 256 tokens, so that the head works in more than one chunk.
    lengths = [(37, 0), (1, 0), (120, 5), (64, 0), (90, 11)] + MORE_LENGTHS.get(name, [])
    batch = [document(length, masked) for length, masked in lengths]
    total, targets = token_losses(model, batch)
    (total / targets).backward()
    in_file = set(load_file(folder / "model.safetensors"))  # some names there are not those of the module
    gradients = {key: value.grad.contiguous() for key, value in model.named_parameters()}
    if settings.get("model_type") in KINDS:
        gradients = from_llama(settings["model_type"], gradients, settings)
    if settings.get("stored_as") == "chatglm":
        gradients = from_glm(gradients)
    renamed = {"lm_head.weight": "embed_out.weight"}
    save_file({key if key in in_file else renamed[key]: value for key, value in gradients.items()},
              folder / "gradients.safetensors")

    shown = [document(length) for length in SHOWN_LENGTHS.get(name, (9, 5))]
    first = [context_of(d["tokens"], settings) if has_blanks else 0 for d in shown]
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([d["tokens"]])).logits[0, f:].tolist() for d, f in zip(shown, first)]

    different = 4  # step s uses the micro-batches of step s mod 4
    steps = [[[document(int(length)) for length in torch.randint(3, 24, (3,), generator=generator)]
              for _ in range(MICRO_BATCHES)] for _ in range(different)]
    losses, norms = train(model, [steps[s % different] for s in range(STEPS)])
    result = {
        "batch": batch,  # of loss and gradients.safetensors
        "loss": total.item() / targets,
        "target_tokens": targets,
        "sequences": [d["tokens"] for d in shown],
        "logits": [[[round(x, 7) for x in row] for row in rows] for rows in logits],  # [sequence][position][vocab]
        "steps": steps,  # [step mod 4][micro-batch][document]
        "losses": losses,  # [step], AdamW: lr 1e-3, betas 0.9 0.95, eps 1e-8, decay 0.1 on all, clipped to norm 1
        "grad_norms": norms,  # [step], before clipping
    }
    if has_blanks:
        result["first"] = first  # the tokens of each sequence before those of the logits
    (folder / "golden.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(name, "loss", result["loss"], "losses", losses[0], "->", losses[-1], "norms", norms[0], norms[-1])


def stories(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = ("Once upon a time, there was a big dog named Max. Max liked to run in the park with his friend Lily. "
            "One day, they found a red ball under a tree, and they were very happy.")
    tokens = tokenizer(text)["input_ids"]
    tokens = ([1] if tokens[0] != 1 else []) + tokens
    with torch.no_grad():
        total, targets = token_losses(model, [{"tokens": tokens[:-1], "labels": tokens[1:]}])
        ids, margin, cache, step = [1], float("inf"), None, torch.tensor([[1]])
        for _ in range(60):
            output = model(input_ids=step, past_key_values=cache, use_cache=True)
            cache, best = output.past_key_values, output.logits[0, -1].topk(2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            step = best.indices[:1].reshape(1, 1)
            ids.append(step.item())
    result = {"tokens": tokens, "loss": total.item() / targets, "greedy": ids[1:], "smallest_margin": margin}
    (HERE / "stories260k.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print("stories260K loss", result["loss"], "margin", margin, repr(tokenizer.decode(ids)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CHECKPOINTS))
    parser.add_argument("--stories", help="folder of the stories260K model")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed, (name, settings) in enumerate(CHECKPOINTS.items(), start=1):
        if not arguments.names or name in arguments.names:
            golden(name, settings, seed)
    if arguments.stories:
        stories(arguments.stories)
