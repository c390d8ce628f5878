"""Checks that TensorBoard, pandas, Python's csv and Prometheus' own parser read of a run what metrics.jsonl says. Not
part of ctest.

    python check_sinks.py COLLIE_ENGINE        (needs tensorboard, pandas and prometheus-client: scripts/check_sinks.sh installs
                                            them)

Trains the quickstart's model for 12 steps: once without interruption, once killed and resumed, and once interrupted in an
evaluation, which the resume makes up for. Every number of metrics.jsonl must be in TensorBoard once, at its step, in single
precision, and in metrics.csv exactly. There must be no others.
"""

import csv
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy
import pandas
import prometheus_client.parser
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
    if "/" in name:
        return name
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


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def page_at(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            assert page.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", page.headers
            return page.read().decode()
    except urllib.error.URLError:
        return ""


def check_prometheus(engine, folder):
    """Reads the page of a run that goes on, and compares it with the record of the step that it shows."""
    port = free_port()
    arguments = command(engine, folder, "--set", f"monitor.prometheus=127.0.0.1:{port}", "--set", "parallel.dp_size=2")
    run = subprocess.Popen([*arguments, "--set", "train.steps=100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    values = {}
    while values.get(("collie_step", ()), 0) < 5:
        assert run.poll() is None, run.communicate()
        time.sleep(0.2)
        families = list(prometheus_client.parser.text_string_to_metric_families(page_at(port)))
        samples = [sample for family in families for sample in family.samples]
        values = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
        assert len(values) == len(samples), samples
        assert all(family.type in ("gauge", "counter") and family.documentation for family in families), families
    run.send_signal(signal.SIGINT)
    run.communicate()
    record = records_of(folder)[int(values["collie_step", ()]) - 1]
    for name, number in record.items():
        if number is not None and name != "eval_loss":
            front, slash, rest = name.partition("/")
            found = values[f"collie_{front}", (("name", rest),) if slash else ()]
            assert found == number, (name, found, number)
    assert values["collie_rank_compute_seconds", (("rank", "3"),)] > 0
    print(f"prometheus_client reads the {len(values)} samples of step {record['step']}")


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
        check_prometheus(engine, work / "scraped")
    print("ok")


if __name__ == "__main__":
    main()
