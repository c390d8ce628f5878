#include "plan/prompt_start.hpp"

#include "base/error.hpp"
#include "base/random.hpp"

namespace collie {
namespace {

std::vector<int32_t> tokens_of_text(const RunPlan& plan) {
  const std::vector<int32_t> tokens = plan.tokenizer->encode(plan.config.peft.prompt_tuning_init_text, true);
  if (tokens.empty())
    throw UserError("{}: its text has no token; some words are wanted",
                    plan.config.file.place("peft.prompt_tuning_init_text"));
  return tokens;
}

int32_t sampled_token(const RunPlan& plan, int64_t number) {
  const RandomStream stream(random_key(plan.config.run.seed, "initialise/virtual tokens"));
  const auto vocabulary = static_cast<uint64_t>(plan.model.architecture.vocab_size);
  return static_cast<int32_t>(stream.below(vocabulary, static_cast<uint64_t>(number)));
}

}  // namespace

void choose_prompt_start(RunPlan& plan) {
  SoftPrompt& prompt = plan.model.prompt;
  const std::string& how = plan.config.peft.prompt_tuning_init;
  prompt.start_ids.clear();
  if (prompt.kind != PromptKind::embeddings || !plan.config.peft.path.empty() || how == "RANDOM") return;
  const std::vector<int32_t> text = how == "TEXT" ? tokens_of_text(plan) : std::vector<int32_t>();
  for (int64_t i = 0; i < prompt.tokens; ++i)
    prompt.start_ids.push_back(text.empty() ? sampled_token(plan, i)
                                            : text[static_cast<size_t>(i) % text.size()]);
}

}  // namespace collie
