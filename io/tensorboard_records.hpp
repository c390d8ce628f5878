// The records of TensorBoard's event files (events.out.tfevents.*). A file is a sequence of TensorFlow's
// records (tensorflow/core/lib/io/record_writer.h), and each holds an Event message
// (tensorboard/compat/proto/event.proto) in the wire format of Protocol Buffers. The first record of a file
// is the version's. A torn last record is something that readers expect.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace collie::tensorboard {

// A tag ("train/loss") with its value. A number is a scalar in single precision, in the form that every
// reader knows (simple_value). A text is for TensorBoard's page of texts.
using TaggedValue = std::pair<std::string, std::variant<float, std::string>>;

// Times are in seconds since 1970.
std::string version_record(double time_s);

// Says that a process goes on at `step`: readers drop what they have of this step and later ones.
std::string session_start_record(double time_s, int64_t step);

std::string summary_record(double time_s, int64_t step, const std::vector<TaggedValue>& values);

// Frames any message: its length, the length's checksum, the message, its checksum.
std::string framed(std::string_view message);

}  // namespace collie::tensorboard
