// As what virtual tokens begin that are given by a text, against Hugging Face's peft
// (tests/golden/make_prompt_golden.py), and that are tokens of the vocabulary.
#include "plan/prompt_start.hpp"

#include <set>

#include "models/prompt_start.hpp"
#include "tests/catch.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/support.hpp"

namespace collie::test {
namespace {

RunPlan plan_of(const std::string& how, const std::string& text, int64_t tokens) {
  RunPlan plan;
  plan.tokenizer = load_tokenizer("", "byte");
  plan.config.peft.type = "prompt_tuning";
  plan.config.peft.prompt_tuning_init = how;
  plan.config.peft.prompt_tuning_init_text = text;
  ModelConfig config = tiny_config();
  config.vocab_size = 258;
  config.hidden_size = 4;
  config.embedding_scale = 2;
  plan.model = ModelSpec(config);
  plan.model.prompt = {PromptKind::embeddings, tokens};
  return plan;
}

}  // namespace

TEST_CASE("a text's tokens begin virtual tokens as in peft, repeated or cut", "[prompt][golden]") {
  const std::string folder = golden_folder + "peft/prompt_text";
  const nlohmann::json golden = read_json(folder + "/golden.json");
  const auto operations = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  for (size_t i = 0; i < golden["texts"].size(); ++i) {
    RunPlan plan = plan_of("TEXT", golden["texts"][i].get<std::string>(), golden["tokens"].get<int64_t>());
    choose_prompt_start(plan);
    for (const Parameter& parameter : stage_parameters(plan.model, {0, 0, true, false}, {})) {
      Tensor weight = operations->empty(parameter.shape, Category::weights);
      const bool is_prompt = parameter.name == prompt_tensor;
      REQUIRE(read_prompt_start(plan.model, parameter, WeightFolder(folder), *operations, weight) ==
              is_prompt);
      if (!is_prompt) continue;
      std::vector<float> expected;
      for (const nlohmann::json& row : golden["rows"][i])
        for (const nlohmann::json& value : row) expected.push_back(value.get<float>());
      CHECK(values(*operations, weight) == expected);
    }
  }
}

TEST_CASE("virtual tokens may begin as tokens that the seed chooses, or at random", "[prompt]") {
  RunPlan plan = plan_of("SAMPLE_VOCAB", "", 50);
  choose_prompt_start(plan);
  const std::vector<int32_t> chosen = plan.model.prompt.start_ids;
  REQUIRE(chosen.size() == 50);
  for (const int32_t id : chosen) CHECK((id >= 0 && id < 258));
  CHECK(std::set<int32_t>(chosen.begin(), chosen.end()).size() > 25);
  choose_prompt_start(plan);
  CHECK(plan.model.prompt.start_ids == chosen);
  plan.config.run.seed = 7;
  choose_prompt_start(plan);
  CHECK(plan.model.prompt.start_ids != chosen);
  plan.config.peft.prompt_tuning_init = "RANDOM";
  choose_prompt_start(plan);
  CHECK(plan.model.prompt.start_ids.empty());
}

}  // namespace collie::test
