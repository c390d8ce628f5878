#!/usr/bin/env python3
"""Bytes a parameter of weights, gradients and optimizer states, by optimizer: what `collie-engine plan` predicts for
Llama's shapes, and what the accounts of a real run of a small model had at their peaks.

    bench/memory.py [--engine build/release/collie-engine] [--out docs]

Writes the table between the marks of OUT/memory.md and the picture OUT/memory.svg. Needs Python alone.
"""

import argparse
import json
import math
import pathlib
import re
import subprocess
import tempfile

SHAPES = {  # hidden, intermediate, layers, heads: Touvron et al., arXiv 2302.13971
    "7B": (4096, 11008, 32, 32), "13B": (5120, 13824, 40, 40), "30B": (6656, 17920, 60, 52), "65B": (8192, 22016, 80, 64)}
SMALL = (512, 1408, 6, 8)  # the model of the real run
NO_MASTER = ["optimizer.master=false", "optimizer.rounding=stochastic"]
BFLOAT16_GRADIENTS = ["optimizer.grad_dtype=bfloat16"]
# (name in the table, keys, what the paper of CoLLiE has for the optimizer: arXiv 2312.00407, table 2)
ROWS = [
    ("adamw, float32 gradients", ["optimizer.name=adamw"], 30.5),
    ("adamw", ["optimizer.name=adamw", *BFLOAT16_GRADIENTS], 30.5),
    ("adamw_schedule_free", ["optimizer.name=adamw_schedule_free", *BFLOAT16_GRADIENTS], None),
    ("adan", ["optimizer.name=adan", *BFLOAT16_GRADIENTS], 34.5),
    ("sophia", ["optimizer.name=sophia", *BFLOAT16_GRADIENTS], 34.5),
    ("muon", ["optimizer.name=muon", *BFLOAT16_GRADIENTS], None),
    ("lion", ["optimizer.name=lion", *BFLOAT16_GRADIENTS], 30.5),
    ("adafactor", ["optimizer.name=adafactor", *BFLOAT16_GRADIENTS], None),
    ("adamw, states in bfloat16, no master",
     ["optimizer.name=adamw", "optimizer.state_dtype=bfloat16", *NO_MASTER, *BFLOAT16_GRADIENTS], None),
    ("lion, state in bfloat16, no master",
     ["optimizer.name=lion", "optimizer.state_dtype=bfloat16", *NO_MASTER, *BFLOAT16_GRADIENTS], None),
    ("adamw_8bit", ["optimizer.name=adamw_8bit", *BFLOAT16_GRADIENTS], None),
    ("adafactor, fused, no master",
     ["optimizer.name=adafactor", "optimizer.fused_update=true", *NO_MASTER, *BFLOAT16_GRADIENTS], None),
    ("adalomo", ["optimizer.name=adalomo", *BFLOAT16_GRADIENTS], 2.1),
    ("lomo", ["optimizer.name=lomo", *BFLOAT16_GRADIENTS], 2.1),
    ("adamw, LoRA of rank 16", ["peft={type: lora, r: 16, target_modules: all-linear}"], None),
    ("adamw, LoRA of rank 16, base in nf4",
     ["peft={type: lora, r: 16, target_modules: all-linear}", "quantization={kind: nf4}"], None),
]
CATEGORIES = ("weights", "gradients", "optimizer")
COLOURS = {"weights": "#4878a8", "gradients": "#e0a050", "optimizer": "#70a060"}
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"


def write_zeros(folder, shape, vocabulary):
    """A Hugging Face folder of that shape, for adapters, which need one. The file of its weights has no blocks on the disk."""
    hidden, intermediate, layers, heads = shape
    config = {"model_type": "llama", "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
              "num_attention_heads": heads, "vocab_size": vocabulary, "max_position_embeddings": 2048}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens": [vocabulary, hidden], "lm_head": [vocabulary, hidden], "model.norm": [hidden]}
    for layer in range(layers):
        place = f"model.layers.{layer}."
        shapes |= {place + f"self_attn.{name}_proj": [hidden, hidden] for name in "qkvo"}
        shapes |= {place + f"mlp.{name}_proj": [intermediate, hidden] for name in ("gate", "up")}
        shapes |= {place + "mlp.down_proj": [hidden, intermediate], place + "input_layernorm": [hidden],
                   place + "post_attention_layernorm": [hidden]}
    header, end = {}, 0
    for name, size in shapes.items():
        begin, end = end, end + 2 * math.prod(size)
        header[name + ".weight"] = {"dtype": "BF16", "shape": size, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def configuration(folder, shape, vocabulary, has_base):
    hidden, intermediate, layers, heads = shape
    if has_base:
        write_zeros(pathlib.Path(folder), shape, vocabulary)
    model = f"path: {folder}" if has_base else f"""from_scratch: true
  config: {{model_type: llama, hidden_size: {hidden}, intermediate_size: {intermediate}, num_hidden_layers: {layers},
            num_attention_heads: {heads}, vocab_size: {vocabulary}, max_position_embeddings: 2048}}"""
    return f"""run: {{name: memory, dir: {folder}/run}}
model:
  dtype: bfloat16
  {model}
tokenizer: {{kind: byte}}
data: {{train: [{{path: {folder}/text.txt}}], sequence_length: 64}}
train: {{steps: 2, micro_batch_size: 1, gradient_accumulation_steps: 1}}
monitor: {{tensorboard: false, csv: false}}
device: {{kind: cpu}}
"""


def engine(binary, command, folder, shape, vocabulary, keys, extra=()):
    path = pathlib.Path(folder) / "memory.yaml"
    path.write_text(configuration(folder, shape, vocabulary, any(key.startswith("peft=") for key in keys)))
    sets = [argument for key in keys for argument in ("--set", key)]
    return subprocess.run([binary, command, str(path), *sets, *extra], check=True, capture_output=True, text=True)


def planned(binary, folder, shape, keys):
    plan = json.loads(engine(binary, "plan", folder, shape, 32000, keys, ("--format", "json")).stdout)
    peaks = plan["ranks"][0]["peak_bytes"]
    return {category: peaks[category] / plan["parameters"] for category in CATEGORIES}


def measured(binary, folder, keys):
    """Of the table that a run prints: sizes have three digits."""
    result = engine(binary, "run", folder, SMALL, 8192, keys, ("--overwrite=delete",))
    said = result.stdout + result.stderr
    parameters = int(re.search(r"(\d+) parameters", said).group(1))
    row = re.search(r"^  0 +(.*)$", said.split("peak memory by rank")[1], re.M).group(1)
    units = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
    sizes = [float(number) * units[unit] for number, unit in re.findall(r"([\d.]+) ([KMG]?i?B)", row)]
    return sum(sizes[:3]) / parameters


def bars(rows):
    width, row_height, left, scale = 760, 24, 270, 18
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{row_height * (len(rows) + 2)}" '
             'font-family="sans-serif" font-size="13">', '<rect width="100%" height="100%" fill="white"/>']
    for i, (name, plans) in enumerate(rows):
        y, x = row_height * i + 6, left
        lines.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{name}</text>')
        for category in CATEGORIES:
            size = plans[category] * scale
            lines.append(f'<rect x="{x:.1f}" y="{y}" width="{size:.1f}" height="18" fill="{COLOURS[category]}"/>')
            x += size
        lines.append(f'<text x="{x + 6:.1f}" y="{y + 14}">{sum(plans.values()):.1f}</text>')
    y, x = row_height * len(rows) + 16, left
    for category in CATEGORIES:
        lines.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[category]}"/>')
        lines.append(f'<text x="{x + 18}" y="{y + 11}">{category}</text>')
        x += 110
    lines.append(f'<text x="{x}" y="{y + 11}">bytes a parameter</text>')
    return "\n".join(lines) + "\n</svg>\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--engine", default="build/release/collie-engine")
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs"))
    given = arguments.parse_args()
    table = ["| optimizer | weights | gradients | states | " + " | ".join(SHAPES) + " | a real run | the paper |",
             "|---|" + "--:|" * (5 + len(SHAPES))]
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "text.txt").write_text("A collie herds sheep. " * 400)
        for name, keys, paper in ROWS:
            plans = {shape: planned(given.engine, folder, SHAPES[shape], keys) for shape in SHAPES}
            of_parts = [f"{plans['7B'][category]:.2f}" for category in CATEGORIES]
            sums = [f"{sum(plan.values()):.2f}" for plan in plans.values()]
            real = f"{measured(given.engine, folder, keys):.2f}"
            table.append("| " + " | ".join([name, *of_parts, *sums, real, str(paper or "")]) + " |")
            print(table[-1], flush=True)
            pictures.append((name, plans["7B"]))
    page = given.out / "memory.md"
    before, rest = page.read_text().split(BEGIN)
    page.write_text(before + BEGIN + "\n" + "\n".join(table) + "\n" + END + rest.split(END)[1])
    (given.out / "memory.svg").write_text(bars(pictures))


if __name__ == "__main__":
    main()
