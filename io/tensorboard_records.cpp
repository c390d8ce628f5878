#include "io/tensorboard_records.hpp"

#include <bit>
#include <cstring>

#include "base/crc32c.hpp"

namespace collie::tensorboard {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

template <class Number>
std::string bytes_of(Number number) {
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

// A checksum of checksums is weak, so TensorFlow stores them masked.
std::string masked_checksum(std::string_view bytes) {
  const uint32_t sum = crc32c(bytes);
  return bytes_of(((sum >> 15) | (sum << 17)) + 0xA282EAD8u);
}

// --- Protocol Buffers: https://protobuf.dev/programming-guides/encoding

enum WireType : uint64_t { varint = 0, eight_bytes = 1, with_length = 2, four_bytes = 5 };

std::string varint_of(uint64_t number) {
  std::string bytes;
  for (; number >= 0x80; number >>= 7) bytes += static_cast<char>((number & 0x7F) | 0x80);
  return bytes + static_cast<char>(number);
}

std::string key(uint64_t field, WireType type) {
  return varint_of(field << 3 | type);
}

std::string number_field(uint64_t field, int64_t number) {
  return key(field, varint) + varint_of(static_cast<uint64_t>(number));
}
std::string double_field(uint64_t field, double number) {
  return key(field, eight_bytes) + bytes_of(number);
}
std::string float_field(uint64_t field, float number) {
  return key(field, four_bytes) + bytes_of(number);
}
// A text, or a message.
std::string bytes_field(uint64_t field, std::string_view bytes) {
  return key(field, with_length) + varint_of(bytes.size()) + std::string(bytes);
}

// --- the messages, with the field numbers of event.proto, summary.proto and tensor.proto

std::string event(double time_s, int64_t step, const std::string& what) {
  return double_field(1, time_s) + number_field(2, step) + what;
}

std::string value_field(float number) {
  return float_field(2, number);  // Summary.Value.simple_value
}

std::string value_field(const std::string& text) {
  const std::string one_element = bytes_field(2, bytes_field(2, number_field(1, 1)));  // TensorProto.shape
  constexpr int64_t of_texts = 7;                                                      // DT_STRING
  const std::string tensor = number_field(1, of_texts) + one_element + bytes_field(8, text);
  const std::string metadata = bytes_field(1, bytes_field(1, "text"));  // SummaryMetadata.plugin_data
  return bytes_field(8, tensor) + bytes_field(9, metadata);
}

}  // namespace

std::string framed(std::string_view message) {
  const std::string length = bytes_of(static_cast<uint64_t>(message.size()));
  return length + masked_checksum(length) + std::string(message) + masked_checksum(message);
}

std::string version_record(double time_s) {
  return framed(double_field(1, time_s) + bytes_field(3, "brain.Event:2"));
}

std::string session_start_record(double time_s, int64_t step) {
  constexpr int64_t start = 1;  // SessionLog.START
  return framed(event(time_s, step, bytes_field(7, number_field(1, start))));
}

std::string summary_record(double time_s, int64_t step, const std::vector<TaggedValue>& values) {
  std::string summary;
  for (const auto& [tag, value] : values) {
    const std::string field = std::visit([](const auto& held) { return value_field(held); }, value);
    summary += bytes_field(1, bytes_field(1, tag) + field);
  }
  return framed(event(time_s, step, bytes_field(5, summary)));
}

}  // namespace collie::tensorboard
