// The output of a training run on the terminal: one line that is rewritten, or plain lines elsewhere.
#pragma once

#include <string>

#include "base/screen.hpp"
#include "runtime/sinks/event.hpp"

namespace collie {

class Console {
 public:
  // `setting` is monitor.console. "auto" and "progress" rewrite one line if `screen` can do that, and print
  // plain lines otherwise. "plain" prints plain lines and "none" prints nothing. `total_steps` are those of
  // the run. `screen` must outlive the console.
  Console(const std::string& setting, int64_t total_steps, Screen& screen);
  ~Console() { finish_line(); }

  // Prints at most ten times per second. Evaluated steps and the last step are always printed. `now_s` is in
  // steady seconds.
  void show(const Event& event, double now_s);
  void finish_line();

  // Returns "step 12/200  loss 5.1234  lr 1.8e-04  1234 tokens/s  0:12 left  45.6 MiB", in at most `columns`
  // columns. The least important parts are dropped first.
  std::string line(const Event& event, double now_s, int columns);

 private:
  enum class Style { progress, plain, none };

  Style style_;
  int64_t total_steps_;
  Screen& screen_;
  bool line_open_ = false;
  std::string unshown_;  // a line that came too soon after the shown one
  int64_t first_step_ = 0;
  double first_s_ = 0, last_s_ = -1e9;
};

}  // namespace collie
