"""Measures what monitoring costs a step: two ways to run one configuration, in turns.

    python bench/monitoring_cost.py CONFIG --engine ENGINE [--base ENGINE] [--turns 5] [--steps 60] [--set KEY=VALUE]...

The first way has everything on: CSV, TensorBoard, the page at the end, a measured peak, and Prometheus' page, which is
fetched once per second as Prometheus would. The second way has all of that off. With --base it is another engine, such as
one built before a change, whose keys of the monitor it must know (tensorboard, csv, summary and console).

A busy machine makes wall time noisy, so the processor time of the whole process counts, too, with what its threads did
beside the steps. Each turn runs both ways, and the order changes from turn to turn. What is printed: for each way the
median over turns of the median step (wall) and of the processor time per step; and the difference of each turn's pair.
Loading and ending cost the same however many steps there are, so the processor time per step is that of a run less that
of a run of a tenth of its steps.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import threading
import urllib.request

QUIET = ["monitor.tensorboard=false", "monitor.csv=false", "monitor.summary=false", "monitor.console=none",
         "eval.every_n_steps=0", "eval.at_end=false", "checkpoint.every_n_steps=0"]


def everything(port):
    return QUIET + ["monitor.tensorboard=true", "monitor.csv=true", "monitor.summary=true", "monitor.measure_peak=true",
                    f"monitor.prometheus=127.0.0.1:{port}"]


def fetch_until(stop, port, fetched):
    while not stop.wait(1.0):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                fetched.append(len(page.read()))
        except OSError:
            pass  # it does not serve yet, or no longer


def run(engine, config, settings, steps, folder, port=None):
    """Returns (processor seconds of the process, median of the second half's steps in seconds)."""
    arguments = [engine, "run", config, "--set", f"run.dir={folder}", "--set", f"train.steps={steps}"]
    for setting in settings:
        arguments += ["--set", setting]
    stop, fetched = threading.Event(), []
    fetcher = threading.Thread(target=fetch_until, args=(stop, port, fetched))
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if port:
        fetcher.start()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    stop.set()
    if port:
        fetcher.join()
    if process.returncode != 0:
        raise RuntimeError(f"{arguments}: {process.returncode}\n{errors.decode()}")
    records = [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()]
    half = [record["step_seconds"] for record in records][len(records) // 2:]
    return usage.ru_utime + usage.ru_stime, statistics.median(half)


def per_step(engine, config, settings, steps, work, name, port=None):
    few = max(2, steps // 10)
    short, _ = run(engine, config, settings, few, work / f"{name}-short", port)
    long, step = run(engine, config, settings, steps, work / name, port)
    return (long - short) / (steps - few), step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--base")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--port", type=int, default=9464)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    results = {"on": [], "off": []}
    for turn in range(options.turns):
        for way in (("on", "off") if turn % 2 == 0 else ("off", "on")):
            with tempfile.TemporaryDirectory() as folder:
                work = pathlib.Path(folder)
                if way == "on":
                    result = per_step(options.engine, options.config, everything(options.port) + options.set,
                                      options.steps, work, way, options.port)
                else:
                    result = per_step(options.base or options.engine, options.config, QUIET + options.set,
                                      options.steps, work, way)
            results[way].append(result)
            print(f"turn {turn + 1}, {way}: {1e3 * result[0]:.3f} ms of processors a step, "
                  f"{1e3 * result[1]:.3f} ms wall (median)", flush=True)
    for index, what in enumerate(("processor time", "wall time")):
        on, off = ([result[index] for result in results[way]] for way in ("on", "off"))
        pairs = sorted(a / b - 1 for a, b in zip(on, off))
        print(f"{what} a step: on {1e3 * statistics.median(on):.3f} ms, off {1e3 * statistics.median(off):.3f} ms, "
              f"difference of the medians {100 * (statistics.median(on) / statistics.median(off) - 1):+.2f} %, of the "
              f"turns' pairs {100 * pairs[0]:+.2f} % to {100 * pairs[-1]:+.2f} %, "
              f"median {100 * statistics.median(pairs):+.2f} %")


if __name__ == "__main__":
    main()
