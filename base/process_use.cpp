#include "base/process_use.hpp"

#include <charconv>
#include <chrono>
#include <fstream>
#include <random>
#include <sstream>

namespace collie {

namespace {

int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

uint64_t number_of_this_process() {
  static const uint64_t number = [] {
    std::random_device random;
    const uint64_t drawn = (static_cast<uint64_t>(random()) << 32) | random();
    return drawn != 0 ? drawn : 1;
  }();
  return number;
}

std::string text_of_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The number of the line "NAME:   123 kB"; -1 if there is none.
int64_t number_after(const std::string& text, const std::string& name) {
  const std::string key = name + ":";
  size_t at = text.starts_with(key) ? 0 : text.find("\n" + key);
  if (at == std::string::npos) return -1;
  at = text.find_first_of("0123456789\n", text.find(key, at) + key.size());
  if (at == std::string::npos || text[at] == '\n') return -1;
  int64_t number = -1;
  std::from_chars(text.data() + at, text.data() + text.size(), number);
  return number;
}

int64_t from_kib(int64_t kib) {
  return kib < 0 ? -1 : kib * 1024;
}

}  // namespace

ProcessUse use_of_this_process(const std::string& folder) {
  ProcessUse use;
  use.process = number_of_this_process();
  use.at_ns = steady_ns();
  const std::string status = text_of_file(folder + "/status"), io = text_of_file(folder + "/io");
  use.resident_bytes = from_kib(number_after(status, "VmRSS"));
  use.most_resident_bytes = from_kib(number_after(status, "VmHWM"));
  use.read_bytes = number_after(io, "read_bytes");
  use.written_bytes = number_after(io, "write_bytes");
  return use;
}

std::optional<ProcessUse> ProcessWatch::look() {
  constexpr int64_t between_ns = 500'000'000;
  if (last_ns_ != 0 && steady_ns() - last_ns_ < between_ns) return std::nullopt;
  ProcessUse use = use_of_this_process();
  last_ns_ = use.at_ns;
  return use;
}

}  // namespace collie
