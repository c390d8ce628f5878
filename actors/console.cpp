#include "actors/console.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "actors/summary.hpp"

namespace collie {
namespace {

constexpr double seconds_between_plain_lines = 5;

std::string duration(double seconds) {
  const auto total = static_cast<int64_t>(seconds + 0.5);
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

}  // namespace

Console::Style Console::style_of(const std::string& setting, std::FILE* stream) {
  if (setting == "progress") return Style::progress;
  if (setting == "plain") return Style::plain;
  if (setting == "none") return Style::none;
  return ::isatty(::fileno(stream)) ? Style::progress : Style::plain;
}

std::string Console::line(const StepFinished& step, double now_s) {
  if (first_step_ == 0) {
    first_step_ = step.step;
    first_s_ = now_s;
  }
  std::string text =
      fmt::format("step {}/{}  {}  lr {:.2e}  norm {:.3f}  {:.0f} tokens/s", step.step, step.total_steps,
                  step.loss ? fmt::format("loss {:.4f}", static_cast<double>(*step.loss)) : "no targets",
                  static_cast<double>(step.lr), static_cast<double>(step.grad_norm),
                  static_cast<double>(step.tokens_per_second));
  if (step.step > first_step_ && step.step < step.total_steps) {
    const double per_step_s = (now_s - first_s_) / static_cast<double>(step.step - first_step_);
    text += "  " + duration(per_step_s * static_cast<double>(step.total_steps - step.step)) + " left";
  }
  if (step.memory_bytes > 0) text += "  " + human_bytes(step.memory_bytes);  // unknown until a step is done
  if (step.evaluated) text += fmt::format("  eval loss {:.4f}", static_cast<double>(step.eval_loss));
  return text;
}

void Console::show(const StepFinished& step, double now_s) {
  if (style_ == Style::none) return;
  const std::string text = line(step, now_s);
  if (style_ == Style::progress) {
    fmt::print(stream_, "\r\033[K{}", text);
    line_open_ = true;
    if (step.evaluated || step.step == step.total_steps) finish_line();
    std::fflush(stream_);
    return;
  }
  const bool due = now_s - last_plain_s_ >= seconds_between_plain_lines;
  if (!due && !step.evaluated && step.step != step.total_steps) return;
  last_plain_s_ = now_s;
  fmt::print(stream_, "{}\n", text);
  std::fflush(stream_);
}

void Console::finish_line() {
  if (!line_open_) return;
  fmt::print(stream_, "\n");
  std::fflush(stream_);
  line_open_ = false;
}

}  // namespace collie
