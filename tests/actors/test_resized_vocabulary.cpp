// A folder's model with another number of tokens (model.resize_vocabulary), in every layout.
#include "io/files.hpp"
#include "io/weight_folder.hpp"
#include "tests/actors/adapter_runs.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

namespace collie::test {
namespace {

MathsOptions maths_of(bool tied) {
  MathsOptions maths{tied, true, false, 16, 2};
  maths.peft = "lora";  // so that there is a base
  return maths;
}

Config resized_config(const TemporaryFolder& folder, bool tied, const LayoutOptions& layout, int64_t tokens,
                      int64_t steps) {
  Config config = layout_config(folder, maths_of(tied), layout, steps);
  config.peft = {};
  config.model.resize_vocabulary = tokens;
  return config;
}

LayoutOutcome outcome_of(const TemporaryFolder& folder, bool tied, const LayoutOptions& first,
                         const LayoutOptions& then) {
  LayoutOutcome outcome;
  for (const auto& [layout, steps] : {std::pair(first, 2), std::pair(then, 4)})
    run_to_the_end(plan_training(resized_config(folder, tied, layout, 264, steps),
                                 steps == 2 ? ExistingRun::discard : ExistingRun::resume),
                   outcome);
  return outcome;
}

}  // namespace

TEST_CASE("resized vocabulary: every layout trains as one rank does, and final/ has the new size",
          "[actors][vocabulary]") {
  const bool tied = GENERATE(true, false);
  const TemporaryFolder folder;
  write_texts(folder);
  write_base(folder, maths_of(tied));
  const LayoutOutcome expected = outcome_of(folder, tied, {}, {});
  for (const auto& [first, then] : {std::pair(LayoutOptions{1, 1, 2, 1, "1f1b", 0}, LayoutOptions{}),
                                    {{1, 4, 1, 1, "1f1b", 0, true}, {2, 2, 1, 1, "1f1b", 3}},
                                    {{2, 1, 2, 1, "zbv", 1}, {1, 2, 1, 2, "1f1b"}}}) {
    INFO(first.name() << ", then " << then.name());
    CHECK(complaint_of(outcome_of(folder, tied, first, then), expected, first.bitwise() && then.bitwise()) ==
          "");
  }
  const std::string final_folder = (folder / "run/final").string();
  CHECK(nlohmann::json::parse(read_text_file(final_folder + "/config.json"))["vocab_size"] == 264);
  CHECK(WeightFolder(final_folder).find("model.embed_tokens.weight").tensor->shape ==
        std::vector<int64_t>{264, 32});
}

TEST_CASE("resized vocabulary: an evaluation of the folder counts the new tokens among those that may come",
          "[actors][vocabulary]") {
  const TemporaryFolder folder;
  write_texts(folder);
  write_base(folder, maths_of(true));
  const auto loss_with = [&](int64_t tokens) {
    Config config = resized_config(folder, true, {}, tokens, 1);
    config.run.dir.clear();
    config.data.eval = config.data.train;
    return evaluated_loss(plan_evaluation(config, CheckpointChoice::base()));
  };
  const double loss = loss_with(0), more = loss_with(300), fewer = loss_with(258);
  CHECK(loss_with(260) == loss);
  CHECK(more > loss + 0.05);  // 40 tokens of 300 that never come
  CHECK(more < loss + 0.5);
  CHECK(fewer < loss);
}

TEST_CASE("resized vocabulary: what cannot be is refused", "[actors][vocabulary]") {
  const TemporaryFolder folder;
  write_texts(folder);
  write_base(folder, maths_of(true));
  const auto refusal = [&](const std::function<void(Config&)>& change) {
    Config config = resized_config(folder, true, {}, 264, 2);
    change(config);
    return refusal_of(config);
  };
  CHECK(refusal([](Config&) {}) == "");
  CHECK_THAT(refusal([](Config& c) { c.model.resize_vocabulary = 200; }),
             contains("model.resize_vocabulary: vocab_size is 200, but the tokenizer has 258 tokens"));
  CHECK_THAT(refusal([](Config& c) { c.parallel.tp_size = 16; }), contains("tp_size"));
  CHECK_THAT(refusal([](Config& c) {
               c.model.from_scratch = true;
               c.model.config = {{"vocab_size", 260}};
             }),
             contains("model.resize_vocabulary: given beside model.from_scratch"));
}

}  // namespace collie::test
