#!/usr/bin/env python3
"""How much of the gradient reduction a trace shows hidden behind backward.

Usage: overlap_of_trace.py RUN/trace.json [first step to count]

Per rank and step: the time of the background's "reduce" operations that lies inside the rank's backward tasks (B, I, W),
over the time of all of them. Prints the median over steps for each rank.
"""
import json
import re
import statistics
import sys


def spans(events, process, rank, pattern):
    return [(e["ts"], e["ts"] + e["dur"]) for e in events
            if e["ph"] == "X" and e["pid"] == process and e["tid"] == rank and re.fullmatch(pattern, e["name"])]


def inside(span, others):
    return sum(max(0.0, min(span[1], o[1]) - max(span[0], o[0])) for o in others)


def main():
    events = json.load(open(sys.argv[1]))
    skip = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    ranks = sorted({e["tid"] for e in events if e["ph"] == "X"})
    for rank in ranks:
        backward = spans(events, 0, rank, r"\d+[BIW]\d+")
        updates = [end for _, end in spans(events, 0, rank, "update")]
        reductions = spans(events, 1, rank, r"reduce \d+")
        shares, times, backs = [], [], []
        for begin, end in list(zip([0.0] + updates, updates))[skip:]:
            mine = [r for r in reductions if begin <= r[0] < end]
            if not mine:
                continue
            total = sum(b - a for a, b in mine)
            shares.append(sum(inside(r, backward) for r in mine) / total)
            times.append(total)
            backs.append(sum(b - a for a, b in backward if begin <= a < end))
        print(f"rank {rank}: {len(shares)} steps, {len(reductions) // max(1, len(updates))} buckets, "
              f"backward {statistics.median(backs) / 1e3:.1f} ms, reduction {statistics.median(times) / 1e3:.1f} ms, "
              f"hidden {100 * statistics.median(shares):.1f} % (median)")


main()
