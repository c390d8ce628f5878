// A set whose prompts are continued: the texts are compared with references, or say which option is chosen.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/tokenizer.hpp"
#include "runtime/generator_core.hpp"
#include "runtime/set_core.hpp"

namespace collie {

struct TextTask {
  std::vector<int32_t> prompt;          // tokens; not empty, and fewer than the model's positions
  std::vector<std::string> references;  // of a generation
  std::vector<std::string> options;     // of a classification: normalised_answer() of each
  int64_t label = 0;
};

// How the texts of a set are generated.
struct TextSettings {
  std::string name;  // of the set
  int64_t max_new_tokens = 128;
  Sampling sampling;              // each sample has a seed of its own, made from this one and its number
  std::vector<std::string> stop;  // a text ends before the first of them
  std::vector<int32_t> stop_ids;
  int64_t at_once = 16;   // texts that are decoded together, by all replicas
  int64_t positions = 0;  // of the model
};

class TextSet final : public SetCore {
 public:
  TextSet(std::vector<TextTask> tasks, TextSettings settings, std::shared_ptr<const Tokenizer> tokenizer,
          const std::vector<MetricConfig>& metrics);

  void start(int64_t step) override;
  std::optional<ProgramRequest> next(Asker& asker) override;
  void add(const ProgramReply& reply) override;
  std::vector<NamedNumber> results() const override;
  std::string predictions() const override;
  bool decodes() const override { return true; }

 private:
  std::string text_of(size_t task) const;
  size_t first_stop(const std::string& text) const;

  std::vector<TextTask> tasks_;
  TextSettings settings_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  SetScores scores_;
  std::unique_ptr<GeneratorCore> generator_;
  std::vector<std::vector<int32_t>> generated_;  // [tasks]
};

}  // namespace collie
