// What a training run shows on the terminal: one line that is rewritten, or plain lines elsewhere.
#pragma once

#include <cstdio>
#include <string>

#include "actors/events.hpp"

namespace collie {

class Console {
 public:
  enum class Style { progress, plain, none };
  // "auto": progress where `stream` is a terminal, else plain.
  static Style style_of(const std::string& setting, std::FILE* stream);

  Console(Style style, std::FILE* stream) : style_(style), stream_(stream) {}
  ~Console() { finish_line(); }

  // `now_s`: steady seconds, for the estimated time left.
  void show(const StepFinished& step, double now_s);
  void finish_line();

  // "step 12/200  loss 5.1234  lr 1.8e-04  1234 tokens/s  0:12 left  45.6 MiB"
  std::string line(const StepFinished& step, double now_s);

 private:
  Style style_;
  std::FILE* stream_;
  bool line_open_ = false;
  int64_t first_step_ = 0;
  double first_s_ = 0, last_plain_s_ = -1e9;
};

}  // namespace collie
