// Where there is little to learn from, or the data stand otherwise than the steps say: single tokens, steps
// without targets, steps whose size changes, runs that get longer, heads that are tied on paper alone.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/safetensors.hpp"
#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* edge_configuration = R"(run: {{name: edge, seed: 3}}
model:
  from_scratch: true
  config: {{model_type: llama, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4,
           num_key_value_heads: 2, max_position_embeddings: 64, tie_word_embeddings: {}}}
tokenizer: {{kind: byte}}
data:
  train: [{{path: data.jsonl, format: jsonl, {}}}]
  sequence_length: 16
  packing: false
  shuffle: false
train: {{micro_batch_size: 1, gradient_accumulation_steps: 2, clip_grad_norm: 0}}
optimizer: {{lr: 1.0e-2, weight_decay: 0}}
lr_scheduler: {{name: constant, warmup_steps: 0}}
monitor: {{tensorboard: false, csv: false, console: none}}
device: {{threads: 1}}
)";

constexpr const char* texts = "text: t";
constexpr const char* prompts = "prompt: p, completion: c";

// A folder whose runs read `lines`.
struct Edge : Workbench {
  Edge(const std::vector<json>& lines, const char* keys, bool tied = true) {
    write("config.yaml", fmt::format(edge_configuration, tied, keys));
    std::string all;
    for (const json& line : lines) all += line.dump() + "\n";
    write("data.jsonl", all);
  }
  std::vector<json> records(const std::string& run) const {
    std::vector<json> all;
    std::istringstream lines(text_of(*this / (run + "/metrics.jsonl")));
    for (std::string line; std::getline(lines, line);) all.push_back(json::parse(line));
    return all;
  }
  // The final model's tensors.
  std::map<std::string, std::string> weights(const std::string& folder) const {
    std::map<std::string, std::string> all;
    const SafetensorsFile file(*this / (folder + "/model.safetensors"));
    for (const StoredTensor& entry : file.tensors()) {
      const std::vector<std::byte> bytes = file.bytes(entry.name);
      all[entry.name] = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    return all;
  }
};

json line_of(const std::string& words) {
  json line;
  line["t"] = words;
  return line;
}

std::vector<json> repeated(const json& line, size_t count) {
  return std::vector<json>(count, line);
}

// Prompts of four windows, the answer in a fifth: most steps have no target.
std::vector<json> long_prompts() {
  std::vector<json> lines;
  for (int i = 0; i < 4; ++i)
    lines.push_back({{"p", std::string(static_cast<size_t>(70 + i % 2), static_cast<char>('a' + i))},
                     {"c", fmt::format("so {}", i * i)}});
  return lines;
}

bool scores_have_no_gradient(const std::string& name) {
  return name.find("q_proj") != std::string::npos || name.find("k_proj") != std::string::npos;
}

size_t times(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("documents of one token train everything but what queries and keys are made with", "[slow]") {
  const Edge bench(repeated(line_of(""), 24), texts);  // BOS, whose target is EOS
  const Settings layout =
      GENERATE(Settings{}, Settings{"data.packing=true"}, Settings{"parallel.pp_size=2"},
               Settings{"parallel.tp_size=2"}, Settings{"parallel.cp_size=2", "data.packing=true"},
               Settings{"parallel.dp_size=2", "parallel.zero_stage=3"});
  CAPTURE(layout);
  const Settings steps{"train.steps=3"};
  // Adam's steps do not depend on a gradient's size: of noise they would be as long as the rate.
  bench.train("fast", layout + steps);
  bench.train("slow", layout + steps + Settings{"optimizer.lr=1.0e-3"});
  const auto fast = bench.weights("fast/final"), slow = bench.weights("slow/final");
  for (const auto& [name, bytes] : fast) {
    CAPTURE(name);
    CHECK((bytes == slow.at(name)) == scores_have_no_gradient(name));
  }
  fs::remove_all(bench / "fast");
  fs::remove_all(bench / "slow");
}

TEST_CASE("a step without targets has no loss, changes nothing, and is counted", "[slow]") {
  const Edge bench(long_prompts(), prompts);
  const Outcome outcome = bench.run("run", {"train.epochs=2", "monitor.console=plain", "monitor.trace=true"});
  REQUIRE_CODE(outcome, 0);
  INFO(outcome.report());
  const std::vector<json> records = bench.records("run");
  REQUIRE(records.size() == 20);
  size_t without = 0;
  for (const json& record : records) {
    CAPTURE(record.dump());
    const bool has_targets = record.at("tokens") > 0;
    without += !has_targets;
    CHECK(record.at("loss").is_null() == !has_targets);
    CHECK((record.at("grad_norm") == 0.0) == !has_targets);
    CHECK(record.at("lr") == 1e-2);
  }
  REQUIRE(without == 12);
  CHECK(times(outcome.errors, "warning: step 1 has no target tokens") == 1);
  CHECK(times(outcome.errors, "has no target tokens") == 1);
  CHECK(times(outcome.errors, "warning: 12 of 20 steps had no target tokens") == 1);
  CHECK(times(outcome.errors, "16 of the 20 sequences of the first epoch have no target token") == 1);
  CHECK(has(outcome.errors, "step 1/20  no targets  lr"));
  CHECK(has(text_of(bench / "run/trace.json"), "step 1: no targets"));

  // Whatever momentum there is. Step by step: the final models of shorter runs.
  for (size_t step = 2; step <= 8; ++step)
    bench.train(fmt::format("to_{}", step), {fmt::format("train.steps={}", step)});
  for (size_t step = 3; step <= 8; ++step) {
    CAPTURE(step);
    CHECK((bench.weights(fmt::format("to_{}/final", step)) ==
           bench.weights(fmt::format("to_{}/final", step - 1))) == records[step - 1].at("loss").is_null());
  }
}

TEST_CASE("steps without targets are the same in every layout, and where a run is stopped in one", "[slow]") {
  const Edge bench(long_prompts(), prompts);
  const Settings steps{"train.epochs=2", "run.seed=5", "data.shuffle=true"};
  const Training expected = bench.train("one", steps);
  const std::vector<json> one = bench.records("one");
  CHECK_SAME(expected, bench.train("two", steps + Settings{"parallel.pp_size=2"}));
  for (const Settings& layout :
       {Settings{"parallel.tp_size=2"}, Settings{"parallel.cp_size=2"},
        Settings{"parallel.dp_size=2", "train.gradient_accumulation_steps=1", "parallel.zero_stage=3"}}) {
    CAPTURE(layout);
    bench.train("other", steps + layout);
    const std::vector<json> other = bench.records("other");
    REQUIRE(other.size() == one.size());
    for (size_t i = 0; i < one.size(); ++i) {
      CAPTURE(i, one[i].dump(), other[i].dump());
      CHECK(other[i].at("tokens") == one[i].at("tokens"));
      CHECK(other[i].at("loss").is_null() == one[i].at("loss").is_null());
      if (!one[i].at("loss").is_null())
        CHECK(other[i].at("loss").get<double>() == Approx(one[i].at("loss").get<double>()).epsilon(1e-5));
    }
    fs::remove_all(bench / "other");
  }
  for (int step = 1; step <= 6; ++step) {
    CAPTURE(step);
    bench.train("part", steps + Settings{fmt::format("train.steps={}", step)});
    const Outcome outcome = bench.resume("part", steps);
    REQUIRE_CODE(outcome, 0);
    INFO(outcome.report());
    CHECK_SAME(expected, bench.training("part"));
    CHECK(has(outcome.errors, fmt::format("of {} steps had no target tokens", one.size())));
    fs::remove_all(bench / "part");
  }
}

TEST_CASE("a resume with steps of another size goes on where the data stand", "[slow]") {
  std::vector<json> lines;
  for (int i = 0; i < 37; ++i) lines.push_back(line_of(std::string(static_cast<size_t>(1 + i % 29), 'x')));
  const Edge bench(lines, texts);
  const Settings epochs{"train.epochs=3", "data.shuffle=true"};
  const Settings packing = GENERATE(Settings{"data.packing=false"}, Settings{"data.packing=true"});
  CAPTURE(packing);
  bench.train("whole", epochs + packing);
  std::map<int, int> expected, found;  // targets by epoch
  for (const json& record : bench.records("whole"))
    expected[record.at("epoch")] += record.at("tokens").get<int>();
  REQUIRE(expected.size() == 3);

  const std::vector<std::pair<int, Settings>> parts{{5, {}},
                                                    {9, {"train.gradient_accumulation_steps=3"}},
                                                    {13, {"train.micro_batch_size=2", "parallel.dp_size=2"}},
                                                    {0, {"train.gradient_accumulation_steps=1"}}};
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto& [until, sizes] = parts[i];
    Settings settings = epochs + packing + sizes;
    if (until > 0) settings.push_back(fmt::format("train.steps={}", until));
    if (i > 0) check_refused(bench.resume("changed", settings), 2, {"train.sequences_a_step"});
    std::vector<std::string> flags;
    if (i > 0) flags = {"--resume", "--allow-change", "train.sequences_a_step"};
    REQUIRE_CODE(bench.run("changed", settings, flags), 0);
  }
  for (const json& record : bench.records("changed"))
    found[record.at("epoch")] += record.at("tokens").get<int>();
  CHECK(found == expected);
  // The last sizes are those of the run from here on.
  CHECK(has(bench.resume("changed", epochs + packing + parts.back().second).errors, "nothing to do"));
  fs::remove_all(bench / "whole");
  fs::remove_all(bench / "changed");
}

TEST_CASE("more steps on a resume are allowed, and that the learning rate jumps is said", "[slow]") {
  const Edge bench(repeated(line_of("some words and more"), 40), texts);
  const Settings cosine{"lr_scheduler.name=cosine", "lr_scheduler.min_lr_ratio=0.1"};
  bench.train("run", cosine + Settings{"train.steps=4"});
  const Outcome outcome = bench.resume("run", cosine + Settings{"train.steps=8"});
  REQUIRE_CODE(outcome, 0);
  INFO(outcome.report());
  CHECK(has(
      outcome.errors,
      "warning: the learning rate at step 5 is 3.78e-03 under 8 steps; under the 4 of before it had come, at "
      "step 4, to 1.00e-03"));
  CHECK(bench.records("run").at(4).at("lr").get<double>() == Approx(3.78e-3).epsilon(1e-3));
  // Nothing jumps: as many steps, or a rate that does not depend on them.
  CHECK_FALSE(has(bench.resume("run", cosine + Settings{"train.steps=8"}).errors, "learning rate"));
  bench.train("constant", {"train.steps=4"});
  CHECK_FALSE(has(bench.resume("constant", {"train.steps=8"}).errors, "learning rate"));
}

TEST_CASE("a model whose config is tied and whose head is not is loaded as its weights are", "[slow]") {
  const Edge bench(repeated(line_of("some words and more"), 8), texts, false);
  bench.train("run", {"train.steps=2"});
  const auto copy = [&](const std::string& name, bool tied) {
    bench.copy("run/final", name);
    json config = json::parse(text_of(bench / (name + "/config.json")));
    config["tie_word_embeddings"] = tied;
    bench.write(name + "/config.json", config.dump());
    return name;
  };
  const std::string untied = copy("untied", false), on_paper = copy("on_paper", true);
  const auto of = [](const std::string& model, const Settings& more = {}) {
    return Settings{"model.from_scratch=false", "model.config={}", "model.path=" + model, "train.steps=2",
                    "tokenizer.kind=byte"} +
           more;
  };
  const auto warns = [](const Outcome& outcome) {
    return has(outcome.errors, "tie_word_embeddings is true, but");
  };

  const Training expected = bench.train("as_untied", of(untied));
  for (const Settings& layout : {Settings{}, Settings{"parallel.pp_size=2"}}) {
    CAPTURE(layout);
    const Outcome outcome = bench.run("as_tied", of(on_paper, layout));
    REQUIRE_CODE(outcome, 0);
    INFO(outcome.report());
    CHECK(warns(outcome));
    CHECK_SAME(expected, bench.training("as_tied"));
    CHECK(json::parse(text_of(bench / "as_tied/final/config.json")).at("tie_word_embeddings") == false);
    const Outcome resumed =
        bench.run("as_tied", of(on_paper, layout + Settings{"train.steps=3"}), {"--resume"});
    REQUIRE_CODE(resumed, 0);
    fs::remove_all(bench / "as_tied");
  }
  for (const char* command : {"plan", "eval"}) {
    std::vector<std::string> words{command, "config.yaml",
                                   "--set", "run.dir=nowhere",
                                   "--set", "data.eval=[{path: data.jsonl, format: jsonl, text: t}]"};
    for (const auto& setting : of(on_paper)) {
      words.push_back("--set");
      words.push_back(setting);
    }
    const Outcome tied = bench.command(words);
    REQUIRE_CODE(tied, 0);
    CHECK(warns(tied));
    std::replace(words.begin(), words.end(), std::string("model.path=on_paper"),
                 std::string("model.path=untied"));
    const Outcome other = bench.command(words);
    CHECK_FALSE(warns(other));
    CHECK(tied.output == other.output);
  }
  const Outcome speech = bench.command({"generate", "--model", on_paper, "--prompt", "some"});
  CHECK(warns(speech));
  CHECK(speech.output == bench.command({"generate", "--model", untied, "--prompt", "some"}).output);

  // Who wants one matrix by name gets it, and is told what is lost.
  const Outcome forced = bench.run("forced", of(untied, {"model.config={tie_word_embeddings: true}"}));
  REQUIRE_CODE(forced, 0);
  CHECK(has(forced.errors, "lm_head.weight is ignored"));
  CHECK_FALSE(has(text_of(bench / "forced/final/model.safetensors"), "lm_head.weight"));
}

}  // namespace collie::test
