#include "runtime/console.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/bytes.hpp"

namespace collie {
namespace {

constexpr double seconds_between_plain_lines = 5, seconds_between_rewrites = 0.1;

std::string duration(double seconds) {
  const auto total = static_cast<int64_t>(seconds + 0.5);
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

struct Part {
  std::string text;
  int rank = 0;  // rank of the part's importance; 0 is the most important
};

int width_of(const std::vector<Part>& parts) {
  int width = -2;
  for (const Part& part : parts) width += static_cast<int>(part.text.size()) + 2;
  return width;
}

// Joins as many of the parts, which are ASCII, as fit.
std::string fitted(std::vector<Part> parts, int columns) {
  while (parts.size() > 1 && width_of(parts) > columns)
    parts.erase(std::max_element(parts.begin(), parts.end(),
                                 [](const Part& a, const Part& b) { return a.rank < b.rank; }));
  std::string text;
  for (const Part& part : parts) text += (text.empty() ? "" : "  ") + part.text;
  return text.substr(0, static_cast<size_t>(std::max(columns, 0)));
}

}  // namespace

Console::Console(const std::string& setting, Screen& screen)
    : style_(setting == "none"                         ? Style::none
             : setting != "plain" && screen.rewrites() ? Style::progress
                                                       : Style::plain),
      screen_(screen) {}

std::string Console::line(const StepFinished& step, double now_s, int columns) {
  if (first_step_ == 0) {
    first_step_ = step.step;
    first_s_ = now_s;
  }
  std::vector<Part> parts = {
      {fmt::format("step {}/{}", step.step, step.total_steps), 0},
      {step.loss ? fmt::format("loss {:.4f}", static_cast<double>(*step.loss)) : "no targets", 1},
      {fmt::format("lr {:.2e}", static_cast<double>(step.lr)), 5},
      {fmt::format("norm {:.3f}", static_cast<double>(step.grad_norm)), 6},
      {fmt::format("{:.0f} tokens/s", static_cast<double>(step.tokens_per_second)), 4},
  };
  if (step.step > first_step_ && step.step < step.total_steps) {
    const double per_step_s = (now_s - first_s_) / static_cast<double>(step.step - first_step_);
    parts.push_back({duration(per_step_s * static_cast<double>(step.total_steps - step.step)) + " left", 3});
  }
  if (step.memory_bytes > 0)
    parts.push_back({human_bytes(step.memory_bytes), 7});  // unknown until a step is done
  if (step.evaluated)
    parts.push_back({fmt::format("eval loss {:.4f}", static_cast<double>(step.eval_loss)), 2});
  return fitted(std::move(parts), columns);
}

void Console::show(const StepFinished& step, double now_s) {
  if (style_ == Style::none) return;
  const bool always = step.evaluated || step.step == step.total_steps;
  const bool progress = style_ == Style::progress;
  // A terminal may begin a new line when its last column is written.
  constexpr int unlimited = 1 << 20;
  std::string text = line(step, now_s, progress ? screen_.columns() - 1 : unlimited);
  if (!always && now_s - last_s_ < (progress ? seconds_between_rewrites : seconds_between_plain_lines)) {
    unshown_ = std::move(text);
    return;
  }
  last_s_ = now_s;
  unshown_.clear();
  if (!progress) return screen_.write(text + "\n");
  screen_.rewrite(text);
  line_open_ = true;
  if (always) finish_line();
}

void Console::finish_line() {
  if (!line_open_) return;
  if (!unshown_.empty()) screen_.rewrite(unshown_);
  screen_.keep();
  line_open_ = false;
}

}  // namespace collie
