#include "runtime/text_set.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.hpp"
#include "io/continuation.hpp"
#include "runtime/answer_match.hpp"

namespace collie {

TextSet::TextSet(std::vector<TextTask> tasks, TextSettings settings,
                 std::shared_ptr<const Tokenizer> tokenizer, const std::vector<MetricConfig>& metrics)
    : tasks_(std::move(tasks)),
      settings_(std::move(settings)),
      tokenizer_(std::move(tokenizer)),
      scores_(metrics) {}

void TextSet::start(int64_t) {
  std::vector<Prompt> prompts;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    Prompt& prompt =
        prompts.emplace_back(Prompt{tasks_[i].prompt, settings_.max_new_tokens, settings_.sampling});
    prompt.sampling.seed = random_key(settings_.sampling.seed, fmt::format("sample {}", i));
  }
  generator_ = std::make_unique<GeneratorCore>(std::move(prompts), settings_.stop_ids, settings_.positions,
                                               settings_.at_once);
  generated_.assign(tasks_.size(), {});
}

std::optional<ProgramRequest> TextSet::next(Asker& asker) {
  if (generator_->finished()) return std::nullopt;
  return generator_->next(asker);
}

void TextSet::add(const ProgramReply& reply) {
  for (const GeneratorCore::Drawn& drawn : generator_->add(reply)) {
    generated_[drawn.prompt].push_back(drawn.token);
    if (settings_.stop.empty() || generator_->finished(drawn.prompt)) continue;
    const std::string text = continuation(*tokenizer_, tasks_[drawn.prompt].prompt, generated_[drawn.prompt]);
    if (first_stop(text) < text.size()) generator_->end(drawn.prompt);
  }
}

// Where the first of the stops begins, or the end of the text.
size_t TextSet::first_stop(const std::string& text) const {
  size_t first = text.size();
  for (const std::string& stop : settings_.stop) first = std::min(first, text.find(stop));
  return first;
}

std::string TextSet::text_of(size_t task) const {
  const std::string text = continuation(*tokenizer_, tasks_[task].prompt, generated_[task]);
  return text.substr(0, first_stop(text));
}

std::vector<NamedNumber> TextSet::results() const {
  SetScores scores = scores_;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    const TextTask& task = tasks_[i];
    const std::string text = text_of(i);
    if (task.options.empty())
      scores.add(TextSample{text, task.references});
    else
      scores.add(ClassSample{option_of_answer(text, task.options), task.label, {}});
  }
  return scores.results();
}

std::string TextSet::predictions() const {
  std::string lines;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    const TextTask& task = tasks_[i];
    const std::string text = text_of(i);
    nlohmann::ordered_json prediction = {{"set", settings_.name}, {"sample", i}, {"text", text}};
    if (task.options.empty()) {
      prediction["references"] = task.references;
    } else {
      prediction["predicted"] = option_of_answer(text, task.options);
      prediction["label"] = task.label;
    }
    lines += prediction_line(prediction);
  }
  return lines;
}

}  // namespace collie
