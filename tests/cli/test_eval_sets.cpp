// Sets of eval.sets in runs and in `eval`: the numbers, the predictions, resumes, and what is refused.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/workbench.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// One set of each kind, which a model of bytes can be asked.
Settings with_sets(const Workbench& bench) {
  bench.write("choices.jsonl", R"({"q": "the dog", "l": 0})"
                               "\n"
                               R"({"q": "rain", "l": "hills"})"
                               "\n"
                               R"({"q": "a quick", "l": 1})"
                               "\n");
  return {
      "eval.sets=[{name: held, path: held_out.txt}, "
      "{name: choice, kind: classification, path: choices.jsonl, prompt: q, options: [sheep, hills], "
      "label: l, predictions: true}, "
      "{name: said, kind: classification, path: choices.jsonl, prompt: q, options: [sheep, hills], "
      "label: l, method: text, max_new_tokens: 4}]"};
}

std::vector<json> lines_of(const std::string& file) {
  std::vector<json> all;
  std::stringstream lines(text_of(file));
  for (std::string line; std::getline(lines, line);) all.push_back(json::parse(line));
  return all;
}

json metrics_at(const Workbench& bench, const std::string& run, int64_t step) {
  for (const json& line : lines_of(bench / (run + "/metrics.jsonl")))
    if (line.at("step") == step) return line;
  return {};
}

}  // namespace

TEST_CASE("a run evaluates its sets, and trains with the same bits as without them") {
  const Workbench bench;
  const Settings sets = with_sets(bench);
  const Training without = bench.train("without");
  const Training with = bench.train("with", sets);
  CHECK_SAME(without, with);
  const json last = metrics_at(bench, "with", 12);
  CHECK(last.contains("eval_loss"));
  CHECK(last.at("eval/held/loss").get<double>() == Approx(last.at("eval_loss").get<double>()).epsilon(1e-12));
  CHECK(last.contains("eval/held/perplexity"));
  CHECK(last.contains("eval/choice/accuracy"));
  CHECK(last.contains("eval/said/accuracy"));
  CHECK_FALSE(metrics_at(bench, "with", 3).contains("eval/choice/accuracy"));
  for (const int step : {4, 8, 12}) {
    const auto predictions = lines_of(bench / fmt::format("with/eval/choice-{}.jsonl", step));
    REQUIRE(predictions.size() == 3);
    CHECK(predictions[1].at("label") == 1);
    CHECK(predictions[1].at("scores").size() == 2);
    double right = 0;
    for (const json& each : predictions) right += each.at("predicted") == each.at("label");
    CHECK(metrics_at(bench, "with", step).at("eval/choice/accuracy").get<double>() == Approx(right / 3));
  }
  CHECK_FALSE(fs::exists(bench / "with/eval/said-4.jsonl"));

  // `eval` of the same weights has the same numbers.
  const std::vector<std::string> adds = {"--set", "run.dir=with", "--set", sets[0]};
  std::vector<std::string> arguments = {"eval", "config.yaml", "--predictions", "p.jsonl"};
  arguments.insert(arguments.end(), adds.begin(), adds.end());
  const Outcome evaluated = bench.command(arguments);
  REQUIRE_CODE(evaluated, 0);
  const json all = json::parse(evaluated.output);
  CHECK(all.at("loss") == last.at("eval_loss"));
  CHECK(all.at("sets").at("choice").at("accuracy") == last.at("eval/choice/accuracy"));
  CHECK(all.at("sets").at("said").at("accuracy") == last.at("eval/said/accuracy"));
  CHECK(all.at("sets").at("held").at("loss") == last.at("eval/held/loss"));
  CHECK(lines_of(bench / "p.jsonl").size() == 6);
  arguments = {"eval", "config.yaml", "--only", "choice"};
  arguments.insert(arguments.end(), adds.begin(), adds.end());
  const Outcome one = bench.command(arguments);
  REQUIRE_CODE(one, 0);
  CHECK(json::parse(one.output) == json{{"sets", {{"choice", all.at("sets").at("choice")}}}});
}

TEST_CASE("a resume evaluates as the whole run does, and drops predictions of later steps") {
  const Workbench bench;
  const Settings sets = with_sets(bench) + Settings{"data.eval=[]"};
  require_done(bench.run("whole", sets));
  require_done(bench.run("cut", sets + Settings{"train.steps=8"}));
  fs::copy_file(bench / "cut/eval/choice-8.jsonl", bench / "cut/eval/choice-9.jsonl");  // not the run's
  require_done(bench.run("cut", sets, {"--resume"}));
  for (const int step : {4, 8, 12}) {
    CAPTURE(step);
    const json whole = metrics_at(bench, "whole", step), cut = metrics_at(bench, "cut", step);
    for (const char* name : {"eval/held/loss", "eval/choice/accuracy", "eval/said/accuracy"})
      if (step != 8)  // the schedule of the shorter run had another rate
        CHECK(whole.contains(name) == cut.contains(name));
    CHECK_FALSE(whole.contains("eval_loss"));
    CHECK(fs::exists(bench / fmt::format("cut/eval/choice-{}.jsonl", step)));
  }
  CHECK(fs::exists(bench / "cut/eval/choice-9.jsonl"));
  // From an earlier step on: what came after it is gone until it is made anew.
  require_done(bench.run("whole", sets + Settings{"train.steps=10"}, {"--resume=9"}));
  CHECK(fs::exists(bench / "whole/eval/choice-8.jsonl"));
  CHECK_FALSE(fs::exists(bench / "whole/eval/choice-12.jsonl"));
  CHECK(fs::exists(bench / "whole/eval/choice-10.jsonl"));
}

TEST_CASE("what is wrong with a set is refused before anything runs") {
  const Workbench bench;
  with_sets(bench);
  const auto refused = [&](const std::string& set, const std::vector<std::string>& parts) {
    INFO(set);
    check_refused(bench.run("run", {"eval.sets=[{" + set + "}]"}), 2, parts);
    CHECK_FALSE(fs::exists(bench / "run/config.resolved.yaml"));
  };
  const std::string choice =
      "name: c, kind: classification, path: choices.jsonl, prompt: q, options: [sheep, hills], label: l";
  refused("name: c, kind: clasification", {"eval.sets.0.kind", "'clasification'", "classification"});
  refused(choice + ", metrics: [acuracy]", {"eval.sets.0.metrics.0", "the nearest is accuracy"});
  refused(choice + ", metrics: [perplexity]", {"perplexity set", "classification set"});
  refused("name: c, kind: classification, path: choices.jsonl, prompt: text, options: [a, b], label: l",
          {"choices.jsonl:1: it has no key 'text'"});
  refused("name: c, kind: classification, path: choices.jsonl, prompt: q, options: [a, b], label: l",
          {"choices.jsonl:2: l is 'hills', which is no option"});
  refused("name: c, path: none/*.txt", {"none/*.txt"});
  bench.write("empty.jsonl", "\n");
  refused("name: c, kind: classification, path: empty.jsonl, prompt: q, options: [a, b], label: l",
          {"eval.sets.0.path: 'empty.jsonl' has no sample"});
  const std::string named = "eval.sets=[{name: choice, path: held_out.txt}]";
  check_refused(bench.command({"eval", "config.yaml", "--only", "chioce", "--set", named}), 2,
                {"--only: there is no set 'chioce'", "the nearest is choice", "data.eval"});
  bench.train("done", {"train.steps=1"});
  check_refused(
      bench.command({"eval", "config.yaml", "--predictions", "p", "--set", "run.dir=done", "--set", named}),
      2, {"--predictions: nothing that is evaluated has predictions"});
}

}  // namespace collie::test
