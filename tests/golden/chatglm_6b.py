"""ChatGLM-6B, whose code is not in transformers, in plain PyTorch from its equations, one document at a time.

GLM (Du et al., arXiv 2103.10360) with the changes of ChatGLM-6B: with n = LayerNorm(x) and α = sqrt(2 · 28),
    m = α n + attention(n), p = LayerNorm(m), y = α p + mlp(p), mlp(p) = W₂ gelu(W₁ p + b₁) + b₂ (the tanh form)
A document is a context with a blank (gMASK, or else MASK), then the start token and the answer. The context sees itself
in both directions, the rest what stands before it. The first half of a head is rotated by the first position, the
second half by the second one, each as rotate_half does; the frequencies are rounded to float16, as the model's own code
rounds them. Queries are divided by the number of the layer and scores multiplied by it.
"""

import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional

PUBLISHED = {"use_cache": True, "torch_dtype": "float32", "pad_token_id": 3, "eos_token_id": 1,
             "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig",
                          "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration"}}


class Layer(nn.Module):
    def __init__(self, config, number):
        super().__init__()
        hidden, inner = config["hidden_size"], config["inner_hidden_size"]
        self.config, self.number = config, number
        self.input_layernorm = nn.LayerNorm(hidden, eps=config["layernorm_epsilon"])
        self.attention = nn.Module()
        self.attention.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.attention.dense = nn.Linear(hidden, hidden)
        self.post_attention_layernorm = nn.LayerNorm(hidden, eps=config["layernorm_epsilon"])
        self.mlp = nn.Module()
        self.mlp.dense_h_to_4h = nn.Linear(hidden, inner)
        self.mlp.dense_4h_to_h = nn.Linear(inner, hidden)

    def attend(self, x, places, seen):
        tokens, heads = x.shape[0], self.config["num_attention_heads"]
        # a head's query, key and value stand beside each other
        q, k, v = self.attention.query_key_value(x).view(tokens, heads, 3, -1).permute(2, 1, 0, 3)
        q, k = rotated(q, places), rotated(k, places)
        scores = (q / (math.sqrt(q.shape[-1]) * self.number)) @ k.transpose(1, 2)
        weights = (self.number * scores.masked_fill(~seen, -math.inf)).softmax(-1)
        return self.attention.dense((weights @ v).permute(1, 0, 2).reshape(tokens, -1))

    def forward(self, x, places, seen):
        alpha = math.sqrt(2 * 28)  # of the published model's layers: its code never gives a block another number
        n = self.input_layernorm(x)
        p = self.post_attention_layernorm(alpha * n + self.attend(n, places, seen))
        wide = functional.gelu(self.mlp.dense_h_to_4h(p), approximate="tanh")
        return alpha * p + self.mlp.dense_4h_to_h(wide)


class ChatGLM6B(nn.Module):
    def __init__(self, settings):
        super().__init__()
        config = {key: value for key, value in settings.items() if key not in ("model_type", "stored_as")}
        self.config = SimpleNamespace(model_type="chatglm_6b", keys=config)
        self.transformer = nn.Module()
        self.transformer.word_embeddings = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.transformer.layers = nn.ModuleList(Layer(config, i + 1) for i in range(config["num_layers"]))
        self.transformer.final_layernorm = nn.LayerNorm(config["hidden_size"], eps=config["layernorm_epsilon"])

    def forward(self, input_ids, use_cache=False):
        (tokens,) = input_ids.tolist()
        places, seen = places_of(tokens, self.config.keys)
        x = self.transformer.word_embeddings(input_ids[0])
        for layer in self.transformer.layers:
            x = layer(x, places, seen)
        x = self.transformer.final_layernorm(x)
        return SimpleNamespace(logits=(x @ self.transformer.word_embeddings.weight.T)[None])  # tied


def context_of(tokens, config):
    return tokens.index(config["bos_token_id"])


def places_of(tokens, config):
    """Both positions [tokens, 2], and which token sees which [tokens, tokens]."""
    context = context_of(tokens, config)
    blank = tokens.index(config["gmask_token_id" if config["gmask_token_id"] in tokens else "mask_token_id"])
    places = [(i, 0) if i < context else (blank, i - context + 1) for i in range(len(tokens))]
    seen = [[j <= i or j < context for j in range(len(tokens))] for i in range(len(tokens))]
    return torch.tensor(places), torch.tensor(seen)


def rotated(x, places):
    """x [heads, tokens, channels]"""
    return torch.cat([turned(half, places[:, i]) for i, half in enumerate(x.chunk(2, dim=-1))], dim=-1)


def turned(x, positions):
    channels = x.shape[-1]
    frequencies = 10000.0 ** (-torch.arange(0, channels, 2, dtype=torch.float32) / channels)
    angles = positions[:, None].float() * frequencies.half().float()
    cosines, sines = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)


def with_blank(document, config, generator):
    """A document of make_document() with a context, a blank in it, and a start token behind it."""
    tokens = list(document["tokens"])
    context = int(torch.randint(1, len(tokens), (1,), generator=generator))
    blank = int(torch.randint(0, context, (1,), generator=generator))
    last = document["labels"][-1]
    tokens[blank] = config["gmask_token_id" if context % 3 else "mask_token_id"]
    tokens[context] = config["bos_token_id"]
    labels = [tokens[i + 1] if i + 1 >= context else -100 for i in range(len(tokens) - 1)] + [last]
    return {"tokens": tokens, "labels": labels}


def chatglm_6b_config(model):
    return {"model_type": "chatglm", "architectures": ["ChatGLMModel"], **model.config.keys, **PUBLISHED}


def chatglm_6b_tensors(model):
    """As published: the head beside the embedding that it is."""
    tensors = {name: value.detach().contiguous() for name, value in model.named_parameters()}
    return tensors | {"lm_head.weight": tensors["transformer.word_embeddings.weight"].clone()}
