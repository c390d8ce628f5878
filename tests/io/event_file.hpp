// Reads TensorBoard's event files for tests, without the engine's code: records of TensorFlow, checked bit by
// bit, and the few messages of Protocol Buffers that a run writes.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace collie::test {

struct ReadEvent {
  double time_s = 0;
  int64_t step = 0;
  std::string version;
  bool starts_session = false;
  std::vector<std::pair<std::string, float>> scalars;
  std::map<std::string, std::string> texts;
};

class EventFileReader {
 public:
  // `torn`: whether the last record is not whole.
  static std::vector<ReadEvent> read(std::string_view bytes, bool* torn = nullptr) {
    std::vector<ReadEvent> events;
    if (torn != nullptr) *torn = false;
    while (!bytes.empty()) {
      const uint64_t length = bytes.size() < 12 ? 0 : number<uint64_t>(bytes, 0);
      if (bytes.size() < 12 || bytes.size() - 12 < length + 4) {
        if (torn == nullptr) throw std::runtime_error("a record is not whole");
        *torn = true;
        break;
      }
      if (number<uint32_t>(bytes, 8) != masked(bytes.substr(0, 8)))
        throw std::runtime_error("a length's checksum is wrong");
      const std::string_view message = bytes.substr(12, length);
      if (number<uint32_t>(bytes, 12 + length) != masked(message))
        throw std::runtime_error("a message's checksum is wrong");
      events.push_back(event_of(message));
      bytes.remove_prefix(16 + length);
    }
    return events;
  }

 private:
  struct Field {
    uint64_t number = 0, integer = 0;  // `integer`: of a varint, or the bits of a fixed number
    std::string_view bytes;
  };

  template <class Number>
  static Number number(std::string_view bytes, size_t at) {
    Number value;
    std::memcpy(&value, bytes.substr(at, sizeof value).data(), sizeof value);
    return value;
  }

  static uint32_t masked(std::string_view bytes) {
    uint32_t sum = ~0u;
    for (const char byte : bytes) {
      sum ^= static_cast<unsigned char>(byte);
      for (int bit = 0; bit < 8; ++bit) sum = (sum & 1) != 0 ? (sum >> 1) ^ 0x82F63B78u : sum >> 1;
    }
    sum = ~sum;
    return ((sum >> 15) | (sum << 17)) + 0xA282EAD8u;
  }

  static uint64_t varint(std::string_view& bytes) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes.at(0));
      bytes.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    throw std::runtime_error("a number is too long");
  }

  static std::vector<Field> fields_of(std::string_view bytes) {
    std::vector<Field> fields;
    while (!bytes.empty()) {
      Field field;
      const uint64_t key = varint(bytes);
      field.number = key >> 3;
      size_t length = 0;
      switch (key & 7) {
        case 0:
          field.integer = varint(bytes);
          break;
        case 1:
          length = 8;
          field.integer = number<uint64_t>(bytes, 0);
          break;
        case 2:
          length = varint(bytes);
          break;
        case 5:
          length = 4;
          field.integer = number<uint32_t>(bytes, 0);
          break;
        default:
          throw std::runtime_error("an unknown type of field");
      }
      if (length > bytes.size()) throw std::runtime_error("a field is longer than its message");
      field.bytes = bytes.substr(0, length);
      bytes.remove_prefix(length);
      fields.push_back(field);
    }
    return fields;
  }

  static std::string_view bytes_in(std::string_view message, uint64_t number) {
    for (const Field& field : fields_of(message))
      if (field.number == number) return field.bytes;
    throw std::runtime_error("a field is missing");
  }

  static void add_value(std::string_view message, ReadEvent& event) {
    std::string name;
    for (const Field& field : fields_of(message)) {
      if (field.number == 1) name = field.bytes;
      if (field.number == 2) event.scalars.emplace_back(name, number<float>(field.bytes, 0));
      if (field.number == 8) event.texts[name] = bytes_in(field.bytes, 8);
      if (field.number == 9 && bytes_in(bytes_in(field.bytes, 1), 1) != "text")
        throw std::runtime_error("not the plugin of texts");
    }
  }

  static ReadEvent event_of(std::string_view message) {
    ReadEvent event;
    for (const Field& field : fields_of(message)) {
      if (field.number == 1) event.time_s = number<double>(field.bytes, 0);
      if (field.number == 2) event.step = static_cast<int64_t>(field.integer);
      if (field.number == 3) event.version = field.bytes;
      if (field.number == 5)
        for (const Field& value : fields_of(field.bytes)) add_value(value.bytes, event);
      if (field.number == 7) event.starts_session = fields_of(field.bytes).at(0).integer == 1;
    }
    return event;
  }
};

// What TensorBoard shows of event files in the order of their names: the start of a session drops the values
// of its step and of later ones, unless it is the first start.
class ShownEvents {
 public:
  void add(const std::vector<ReadEvent>& events) {
    for (const ReadEvent& event : events) {
      if (event.starts_session && has_started_)
        for (auto& [name, steps] : scalars_) steps.erase(steps.lower_bound(event.step), steps.end());
      has_started_ = has_started_ || event.starts_session;
      for (const auto& [name, value] : event.scalars) scalars_[name][event.step].push_back(value);
    }
  }
  // [tag][step]; a step with more than one value has contradicting ones or the same one twice.
  const std::map<std::string, std::map<int64_t, std::vector<float>>>& scalars() const { return scalars_; }

 private:
  std::map<std::string, std::map<int64_t, std::vector<float>>> scalars_;
  bool has_started_ = false;
};

}  // namespace collie::test
