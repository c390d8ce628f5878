#include "runtime/sinks/console.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "runtime/events.hpp"
#include "runtime/sinks/sink.hpp"

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

bool is_of_set(const std::string& name) {
  return name.starts_with(evaluated_metric_prefix);
}

bool is_evaluation(const Event& event) {
  return event.find("eval_loss") != nullptr ||
         std::any_of(event.values.begin(), event.values.end(),
                     [](const auto& value) { return is_of_set(value.first); });
}

// "held_out perplexity 12.3456", after everything else in importance.
void add_set_metrics(const Event& event, std::vector<Part>& parts) {
  int rank = 8;
  for (const auto& [name, value] : event.values) {
    if (!is_of_set(name)) continue;
    std::string words = name.substr(std::string_view(evaluated_metric_prefix).size());
    std::replace(words.begin(), words.end(), '/', ' ');
    const auto number = event.number(name);
    parts.push_back({number ? fmt::format("{} {:.4f}", words, *number) : words + " -", rank++});
  }
}

// The sink's console writes to standard error.
class ConsoleSink final : public Sink {
 public:
  explicit ConsoleSink(const SinkSettings& settings)
      : console_(settings.config.monitor.console, settings.total_steps, standard_error()) {}
  void write(const Event& event) override { console_.show(event, steady_seconds()); }

 private:
  Console console_;
};

}  // namespace

SinkKind console_sink() {
  SinkKind kind;
  kind.make = [](const SinkSettings& settings) { return std::make_unique<ConsoleSink>(settings); };
  return kind;
}

Console::Console(const std::string& setting, int64_t total_steps, Screen& screen)
    : style_(setting == "none"                         ? Style::none
             : setting != "plain" && screen.rewrites() ? Style::progress
                                                       : Style::plain),
      total_steps_(total_steps),
      screen_(screen) {}

std::string Console::line(const Event& event, double now_s, int columns) {
  if (first_step_ == 0) {
    first_step_ = event.step;
    first_s_ = now_s;
  }
  const auto eval_loss = event.number("eval_loss");
  if (event.step == 0) {  // the evaluation before the first step
    std::vector<Part> parts = {{fmt::format("step 0/{}", total_steps_), 0}};
    if (eval_loss) parts.push_back({fmt::format("eval loss {:.4f}", *eval_loss), 1});
    add_set_metrics(event, parts);
    return fitted(std::move(parts), columns);
  }
  const auto loss = event.number("loss"), memory_bytes = event.number("memory_bytes");
  std::vector<Part> parts = {
      {fmt::format("step {}/{}", event.step, total_steps_), 0},
      {loss                    ? fmt::format("loss {:.4f}", *loss)
       : event.find("skipped") ? "no loss"
                               : "no targets",
       1},
      {fmt::format("lr {:.2e}", event.number("lr").value_or(0)), 5},
      {fmt::format("norm {:.3f}", event.number("grad_norm").value_or(0)), 6},
      {fmt::format("{:.0f} tokens/s", event.number("tokens_per_second").value_or(0)), 4},
  };
  if (event.step > first_step_ && event.step < total_steps_) {
    const double per_step_s = (now_s - first_s_) / static_cast<double>(event.step - first_step_);
    parts.push_back({duration(per_step_s * static_cast<double>(total_steps_ - event.step)) + " left", 3});
  }
  if (memory_bytes.value_or(0) > 0)  // unknown until a step is done
    parts.push_back({human_bytes(static_cast<size_t>(*memory_bytes)), 7});
  if (event.find("skipped")) parts.push_back({"skipped", 2});
  if (eval_loss) parts.push_back({fmt::format("eval loss {:.4f}", *eval_loss), 2});
  add_set_metrics(event, parts);
  return fitted(std::move(parts), columns);
}

void Console::show(const Event& event, double now_s) {
  if (style_ == Style::none) return;
  const bool always = is_evaluation(event) || event.step == total_steps_;
  const bool progress = style_ == Style::progress;
  // A terminal may begin a new line when its last column is written.
  constexpr int unlimited = 1 << 20;
  std::string text = line(event, now_s, progress ? screen_.columns() - 1 : unlimited);
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
