// What a training run shows on the terminal: one line that is rewritten, or plain lines elsewhere.
#pragma once

#include <string>

#include "base/screen.hpp"
#include "runtime/events.hpp"

namespace collie {

class Console {
 public:
  // `setting`: monitor.console. auto and progress are a line that is rewritten where `screen` can do that,
  // and plain lines elsewhere; plain and none are what they say. `screen` outlives it.
  Console(const std::string& setting, Screen& screen);
  ~Console() { finish_line(); }

  // At most ten times a second, but steps that were evaluated and the last one always. `now_s`: steady
  // seconds.
  void show(const StepFinished& step, double now_s);
  void finish_line();

  // "step 12/200  loss 5.1234  lr 1.8e-04  1234 tokens/s  0:12 left  45.6 MiB", in at most `columns`: what
  // says least is left out first.
  std::string line(const StepFinished& step, double now_s, int columns);

 private:
  enum class Style { progress, plain, none };

  Style style_;
  Screen& screen_;
  bool line_open_ = false;
  std::string unshown_;  // came too soon after the one that is shown
  int64_t first_step_ = 0;
  double first_s_ = 0, last_s_ = -1e9;
};

}  // namespace collie
