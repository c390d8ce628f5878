// How far the tokenising of data files is, on the screen.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/screen.hpp"

namespace collie {

// Shows nothing of what takes less than two seconds. A terminal has one line that is rewritten; anything else
// gets a line every ten seconds.
class TokenisingProgress {
 public:
  // `bytes`: of all files. `start_s` as steady_seconds(), when reading begins.
  // `screen` is asked for when something is first shown: it costs a thread.
  TokenisingProgress(uint64_t bytes, std::function<Screen&()> screen, double start_s);
  ~TokenisingProgress();
  TokenisingProgress(const TokenisingProgress&) = delete;
  TokenisingProgress& operator=(const TokenisingProgress&) = delete;

  // `now_s` as steady_seconds().
  void show(uint64_t bytes, const std::string& path, double now_s);
  // The line that it would show, at most `columns` wide.
  std::string line(uint64_t bytes, const std::string& path, double now_s, int columns) const;

 private:
  uint64_t bytes_;
  std::function<Screen&()> screen_;
  double start_s_, shown_s_;
  bool open_ = false;  // a line that is rewritten is on the screen
};

}  // namespace collie
