#!/usr/bin/env python3
"""One fp32 training step of the Llama-30M of docs/benchmarks in PyTorch + transformers, at its best CPU settings.

Prints the median seconds of a step. Needs torch and transformers; OMP_WAIT_POLICY and threads are set by the caller.
Usage: peer_pytorch.py [--steps 5] [--threads 2] [--compile]
"""
import argparse
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--compile", action="store_true")
arguments = parser.parse_args()

torch.manual_seed(0)
torch.set_num_threads(arguments.threads)
config = LlamaConfig(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8,
                     num_key_value_heads=8, vocab_size=8192, max_position_embeddings=256, tie_word_embeddings=True)
model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa").float().train()
if arguments.compile:
    model.forward = torch.compile(model.forward)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
ids = torch.randint(0, config.vocab_size, (8, 256))

seconds = []
for step in range(arguments.steps + 1):
    start = time.perf_counter()
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    loss.item()
    if step > 0:  # the first one warms up
        seconds.append(time.perf_counter() - start)
median = statistics.median(seconds)
print(f"{median:.4f} s a step, {ids.numel() / median:.0f} tokens/s")
