// What the commands print on standard output is what they were asked for and nothing else; final/ is a model
// like any other.
#include <nlohmann/json.hpp>

#include "tests/cli/workbench.hpp"

namespace collie::test {

TEST_CASE("a finished run prints nothing on standard output, and its final model speaks") {
  const Workbench bench;
  const Outcome run = bench.run("run", {"train.steps=3"});
  REQUIRE_CODE(run, 0);
  CHECK(run.output.empty());
  for (const char* file : {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"})
    CHECK_FALSE(text_of(bench / (std::string("run/final/") + file)).empty());

  const auto generate = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"generate", "--model",          "run/final", "--prompt",
                                          "the dog",  "--max-new-tokens", "20"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = bench.command(arguments);
    REQUIRE_CODE(outcome, 0);
    INFO(outcome.report());
    CHECK(outcome.errors.empty());
    REQUIRE_FALSE(outcome.output.empty());
    CHECK(outcome.output.back() == '\n');
    return outcome.output;
  };
  const std::string greedy = generate({});
  CHECK(generate({"--set", "parallel.pp_size=4"}) == greedy);
  CHECK(generate({"--set", "device.threads=1"}) == greedy);
  const std::vector<std::string> drawn = {"--temperature", "1.5", "--seed",  "3",
                                          "--top-k",       "50",  "--top-p", "0.95"};
  std::vector<std::string> drawn_on_two = drawn;
  drawn_on_two.insert(drawn_on_two.end(), {"--set", "parallel.pp_size=2"});
  CHECK(generate(drawn) == generate(drawn));
  CHECK(generate(drawn) == generate(drawn_on_two));
  CHECK(generate(drawn) != generate({"--temperature", "1.5", "--seed", "4"}));

  // The model's own settings count where no option does.
  bench.write(
      "run/final/generation_config.json",
      R"({"do_sample": true, "temperature": 1.5, "top_p": 0.95, "repetition_penalty": 1.0, "num_beams": 4})");
  const auto as_file = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"generate", "--model",          "run/final", "--prompt",
                                          "the dog",  "--max-new-tokens", "20"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return bench.command(arguments);
  };
  const Outcome sampled = as_file({"--seed", "3"});
  CHECK(sampled.output == as_file(drawn).output);  // top_k is 50, as in transformers
  CHECK(sampled.errors.find("draws tokens as run/final/generation_config.json says (temperature 1.5") !=
        std::string::npos);
  CHECK(sampled.errors.find("num_beams (4)") != std::string::npos);
  CHECK(as_file({"--temperature", "0"}).output == greedy);
  // A penalty needs the text's tokens where tokens are drawn, also behind another stage.
  bench.write("run/final/generation_config.json", R"({"repetition_penalty": 1.8})");
  const Outcome penalised = as_file({});
  REQUIRE_CODE(penalised, 0);
  CHECK(penalised.output != greedy);
  CHECK(as_file({"--set", "parallel.pp_size=2"}).output == penalised.output);
}

TEST_CASE("a run in bfloat16 on the CPU is planned and evaluated, and its final model speaks") {
  const Workbench bench;
  const std::vector<std::string> on_cpu = {"model.dtype=bfloat16", "device.kind=cpu"};
  const auto with = [&](const std::string& more) {
    std::vector<std::string> settings = on_cpu;
    settings.push_back(more);
    return settings;
  };
  REQUIRE_CODE(bench.run("run", with("train.steps=3")), 0);
  const std::vector<std::string> generate = {"generate", "--model",          "run/final", "--prompt",
                                             "the dog",  "--max-new-tokens", "20"};
  const Outcome speech = bench.command(generate);
  REQUIRE_CODE(speech, 0);
  CHECK_FALSE(speech.output.empty());
  std::vector<std::string> narrow = generate;
  narrow.insert(narrow.end(), {"--set", "model.dtype=bfloat16", "--set", "device.kind=cpu"});
  const Outcome in_bfloat16 = bench.command(narrow);
  REQUIRE_CODE(in_bfloat16, 0);
  narrow.insert(narrow.end(), {"--set", "parallel.pp_size=2"});
  CHECK(bench.command(narrow).output == in_bfloat16.output);
  const std::vector<std::string> of_run = {"config.yaml", "--set", "run.dir=run", "--set",
                                           on_cpu[0],     "--set", on_cpu[1]};
  std::vector<std::string> evaluate = of_run, plan = of_run;
  evaluate.insert(evaluate.begin(), "eval");
  plan.insert(plan.begin(), "plan");
  REQUIRE_CODE(bench.command(evaluate), 0);
  const Outcome planned = bench.command(plan);
  REQUIRE_CODE(planned, 0);
  CHECK(has(planned.output, "bfloat16"));
}

TEST_CASE("eval prints one JSON object: the loss that training saw at its last checkpoint") {
  const Workbench bench;
  const Training training = bench.train("run");  // evaluates at step 12, its last
  const auto evaluate = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"eval", "config.yaml", "--set", "run.dir=run"});
    const Outcome outcome = bench.command(more);
    REQUIRE_CODE(outcome, 0);
    INFO(outcome.report());
    CHECK(outcome.output.find('\n') == outcome.output.size() - 1);
    return outcome.output;
  };
  const std::string text = evaluate({});
  const auto metrics = nlohmann::json::parse(text);
  CHECK(metrics.size() == 3);
  CHECK(metrics.at("loss").dump() == training.steps.back().at("eval_loss"));
  CHECK(metrics.at("perplexity").get<double>() == Approx(std::exp(metrics.at("loss").get<double>())));
  CHECK(metrics.at("tokens").get<int64_t>() ==
        static_cast<int64_t>(text_of(bench / "held_out.txt").size()) + 1);
  CHECK(evaluate({"--set", "parallel.pp_size=1"}) == text);
  CHECK(evaluate({"--set", "parallel.pp_size=4", "--set", "device.threads=1"}) == text);
  // The same weights as a model of its own.
  CHECK(evaluate({"--checkpoint", "base", "--set", "model.path=run/final", "--set",
                  "model.from_scratch=false", "--set", "model.config={}", "--set", "tokenizer.kind=auto"}) ==
        text);
}

TEST_CASE("training goes on from a final model") {
  const Workbench bench;
  bench.train("run", {"train.steps=2"});
  const Settings from_final = {"model.path=run/final", "model.from_scratch=false", "model.config={}",
                               "tokenizer.kind=auto", "train.steps=2"};
  CHECK_SAME(bench.train("one", from_final + Settings{"parallel.pp_size=1"}), bench.train("two", from_final));
}

TEST_CASE("help and version are printed on standard output, with exit code 0") {
  for (const char* flag : {"--help", "--version"}) {
    const Outcome outcome = run_command({flag});
    INFO(outcome.report());
    CHECK(outcome.code == 0);
    CHECK_FALSE(outcome.output.empty());
    CHECK(outcome.errors.empty());
  }
}

}  // namespace collie::test
