"""Makes tensorboard_events.bin: what TensorBoard's own writer puts into an event file.

    python make_tensorboard_golden.py

A version, the start of a session at step 3, steps 3 and 2^40 of the same scalars as torch.utils.tensorboard writes them
(simple_value), numbers of every kind that a float has, and a text. Times are fixed. Needs tensorboard alone (2.21.0 made it).
"""

import pathlib
import tempfile

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.record_writer import RecordWriter

HERE = pathlib.Path(__file__).parent
TEXT = "café, \"quoted\",\nsecond line"


def scalar(tag, number):
    return Summary.Value(tag=tag, simple_value=number)


def text(tag, words):
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    return Summary.Value(tag=tag, metadata=metadata, tensor=TensorProto(dtype="DT_STRING", tensor_shape=shape,
                                                                         string_val=[words.encode()]))


EVENTS = [
    Event(wall_time=1700000000.25, file_version="brain.Event:2"),
    Event(wall_time=1700000001.5, step=3, session_log=SessionLog(status=SessionLog.START)),
    Event(wall_time=1700000002.75, step=3, summary=Summary(value=[scalar("train/loss", 5.1234), scalar("train/lr", 3e-4)])),
    Event(wall_time=1700000003.0, step=1 << 40, summary=Summary(value=[
        scalar("zero", 0.0), scalar("negative", -1.5), scalar("tiny", 1e-45), scalar("nan", float("nan")),
        scalar("infinite", float("inf")), text("sample", TEXT)])),
]


def main():
    with tempfile.TemporaryFile() as file:
        writer = RecordWriter(file)
        for event in EVENTS:
            writer.write(event.SerializeToString())
        writer.flush()
        file.seek(0)
        (HERE / "tensorboard_events.bin").write_bytes(file.read())


if __name__ == "__main__":
    main()
