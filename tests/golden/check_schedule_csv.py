"""Exchanges schedules with torch.distributed.pipelining (PyTorch 2.x) as CSV files.

  python check_schedule_csv.py dump            writes PyTorch's own schedules beside this script, schedule_*.csv
  python check_schedule_csv.py load FILE...    loads files that `collie-engine schedule --format csv` printed with
                                               PyTorch's loader and checks each: its rules, its sends and receives,
                                               its simulation; exit 1 where one is refused
  python check_schedule_csv.py compare ENGINE  the same with every schedule that ENGINE (build/release/collie-engine) has, at
                                               several sizes: PyTorch loads it, finds the makespan that the engine prints, and
                                               its own order is not faster at equal costs; exit 1 otherwise

No processes but the engine are started: the loader and the generators need only sizes, which a stand-in for the stages provides.
"""

import csv
import os
import re
import subprocess
import sys
import tempfile

import torch
from torch.distributed.pipelining import schedules as pp

HERE = os.path.dirname(os.path.abspath(__file__))
COMMUNICATION = (pp.SEND_F, pp.RECV_F, pp.SEND_B, pp.RECV_B)


class Stages:
    """What the loader asks of a runtime schedule, for a whole group at once."""

    def __init__(self, ranks, stages, micro_batches):
        self.pp_group_size = ranks
        self._num_stages = stages
        self._n_microbatches = micro_batches
        self._stages = []
        self.pipeline_order = {}
        self.pipeline_order_with_comms = {}
        self._max_active_stages = 3
        self._unshard_lookahead = "full"
        self._defer_pp_recv = False
        self._defer_reduce_grad_wait = False
        self._max_outstanding_sends = None
        self.stage_index_to_group_rank = {}


class Loader(Stages, pp._PipelineScheduleRuntime):
    pass


def load(path):
    with open(path, newline="") as file:
        actions = [pp._Action.from_str(cell) for row in csv.reader(file) for cell in row]
    with open(path, newline="") as file:
        ranks = sum(1 for _ in csv.reader(file))
    actions = [a for a in actions if a is not None]
    stages = 1 + max(a.stage_index for a in actions)
    micro_batches = 1 + max(a.microbatch_index for a in actions)
    loader = Loader(ranks, stages, micro_batches)
    communicates = any(not a.is_compute_op for a in actions)
    if communicates:
        # PyTorch lists its waits for sends too: they are added the way its own lowering does.
        rows = {}
        with open(path, newline="") as file:
            for rank, row in enumerate(csv.reader(file)):
                rows[rank] = [pp._Action.from_str(cell) for cell in row]
        for rank, row in rows.items():
            for action in row:
                loader.stage_index_to_group_rank.setdefault(action.stage_index, rank)
        loader._prepare_schedule_with_comms(pp._add_wait_send(rows), format="compute_comms")
    else:
        loader._load_csv(path, format="compute_only")
    # Its simulation knows compute, sends and receives, not the actions its lowering added for sharded parameters.
    known = {
        rank: [a for a in row if a.is_compute_op or a.computation_type in COMMUNICATION]
        for rank, row in loader.pipeline_order_with_comms.items()
    }
    steps = len(pp._simulate_comms_compute(known, lambda s: loader.stage_index_to_group_rank[s], stages)[0])
    print(f"{os.path.basename(path)}: {ranks} ranks, {stages} stages, {micro_batches} micro-batches, {steps} steps")
    computed = {rank: [a for a in row if a.is_compute_op] for rank, row in known.items()}
    pp._validate_schedule(computed, ranks, stages, micro_batches)
    return computed


def kind_of(action):
    """"F", "B", "I" or "W"; the enumeration's own names are others."""
    return re.fullmatch(r"\d+([A-Z_]+)\d+", str(action))[1]


def makespan(order, stages, duration):
    """Of PyTorch's lists, where only compute takes time: duration of "F", "B", "I" and "W" of a whole rank's stages."""
    lists = {rank: [p for a in row if a is not None for p in (a.sub_actions or [a])] for rank, row in order.items()}
    lists = {rank: [a for a in row if a.is_compute_op] for rank, row in lists.items()}
    share = len(lists) / stages
    ends, clocks, done = {}, dict.fromkeys(lists, 0), dict.fromkeys(lists, 0)

    def inputs(action):
        kind, stage, micro_batch = kind_of(action), action.stage_index, action.microbatch_index
        if kind == "W":
            return [("I", stage, micro_batch)]
        if kind == "F":
            return [("F", stage - 1, micro_batch)] if stage > 0 else []
        return [("F", stage, micro_batch)] + ([("I", stage + 1, micro_batch)] if stage + 1 < stages else [])

    progress = True
    while progress:
        progress = False
        for rank, row in lists.items():
            while done[rank] < len(row) and all(need in ends for need in inputs(row[done[rank]])):
                action = row[done[rank]]
                kind = kind_of(action)
                start = max([clocks[rank]] + [ends[need] for need in inputs(action)])
                clocks[rank] = start + duration[kind] * share
                ends["I" if kind == "B" else kind, action.stage_index, action.microbatch_index] = clocks[rank]
                done[rank] += 1
                progress = True
    assert all(done[rank] == len(row) for rank, row in lists.items()), "the lists deadlock"
    return max(clocks.values())


# PyTorch's 1F1B is left out: see dump().
THEIRS = {
    "interleaved_1f1b": pp.ScheduleInterleaved1F1B,
    "zbv": pp.ScheduleZBVZeroBubble,
    "dualpipe_v": pp.ScheduleDualPipeV,
}
COSTS = ((1, 1, 1), (1, 2, 1), (2, 2, 1), (3, 2, 1))  # F, B (input), W


def compare(engine):
    good = True
    for name in ("gpipe", "1f1b", "interleaved_1f1b", "zb_h1", "zbv", "dualpipe_v"):
        for ranks, micro_batches in ((1, 2), (2, 3), (2, 4), (3, 8), (4, 4), (4, 8), (4, 16), (8, 16), (8, 32)):
            if name == "dualpipe_v" and micro_batches < 2 * ranks - 1:
                continue
            good = compare_one(engine, name, ranks, micro_batches) and good
    sys.exit(0 if good else "some differ")


def compare_one(engine, name, ranks, micro_batches):
    command = [engine, "schedule", "--name", name, "--stages", str(ranks), "--microbatches", str(micro_batches)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"{name}_{ranks}_{micro_batches}.csv")
        with open(path, "w") as file:
            subprocess.run(command + ["--format", "csv"], stdout=file, check=True)
        order = load(path)
    stages = 1 + max(a.stage_index for row in order.values() for a in row)
    good = True
    for costs in COSTS:
        text = subprocess.run(
            command + ["--costs", ",".join(map(str, costs)) + ",0"], capture_output=True, text=True, check=True
        ).stdout
        printed = float(re.search(r"makespan ([0-9.e+]+)", text)[1])
        duration = {"F": costs[0], "I": costs[1], "W": costs[2], "B": costs[1] + costs[2]}
        found = makespan(order, stages, duration)
        theirs = their_makespan(name, ranks, micro_batches, duration)
        fits = abs(printed - found) < 1e-5 * found
        # Where p does not divide m PyTorch's interleaved groups are larger, which takes more than one credit. At
        # unequal costs zbv may be a constant half forward slower.
        binding = costs == (1, 1, 1) and micro_batches % ranks == 0
        slower = binding and theirs is not None and found > theirs
        good = good and fits and not slower
        print(
            f"  F, B, W = {costs}: printed {printed:g}, by PyTorch's lists {found:g}, PyTorch's own order "
            f"{'-' if theirs is None else format(theirs, 'g')}{'' if fits and not slower else '   WRONG'}"
        )
    return good


def their_makespan(name, ranks, micro_batches, duration):
    if name not in THEIRS:
        return None
    try:
        order = multi_stage_order(THEIRS[name], ranks, 2, micro_batches)
    except ValueError:  # sizes that PyTorch does not have
        return None
    return makespan(order, 2 * ranks, duration)


def write(name, order):
    with open(os.path.join(HERE, name), "w", newline="") as file:
        writer = csv.writer(file)
        for rank in sorted(order):
            writer.writerow(order[rank])


def dump():
    # Of PyTorch 2.15's Schedule1F1B the last rank's row starts at micro-batch 1 and ends beyond the last one; kept as it
    # is, as a file to refuse.
    for cls, name in ((pp.Schedule1F1B, "1f1b"), (pp.ScheduleGPipe, "gpipe")):
        for ranks, micro_batches in ((2, 4), (4, 8)):
            generator = cls.__new__(cls)
            generator._num_stages = ranks
            generator._n_microbatches = micro_batches
            write(f"schedule_{name}_{ranks}_{micro_batches}.csv", generator._get_pipeline_order())
    for cls, name in (
        (pp.ScheduleInterleaved1F1B, "interleaved_1f1b"),
        (pp.ScheduleInterleavedZeroBubble, "interleaved_zero_bubble"),
        (pp.ScheduleZBVZeroBubble, "zbv"),
        (pp.ScheduleDualPipeV, "dualpipe_v"),
    ):
        write(f"schedule_{name}_2_4.csv", multi_stage_order(cls, ranks=2, stages_per_rank=2, micro_batches=4))


def multi_stage_order(cls, ranks, stages_per_rank, micro_batches):
    """The generator's constructor, with stand-ins for the stages."""

    class Stage:
        num_stages = ranks * stages_per_rank
        group_size = ranks
        group_rank = 0
        stage_index_to_group_rank = None
        submod = torch.nn.Module()

        def __init__(self, stage_index):
            self.stage_index = stage_index

    stages = [Stage(i * ranks) for i in range(stages_per_rank)]
    if cls in (pp.ScheduleZBVZeroBubble, pp.ScheduleDualPipeV):
        stages = [Stage(0), Stage(2 * ranks - 1)]
    return cls(stages, micro_batches, loss_fn=lambda *_: None).pipeline_order


if __name__ == "__main__":
    if sys.argv[1:] == ["dump"]:
        dump()
    elif len(sys.argv) > 2 and sys.argv[1] == "load":
        for path in sys.argv[2:]:
            load(path)
    elif len(sys.argv) == 3 and sys.argv[1] == "compare":
        compare(sys.argv[2])
    else:
        sys.exit(__doc__)
