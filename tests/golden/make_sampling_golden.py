#!/usr/bin/env python3
"""Makes sampling.json: probabilities of the next token after the logits processors of transformers
(made with transformers 5.24, torch 2.15), for random logits and settings of generation_config.json.

    python tests/golden/make_sampling_golden.py

A case has the logits, the tokens that the text has, the settings, and the probability of each token. The processors are
those that generate() makes of a GenerationConfig, in its order. Logits are multiples of 1/8, so that float32 has them
exactly and some are equal.
"""
import json
from pathlib import Path

import torch
from transformers import GenerationConfig, GenerationMixin

HERE = Path(__file__).parent
SETTINGS = [{}, {"temperature": 0.5}, {"temperature": 2.0, "top_k": 5}, {"top_k": 1}, {"top_k": 1000}, {"top_p": 0.9},
            {"top_p": 0.3, "temperature": 0.7}, {"top_p": 1e-4}, {"min_p": 0.1}, {"min_p": 1.0}, {"min_p": 0.05, "temperature": 1.7},
            {"typical_p": 0.2}, {"typical_p": 0.9}, {"typical_p": 0.5, "top_k": 9}, {"repetition_penalty": 1.3},
            {"repetition_penalty": 0.8, "top_k": 4}, {"repetition_penalty": 1.1, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.02,
                                                         "typical_p": 0.8}]


class Model(GenerationMixin):
    """Nothing but what _get_logits_processor asks for."""

    class config:
        is_encoder_decoder = False

    device = torch.device("cpu")


def processed(logits, seen, settings):
    config = GenerationConfig(**{"do_sample": True, "top_k": 0, "num_beams": 1, **settings})
    for name, value in GenerationConfig._get_default_generation_params().items():
        if getattr(config, name, None) is None:
            setattr(config, name, value)
    processors = Model()._get_logits_processor(generation_config=config, input_ids_seq_length=len(seen), model_kwargs={})
    scores = processors(torch.tensor([seen]), torch.tensor([logits], dtype=torch.float32))
    return torch.softmax(scores.double(), dim=-1)[0].tolist()


def main():
    torch.manual_seed(1)
    cases = []
    for number, settings in enumerate(SETTINGS * 3):
        size = [3, 17, 40][number // len(SETTINGS)]
        logits = (torch.randn(size) * [1, 3, 2][number // len(SETTINGS)] * 8).round().div(8).tolist()
        seen = torch.randint(0, size, (6,)).tolist()
        cases.append({"logits": logits, "seen": sorted(set(seen)), "settings": settings,
                      "probabilities": [float(f"{p:.9g}") for p in processed(logits, seen, settings)]})
    (HERE / "sampling.json").write_text(json.dumps(cases).replace('}, {"logits"', '},\n{"logits"') + "\n")


if __name__ == "__main__":
    main()
