#!/usr/bin/env python3
"""The engine against Hugging Face transformers + PyTorch: the same shape, sequences, batch and dtype, in turns on the same device.

compare_transformers.py --bench build/release/bench/bench_train --shape qwen2.5-1.5b --micro-batch 8 [--rounds 3]
    [--set parallel.tp_size=1]... [--json FILE]

A round is one process of bench_train and one of transformers, so that neither has the other's memory, and a machine that gets
slower is slow for both. Of each process the median step counts, of each side the median of its rounds.

transformers runs at its best: torch.compile, FlashAttention 2 where the package is there (else PyTorch's own scaled_dot_product_attention,
which takes its flash or cuDNN kernel), AdamW (fused), gradients' norm clipped to 1 as the engine does. In bfloat16 its weights, gradients
and moments are all bfloat16 (--precision pure, the fastest), or float32 under autocast (--precision master). Float32 is float32: no TF32.
Needs torch and transformers.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time


def arguments_of_command_line():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True, help="the program bench_train")
    parser.add_argument("--shape", required=True)
    parser.add_argument("--sequence-length", type=int, default=1024)
    parser.add_argument("--micro-batch", type=int, default=1)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10, help="measured in a round")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--precision", choices=["pure", "master"], default="pure")
    parser.add_argument("--attention", choices=["auto", "flash_attention_2", "sdpa", "eager"], default="auto")
    parser.add_argument("--compile", choices=["default", "max-autotune", "reduce-overhead", "none"], default="default")
    parser.add_argument("--peak", type=float, default=0, help="TFLOP/s for the MFU of both; known of A100, H100 and H200 (SXM)")
    parser.add_argument("--set", action="append", default=[], help="key.path=value for the engine")
    parser.add_argument("--json", help="file for everything that was measured")
    parser.add_argument("--transformers-alone", action="store_true", help="measure transformers in this process and print JSON")
    return parser.parse_args()


def attention_of(choice, device, dtype):
    if choice != "auto":
        return choice
    if device == "cuda" and dtype == "bfloat16":
        try:
            import flash_attn  # noqa: F401
            return "flash_attention_2"
        except ImportError:
            pass
    return "sdpa"


def measure_transformers(arguments, shape):
    import torch
    import transformers

    torch.manual_seed(0)
    device = torch.device(arguments.device)
    dtype = getattr(torch, arguments.dtype)
    master = arguments.dtype == "bfloat16" and arguments.precision == "master"
    config = transformers.LlamaConfig(**{key: value for key, value in shape.items() if key != "model_type"})
    attention = attention_of(arguments.attention, arguments.device, arguments.dtype)
    torch.set_default_dtype(torch.float32 if master else dtype)
    with device:  # random weights are made where they stay
        model = transformers.LlamaForCausalLM._from_config(config, attn_implementation=attention).train()
    torch.set_default_dtype(torch.float32)
    step_of_model = model if arguments.compile == "none" else torch.compile(model, mode=arguments.compile)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    generator = torch.Generator().manual_seed(1)
    size = (arguments.micro_batch, arguments.sequence_length)

    def step():
        total = torch.zeros((), device=device)
        for _ in range(arguments.accumulation):
            ids = torch.randint(0, config.vocab_size, size, generator=generator).to(device, non_blocking=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=master):
                loss = step_of_model(input_ids=ids, labels=ids, use_cache=False).loss / arguments.accumulation
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(total)  # waits for the device, as the engine does for a step's loss

    seconds = []
    for index in range(arguments.warmup + arguments.steps):
        start = time.perf_counter()
        loss = step()
        if index >= arguments.warmup:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    tokens = arguments.accumulation * arguments.micro_batch * arguments.sequence_length
    on_gpu = arguments.device == "cuda"
    return {
        "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "attention": attention, "compile": arguments.compile, "dtype": arguments.dtype, "precision": arguments.precision,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "step_s": seconds, "median_step_s": median, "tokens_per_second": tokens / median, "last_loss": loss,
        "peak_bytes_allocated": torch.cuda.max_memory_allocated() if on_gpu else None,
        "peak_bytes_reserved": torch.cuda.max_memory_reserved() if on_gpu else None,
    }


def last_json_line(command):
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if process.returncode != 0:
        sys.exit(f"failed with {process.returncode}: {' '.join(command)}")
    return json.loads(process.stdout.strip().splitlines()[-1])


def engine_command(arguments):
    command = [arguments.bench, "--shape", arguments.shape, "--sequence-length", arguments.sequence_length,
               "--micro-batch", arguments.micro_batch, "--accumulation", arguments.accumulation, "--steps", arguments.steps,
               "--warmup", arguments.warmup, "--dtype", arguments.dtype, "--device", arguments.device]
    if arguments.peak:
        command += ["--peak", arguments.peak]
    for setting in arguments.set:
        command += ["--set", setting]
    return [str(word) for word in command]


def shape_of(arguments):
    shape = subprocess.run([arguments.bench, "--shape", arguments.shape, "--print-config"], stdout=subprocess.PIPE, text=True)
    if shape.returncode != 0:
        sys.exit(shape.returncode)
    return json.loads(shape.stdout)


def gibibytes(count):
    return "" if not count else f"{count / 2**30:.1f} GiB"


def summary(name, runs, flops_per_step, peak_tflops, memory):
    median = statistics.median(run["median_step_s"] for run in runs)
    tokens = statistics.median(run["tokens_per_second"] for run in runs)
    tflops = flops_per_step / median / 1e12
    return {"name": name, "median_step_s": median, "tokens_per_second": tokens, "tflops": tflops,
            "mfu": tflops / peak_tflops if peak_tflops else None, "memory_bytes": memory}


def main():
    arguments = arguments_of_command_line()
    shape = shape_of(arguments)
    if arguments.transformers_alone:
        print(json.dumps(measure_transformers(arguments, shape)))
        return
    this = [sys.executable, __file__, "--transformers-alone"] + sys.argv[1:]
    ours, theirs = [], []
    for index in range(arguments.rounds):
        ours.append(last_json_line(engine_command(arguments)))
        theirs.append(last_json_line(this))
        print(f"round {index + 1} of {arguments.rounds}: collie-engine {ours[-1]['tokens_per_second']:.0f}, "
              f"transformers {theirs[-1]['tokens_per_second']:.0f} tokens/s", file=sys.stderr)
    if ours[0]["parameters"] != theirs[0]["parameters"]:
        sys.exit(f"not the same model: {ours[0]['parameters']} and {theirs[0]['parameters']} parameters")
    flops, peak = ours[0]["flops_per_step"], ours[0]["peak_tflops"]
    driver = [sum(run["peak_bytes_by_driver"]) for run in ours]
    table = [summary("collie-engine", ours, flops, peak, max(driver) if any(driver) else None),
             summary("transformers", theirs, flops, peak, theirs[0]["peak_bytes_reserved"])]
    print(f"{arguments.shape}, {arguments.dtype}, {arguments.accumulation} x {arguments.micro_batch} sequences of "
          f"{arguments.sequence_length} tokens, on {ours[0]['device']}")
    print(f"{theirs[0]['engine']}: {theirs[0]['attention']}, torch.compile {theirs[0]['compile']}, precision {arguments.precision}")
    print(f"{'':<16}{'s a step':>10}{'tokens/s':>12}{'TFLOP/s':>10}{'MFU':>8}{'memory':>12}")
    for row in table:
        mfu = "" if row["mfu"] is None else f"{100 * row['mfu']:.1f} %"
        print(f"{row['name']:<16}{row['median_step_s']:>10.4f}{row['tokens_per_second']:>12.0f}{row['tflops']:>10.2f}{mfu:>8}"
              f"{gibibytes(row['memory_bytes']):>12}")
    ratio = table[0]["tokens_per_second"] / table[1]["tokens_per_second"]
    print(f"collie-engine at {ratio:.2f} times the speed of transformers")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"ratio": ratio, "table": table, "collie_engine": ours, "transformers": theirs}, file, indent=1)


if __name__ == "__main__":
    main()
