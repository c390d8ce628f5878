#include "io/tokenising_progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/bytes.hpp"
#include "base/quote.hpp"

namespace collie {

namespace {

constexpr double quiet_s = 2, between_rewrites_s = 0.1, between_lines_s = 10;

std::string duration(double seconds) {
  const auto total = static_cast<int64_t>(seconds + 0.5);
  return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

}  // namespace

TokenisingProgress::TokenisingProgress(uint64_t bytes, std::function<Screen&()> screen, double start_s)
    : bytes_(bytes), screen_(std::move(screen)), start_s_(start_s), shown_s_(start_s) {}

TokenisingProgress::~TokenisingProgress() {
  if (open_) screen_().keep();
}

std::string TokenisingProgress::line(uint64_t bytes, const std::string& path, double now_s,
                                     int columns) const {
  const double part = bytes_ == 0 ? 1 : static_cast<double>(bytes) / static_cast<double>(bytes_);
  const double passed = std::max(now_s - start_s_, 1e-3), rate = static_cast<double>(bytes) / passed;
  std::string text = fmt::format("tokenising  {:.0f} % of {}  {}/s", 100 * part, human_bytes(bytes_),
                                 human_bytes(static_cast<size_t>(rate)));
  if (rate > 0 && bytes < bytes_)
    text += fmt::format("  {} left", duration(static_cast<double>(bytes_ - bytes) / rate));
  const std::string with_path = text + "  " + shortened(path, 200);
  return static_cast<int>(with_path.size()) <= columns
             ? with_path
             : text.substr(0, static_cast<size_t>(std::max(columns, 0)));
}

void TokenisingProgress::show(uint64_t bytes, const std::string& path, double now_s) {
  if (now_s - start_s_ < quiet_s) return;
  Screen& screen = screen_();
  const bool rewrites = screen.rewrites();
  const double wait = !open_ && shown_s_ == start_s_ && rewrites ? quiet_s
                      : rewrites                                 ? between_rewrites_s
                                                                 : between_lines_s;
  if (now_s - shown_s_ < wait) return;
  shown_s_ = now_s;
  if (!rewrites) return screen.write(line(bytes, path, now_s, 1 << 20) + "\n");
  // A terminal may begin a new line when its last column is written.
  screen.rewrite(line(bytes, path, now_s, screen.columns() - 1));
  open_ = true;
}

}  // namespace collie
