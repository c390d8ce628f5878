#!/usr/bin/env python3
"""Adapters of a Llama of 30 million parameters on the CPU: the engine and Hugging Face's peft + PyTorch, in turns.

compare_adapters.py --engine build/release/collie-engine [--kinds lora,dora,...] [--rounds 3] [--steps 8]

Kinds: all (every weight, without adapters), lora, dora, ia3, adalora, prompt, prefix, qlora. The kind lora is measured with
torch.compile, too. A step is 8 sequences of 256 tokens. Each process trains `steps` steps after 3 that do not count; of a
process the median step counts, of each side the median of its rounds. Needs torch, transformers, peft, and bitsandbytes for
qlora. Run it on a machine that does nothing else.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

LENGTH, SEQUENCES, WARMUP, VIRTUAL = 256, 8, 3, 16
SHAPE = dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8,
             vocab_size=8192, max_position_embeddings=LENGTH + VIRTUAL, tie_word_embeddings=True)

# The settings of the engine for each kind. What peft gets for it stands in config_of_peft().
LORA = "type: lora, r: 16, target_modules: all-linear"
ENGINE = {
    "all": ["peft={type: none}"],
    "lora": [f"peft={{{LORA}}}"],
    "dora": [f"peft={{{LORA}, use_dora: true}}"],
    "ia3": ["peft={type: ia3}"],
    "adalora": ["peft={type: adalora, init_r: 16, target_r: 8, target_modules: all-linear, tinit: 1, tfinal: 1, deltaT: 1}"],
    "prompt": [f"peft={{type: prompt_tuning, num_virtual_tokens: {VIRTUAL}}}"],
    "prefix": [f"peft={{type: prefix_tuning, num_virtual_tokens: {VIRTUAL}}}"],
    "qlora": [f"peft={{{LORA}}}", "quantization={kind: nf4, double_quant: true}"],
}


def config_of_peft(kind, steps):
    import peft
    if kind == "ia3":
        return peft.IA3Config(task_type="CAUSAL_LM")
    if kind == "adalora":
        return peft.AdaLoraConfig(task_type="CAUSAL_LM", init_r=16, target_r=8, target_modules="all-linear", tinit=1, tfinal=1,
                                  deltaT=1, total_step=WARMUP + steps)
    if kind == "prompt":
        return peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL)
    if kind == "prefix":
        return peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL)
    return peft.LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear", use_dora=kind == "dora")


def base_of_peft(base, kind):
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    if kind != "qlora":
        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, quantization_config=BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32))


def measure_peft(base, kind, compiled, steps):
    import torch
    from peft import get_peft_model

    torch.manual_seed(0)
    model = base_of_peft(base, kind)
    if kind != "all":
        model = get_peft_model(model, config_of_peft(kind, steps))
    model.train()
    step_of_model = torch.compile(model) if compiled else model
    trained = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    seconds = []
    for step in range(WARMUP + steps):
        ids = torch.randint(0, SHAPE["vocab_size"], (SEQUENCES, LENGTH))
        start = time.perf_counter()
        step_of_model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if kind == "adalora":
            model.base_model.update_and_allocate(step)
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[WARMUP:])


def measure_engine(engine, base, folder, kind, steps):
    run = pathlib.Path(folder) / "run"
    command = [engine, "run", "/dev/null", "--overwrite=delete"] + [word for setting in (
        "run.name=bench", f"run.dir={run}", f"model.path={base}", "tokenizer.kind=byte",
        f"data.train=[{{path: {folder}/text.txt}}]", f"data.sequence_length={LENGTH}", f"train.steps={WARMUP + steps}",
        f"train.micro_batch_size={SEQUENCES}", "train.gradient_accumulation_steps=1", "checkpoint.every_n_steps=0",
        "monitor.console=none", "monitor.tensorboard=false", *ENGINE[kind]) for word in ("--set", setting)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(SEQUENCES * LENGTH / record["tokens_per_second"] for record in records[WARMUP:])


def sides_of(kind, arguments, base, folder):
    """What is measured in turns for a kind: name -> function that gives the seconds of a step."""
    def peft(how):
        return float(subprocess.run([sys.executable, __file__, "--engine", arguments.engine, "--steps", str(arguments.steps),
                                     "--peft", base, kind, how], check=True, stdout=subprocess.PIPE, text=True).stdout)
    sides = {f"engine, {kind}": lambda: measure_engine(arguments.engine, base, folder, kind, arguments.steps),
             f"peft, {kind}": lambda: peft("eager")}
    if kind == "lora":
        sides["peft, lora, compiled"] = lambda: peft("compiled")
    return sides


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--kinds", default=",".join(ENGINE))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--peft", nargs=3, metavar=("BASE", "KIND", "eager|compiled"), help="measure peft alone in this process")
    arguments = parser.parse_args()
    if arguments.peft:
        base, kind, how = arguments.peft
        print(measure_peft(base, kind, how == "compiled", arguments.steps))
        return
    with tempfile.TemporaryDirectory() as folder:
        import transformers
        base = f"{folder}/base"
        transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).save_pretrained(base)
        tokens = LENGTH * SEQUENCES * (WARMUP + arguments.steps + 1)
        pathlib.Path(folder, "text.txt").write_text("".join(chr(97 + (i * i // 7) % 26) for i in range(tokens)))
        for kind in arguments.kinds.split(","):
            sides = sides_of(kind, arguments, base, folder)
            found = {name: [] for name in sides}
            for _ in range(arguments.rounds):
                for name, measure in sides.items():
                    found[name].append(measure())
            ours = statistics.median(found[f"engine, {kind}"])
            for name, seconds in found.items():
                median = statistics.median(seconds)
                print(f"{name:<22}{median:8.3f} s a step{LENGTH * SEQUENCES / median:9.0f} tokens/s   {median / ours:5.2f} of ours   "
                      f"({', '.join(f'{s:.3f}' for s in seconds)})", flush=True)


if __name__ == "__main__":
    main()
