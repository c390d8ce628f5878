"""Checks that TensorBoard, pandas and Python's csv read of a run what metrics.jsonl says. Not part of ctest.

    python check_sinks.py COLLIE_ENGINE        (needs tensorboard and pandas: scripts/check_sinks.sh installs them)

Trains the quickstart's model for 12 steps: once without interruption, once killed and resumed, and once interrupted in an
evaluation, which the resume makes up for. Every number of metrics.jsonl must be in TensorBoard once, at its step, in single
precision, and in metrics.csv exactly. There must be no others.
"""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import numpy
import pandas
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.util import tb_logging, tensor_util

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SETTINGS = ["train.steps=12", "checkpoint.every_n_steps=3", "eval.every_n_steps=4", "monitor.tensorboard=true",
            "monitor.csv=true", "monitor.trace=false", "monitor.console=plain"]


def command(engine, folder, *flags):
    arguments = [engine, "run", str(CONFIG), "--set", f"run.dir={folder}", *flags]
    for setting in SETTINGS:
        arguments += ["--set", setting]
    return arguments


def train(engine, folder, *flags):
    subprocess.run(command(engine, folder, *flags), check=True, capture_output=True)


def train_killed(engine, folder):
    """Killed before it records step 8; the event file ends as if in the middle of a write."""
    environment = {**os.environ, "COLLIE_ENGINE_FAILPOINT": "monitor.record:8:kill"}
    killed = subprocess.run(command(engine, folder), env=environment, capture_output=True)
    assert killed.returncode != 0, killed.stderr
    files = list((folder / "tensorboard").glob("events.out.tfevents.*"))
    assert len(files) == 1, files
    with files[0].open("ab") as file:
        file.write(b"\x20\x00\x00\x00\x00\x00")


def train_interrupted(engine, folder):
    """Interrupted in the evaluation of step 4, so that the record of that step is without it."""
    environment = {**os.environ, "COLLIE_ENGINE_FAILPOINT": "stage.evaluate:1:pause"}
    run = subprocess.Popen(command(engine, folder), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in run.stderr:
        if b"failpoint stage.evaluate" in line:
            break
    run.send_signal(signal.SIGINT)
    run.communicate()
    assert run.returncode == 130, run.returncode
    last = records_of(folder)[-1]
    assert last["step"] == 4 and "eval_loss" not in last, last


def records_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tag_of(name):
    return "eval/" + name.removeprefix("eval_") if name.startswith("eval_") else "train/" + name


def scalars_of(records):
    """{tag: [(step, float32), ...]}"""
    scalars = {}
    for record in records:
        for name, number in record.items():
            if name != "step" and number is not None:
                scalars.setdefault(tag_of(name), []).append((record["step"], numpy.float32(number)))
    return scalars


def check_tensorboard(folder, records):
    expected = scalars_of(records)
    accumulator = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    found = {tag: [(event.step, numpy.float32(event.value)) for event in accumulator.Scalars(tag)]
             for tag in accumulator.Tags()["scalars"]}
    assert found == expected, (found, expected)
    now = time.time()
    times = [event.wall_time for event in accumulator.Scalars("train/loss")]
    assert times == sorted(times) and now - 3600 < times[0] and times[-1] <= now, times
    # What `tensorboard --logdir` reads, with the folder above: a run of the name "tensorboard".
    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0})
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    assert list(multiplexer.Runs()) == ["tensorboard"], multiplexer.Runs()
    shown = {tag: [(event.step, numpy.float32(tensor_util.make_ndarray(event.tensor_proto).item()))
                   for event in multiplexer.Tensors("tensorboard", tag)]
             for tag in multiplexer.PluginRunToTagToContent("scalars")["tensorboard"]}
    assert shown == expected, (shown, expected)


def served(address, query):
    with urllib.request.urlopen(f"{address}data/plugin/scalars/{query}") as answer:
        return json.load(answer)


def check_served(work, runs):
    """What the pages of a running TensorBoard ask for; it reads the files with a program of its own (load_fast)."""
    arguments = [sys.executable, "-m", "tensorboard.main", "--logdir", str(work), "--port", "0", "--load_fast", "true"]
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        address = next(word for line in server.stderr for word in line.split() if word.startswith("http://localhost"))
        for name, records in runs.items():
            run, expected = urllib.parse.quote(f"{name}/tensorboard", safe=""), scalars_of(records)
            for _ in range(60):  # it answers before it has read all
                tags = served(address, "tags").get(f"{name}/tensorboard", {})
                found = {tag: [(step, numpy.float32(number)) for _, step, number in
                               served(address, f"scalars?run={run}&tag={urllib.parse.quote(tag, safe='')}")]
                         for tag in tags}
                if found == expected:
                    break
                time.sleep(1)
            assert found == expected, (name, found, expected)
    finally:
        server.terminate()
        server.communicate()
    print(f"a running TensorBoard shows the same of {', '.join(runs)}")


def check_csv(folder, records):
    names = list(dict.fromkeys(name for record in records for name in record))
    table = pandas.read_csv(folder / "metrics.csv")
    assert list(table.columns) == names, table.columns
    assert len(table) == len(records), table
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records), rows
    for record, (_, line), row in zip(records, table.iterrows(), rows, strict=True):
        for name in names:
            number = record.get(name)
            if number is None:
                assert pandas.isna(line[name]) and row[name] == "", (record, line, row)
            else:
                assert line[name] == number and type(number)(row[name]) == number, (name, record, line, row)


def check(folder, sessions):
    records = records_of(folder)
    assert [record["step"] for record in records] == list(range(1, 13)), records
    assert [record["step"] for record in records if "eval_loss" in record] == [4, 8, 12], records
    files = list((folder / "tensorboard").glob("events.out.tfevents.*"))
    assert len(files) == sessions, files
    check_tensorboard(folder, records)
    check_csv(folder, records)
    print(f"{folder.name}: TensorBoard, pandas and csv read the {len(records)} steps of metrics.jsonl")
    return records


def main():
    tb_logging.get_logger().setLevel("ERROR")  # it reports every restart that it finds
    engine = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        train(engine, work / "whole")
        whole = check(work / "whole", 1)
        runs = {"whole": whole}
        for kind, begin in (("killed", train_killed), ("interrupted", train_interrupted)):
            begin(engine, work / kind)
            train(engine, work / kind, "--resume")
            runs[kind] = check(work / kind, 2)
            assert [record["loss"] for record in runs[kind]] == [record["loss"] for record in whole]
        check_served(work, runs)
    print("ok")


if __name__ == "__main__":
    main()
