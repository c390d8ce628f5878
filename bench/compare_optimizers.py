#!/usr/bin/env python3
"""Trains one small model with every optimizer, each at a rate that was tuned on another, smaller model.

    scripts/compare_optimizers.sh MODEL TEXT [--engine build/release/collie-engine] [--out docs] [--only RULE ...]

MODEL is a Hugging Face folder of a small Llama with a tokenizer, such as stories260K; its shape, from random weights,
is what rates are tuned on: as many steps as are compared, each of five rates, half a decade apart, and of further ones
as long as the best is the lowest or the highest so far. The one with the lowest loss at the end counts. Then a model of
3 million parameters is trained from random weights for 100 steps of 4,096 tokens of TEXT. Writes the table between the
marks of OUT/optimizers.md and the picture OUT/optimizers.svg. Needs Python alone.
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile

STEPS = 100
# (name in the table, rate in the middle of those that are tried, other keys)
RULES = [
    ("adamw", 3e-3, []),
    ("adam", 3e-3, ["optimizer.betas=[0.9, 0.95]"]),
    ("adamw_8bit", 3e-3, []),
    ("adamw_schedule_free", 1e-2, ["optimizer.betas=[0.9, 0.95]", "optimizer.weight_decay=0.1"]),
    ("adan", 1e-2, ["optimizer.weight_decay=0.02"]),
    ("lion", 1e-3, ["optimizer.weight_decay=0.1"]),
    ("sophia", 1e-3, []),
    ("muon", 1e-2, []),
    ("adafactor", 3e-2, ["optimizer.relative_step=false"]),
    ("adalomo", 3e-2, []),
    ("sgd", 0.3, ["optimizer.momentum=0.9"]),
    ("lomo", 1.0, []),
]
COLOURS = ["#1f77b4", "#aec7e8", "#17becf", "#9467bd", "#c5b0d5", "#d62728", "#e377c2", "#2ca02c", "#bcbd22", "#98a040",
           "#8c564b", "#ff7f0e"]
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"


def configuration(folder, model, text, small):
    hidden, intermediate, layers, heads = (64, 172, 5, 8) if small else (256, 688, 4, 8)
    vocabulary = json.loads((pathlib.Path(model) / "config.json").read_text())["vocab_size"]
    return f"""run: {{name: compare, dir: {folder}/run}}
model:
  from_scratch: true
  config: {{model_type: llama, hidden_size: {hidden}, intermediate_size: {intermediate}, num_hidden_layers: {layers},
            num_attention_heads: {heads}, vocab_size: {vocabulary}, max_position_embeddings: 512}}
tokenizer: {{path: {model}}}
data: {{train: [{{path: {text}}}], sequence_length: 256}}
train: {{micro_batch_size: 16, gradient_accumulation_steps: 1}}
lr_scheduler: {{warmup_steps: 10}}
checkpoint: {{every_n_steps: 0}}
monitor: {{console: none, tensorboard: false, csv: false}}
"""


class Comparison:
    def __init__(self, given, folder):
        self.given, self.folder = given, pathlib.Path(folder)

    def losses(self, rule, rate, keys, small, steps):
        """The losses of a run and the median seconds of a step; infinite losses where it ended early."""
        path = self.folder / "compare.yaml"
        path.write_text(configuration(self.folder, self.given.model, self.given.text, small))
        sets = [f"optimizer.name={rule}", f"optimizer.lr={rate:.10g}", f"train.steps={steps}", *keys]
        if "schedule_free" not in rule:
            sets.append("lr_scheduler.name=cosine")
        arguments = [argument for key in sets for argument in ("--set", key)]
        done = subprocess.run([self.given.engine, "run", str(path), *arguments, "--overwrite=delete"], check=False,
                              capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{rule}: {done.stderr}")
        records = [json.loads(line) for line in (self.folder / "run/metrics.jsonl").read_text().splitlines()]
        losses = [record["loss"] for record in records]
        seconds = sorted(record["step_seconds"] for record in records)[len(records) // 2] if records else math.nan
        return losses + [math.inf] * (steps - len(losses)), seconds

    def tuned_rate(self, rule, middle, keys):
        def at_the_end(power):
            losses, _ = self.losses(rule, middle * 10 ** (power / 2), keys, True, STEPS)
            print(f"{rule} at {middle * 10 ** (power / 2):.2g}: {sum(losses[-5:]) / 5:.3f}", flush=True)
            return sum(losses[-5:]) / 5

        tried = {power: at_the_end(power) for power in (-2, -1, 0, 1, 2)}
        while (best := min(tried, key=tried.get)) in (min(tried), max(tried)):
            further = best + (1 if best == max(tried) else -1)
            tried[further] = at_the_end(further)
        return middle * 10 ** (best / 2)


def picture(curves):
    width, height, left, bottom = 800, 420, 50, 40
    right = width - 230
    lowest = min(min(losses) for _, losses in curves)
    highest = max(losses[0] for _, losses in curves)

    def x_of(step):
        return left + (right - left) * step / (STEPS - 1)

    def y_of(loss):
        return height - bottom - (height - bottom - 20) * (min(loss, highest) - lowest) / (highest - lowest)

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
             'font-size="13">', '<rect width="100%" height="100%" fill="white"/>']
    for tick in range(math.ceil(lowest * 2), math.floor(highest * 2) + 1):
        y = y_of(tick / 2)
        lines.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e0e0e0"/>')
        lines.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick / 2:.1f}</text>')
    for step in (0, 24, 49, 74, 99):
        lines.append(f'<text x="{x_of(step):.1f}" y="{height - bottom + 20}" text-anchor="middle">{step + 1}</text>')
    lines.append(f'<text x="{(left + right) / 2}" y="{height - 6}" text-anchor="middle">step</text>')
    for i, (name, losses) in enumerate(sorted(curves, key=lambda curve: curve[1][-1])):
        points = " ".join(f"{x_of(step):.1f},{y_of(loss):.1f}" for step, loss in enumerate(losses) if loss < math.inf)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[i]}" stroke-width="1.6"/>')
        y = 26 + 19 * i
        lines.append(f'<line x1="{right + 14}" x2="{right + 34}" y1="{y}" y2="{y}" stroke="{COLOURS[i]}" stroke-width="3"/>')
        lines.append(f'<text x="{right + 40}" y="{y + 4}">{name} {losses[-1]:.2f}</text>')
    return "\n".join(lines) + "\n</svg>\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model")
    arguments.add_argument("text")
    arguments.add_argument("--engine", default="build/release/collie-engine")
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs"))
    arguments.add_argument("--only", nargs="*", help="names of rules")
    given = arguments.parse_args()
    table = ["| optimizer | options | tuned rate | loss after 50 steps | after 100 | ms a step |", "|---|---|--:|--:|--:|--:|"]
    curves = []
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(given, folder)
        for name, middle, keys in RULES:
            if given.only and name not in given.only:
                continue
            rate = comparison.tuned_rate(name, middle, keys)
            losses, seconds = comparison.losses(name, rate, keys, False, STEPS)
            options = ", ".join(f"`{key.split('.', 1)[1].replace('=', ': ')}`" for key in keys)
            means = [sum(losses[step - 5:step]) / 5 for step in (50, 100)]
            table.append(f"| {name} | {options} | {rate:.2g} | {means[0]:.3f} | {means[1]:.3f} | {1000 * seconds:.0f} |")
            print(table[-1], flush=True)
            curves.append((name, losses))
    page = given.out / "optimizers.md"
    before, rest = page.read_text().split(BEGIN)
    page.write_text(before + BEGIN + "\n" + "\n".join(table) + "\n" + END + rest.split(END)[1])
    (given.out / "optimizers.svg").write_text(picture(curves))


if __name__ == "__main__":
    main()
