#!/usr/bin/env python3
"""LoRA (rank 16, all linear matrices) of a Llama of 30 million parameters on the CPU: the engine, Hugging Face's peft + PyTorch
(eager and compiled), and the engine's full fine-tuning, in turns.

compare_adapters.py --engine build/release/collie-engine [--rounds 3] [--steps 8]

A step is 8 sequences of 256 tokens. Each process trains `steps` steps after 3 that do not count; of a process the median
step counts, of each side the median of its rounds. Needs torch, transformers and peft. Run it on a machine that does nothing
else.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

LENGTH, SEQUENCES, WARMUP = 256, 8, 3
SHAPE = dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8,
             vocab_size=8192, max_position_embeddings=LENGTH, tie_word_embeddings=True)


def measure_peft(base, compiled, steps):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
                           LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear")).train()
    step_of_model = torch.compile(model) if compiled else model
    trained = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    seconds = []
    for _ in range(WARMUP + steps):
        ids = torch.randint(0, SHAPE["vocab_size"], (SEQUENCES, LENGTH))
        start = time.perf_counter()
        step_of_model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[WARMUP:])


def measure_engine(engine, base, folder, peft, steps):
    run = pathlib.Path(folder) / "run"
    command = [engine, "run", "/dev/null", "--overwrite=delete"] + [word for setting in (
        "run.name=bench", f"run.dir={run}", f"model.path={base}", "tokenizer.kind=byte",
        f"data.train=[{{path: {folder}/text.txt}}]", f"data.sequence_length={LENGTH}", f"train.steps={WARMUP + steps}",
        f"train.micro_batch_size={SEQUENCES}", "train.gradient_accumulation_steps=1", "checkpoint.every_n_steps=0",
        "monitor.console=none", "monitor.tensorboard=false", f"peft={peft}") for word in ("--set", setting)]
    subprocess.run(command, check=True, capture_output=True)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(SEQUENCES * LENGTH / record["tokens_per_second"] for record in records[WARMUP:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--peft", nargs=2, metavar=("BASE", "eager|compiled"), help="measure peft alone in this process")
    arguments = parser.parse_args()
    if arguments.peft:
        print(measure_peft(arguments.peft[0], arguments.peft[1] == "compiled", arguments.steps))
        return
    with tempfile.TemporaryDirectory() as folder:
        import transformers
        base = f"{folder}/base"
        transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).save_pretrained(base)
        tokens = LENGTH * SEQUENCES * (WARMUP + arguments.steps + 1)
        pathlib.Path(folder, "text.txt").write_text("".join(chr(97 + (i * i // 7) % 26) for i in range(tokens)))
        lora = "{type: lora, r: 16, target_modules: all-linear}"
        this = [sys.executable, __file__, "--engine", arguments.engine, "--steps", str(arguments.steps), "--peft", base]
        sides = {
            "engine, LoRA": lambda: measure_engine(arguments.engine, base, folder, lora, arguments.steps),
            "engine, all weights": lambda: measure_engine(arguments.engine, base, folder, "{type: none}", arguments.steps),
            "peft, eager": lambda: float(subprocess.run(this + ["eager"], check=True, stdout=subprocess.PIPE, text=True).stdout),
            "peft, compiled": lambda: float(
                subprocess.run(this + ["compiled"], check=True, stdout=subprocess.PIPE, text=True).stdout),
        }
        found = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, measure in sides.items():
                found[name].append(measure())
        ours = statistics.median(found["engine, LoRA"])
        for name, seconds in found.items():
            median = statistics.median(seconds)
            print(f"{name:<20}{median:8.3f} s a step{LENGTH * SEQUENCES / median:9.0f} tokens/s   {median / ours:5.2f} of LoRA here   "
                  f"({', '.join(f'{s:.3f}' for s in seconds)})")


if __name__ == "__main__":
    main()
