// Sets of eval.sets on plain threads: against transformers (tests/golden/make_evaluation_golden.py), under
// every layout, and between the steps of a training.
#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "kernels/reference/reference_operations.hpp"
#include "models/loss.hpp"
#include "plan/evaluation_sets.hpp"
#include "runtime/answer_match.hpp"
#include "runtime/decoding_share.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/paths.hpp"
#include "tests/runtime/recorders.hpp"
#include "tests/runtime/threaded_run.hpp"
#include "tests/runtime/tiny_run.hpp"

namespace collie::test {
namespace {

using nlohmann::json;

const json& golden() {
  static const json all = json::parse(bytes_of(golden_file("evaluation/evaluation.json")));
  return all;
}

EvalSet set_of(const std::string& name, const std::string& kind, const std::filesystem::path& path) {
  EvalSet set;
  set.name = name;
  set.kind = kind;
  set.source.path = path.string();
  return set;
}

// The samples of the golden, as files; every set that it has something to say about.
std::vector<EvalSet> golden_sets(const TemporaryFolder& folder) {
  std::string lines;
  for (const json& text : golden()["perplexity"]["texts"]) lines += json{{"t", text}}.dump() + "\n";
  EvalSet losses = set_of("losses", "perplexity", folder.write("losses.jsonl", lines));
  losses.format = "jsonl";
  losses.source.text = "t";
  std::vector<EvalSet> sets = {losses};

  lines.clear();
  for (const json& sample : golden()["classification"]["samples"]) {
    json record = sample;
    record.erase("scores");
    lines += record.dump() + "\n";
  }
  for (const char* score : {"sum", "mean", "bytes"}) {
    EvalSet choice = set_of(score, "classification", folder.write("choices.jsonl", lines));
    choice.source.prompt = "prompt";
    choice.options_column = "options";
    choice.label = "label";
    choice.score = score;
    sets.push_back(choice);
  }

  for (const json& generation : golden()["generation"]) {
    lines.clear();
    for (size_t i = 0; i < generation["prompts"].size(); ++i)
      lines += json{{"p", generation["prompts"][i]}, {"r", generation["texts"][i]}}.dump() + "\n";
    const std::string name = fmt::format("texts{}", sets.size());
    EvalSet texts = set_of(name, "generation", folder.write(name + ".jsonl", lines));
    texts.source.prompt = "p";
    texts.reference = "r";
    texts.max_new_tokens = generation["max_new_tokens"].get<int64_t>();
    texts.repetition_penalty = generation["repetition_penalty"].get<double>();
    texts.batch_size = 3;  // others wait for their turn
    texts.metrics = {{"same"}};
    sets.push_back(texts);
  }
  return sets;
}

// The share of texts that are the first reference, to the byte.
struct Same final : Metric {
  MetricSums of_text(const TextSample& sample) const override {
    return {1, sample.text == sample.references[0] ? 1.0 : 0.0};
  }
  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    return {{"same", sums.at(1)}, {"samples", sums.at(0)}};
  }
};

void add_same() {
  static const bool added = [] {
    add_metric("same", {{}, {SetKind::generation}, "equal texts"},
               [](const OptionValues&) { return std::make_unique<Same>(); });
    return true;
  }();
  static_cast<void>(added);
}

struct SetLayout {
  int dp = 1, pp = 1, tp = 1, cp = 1;
  std::string name() const { return fmt::format("dp{} pp{} tp{} cp{}", dp, pp, tp, cp); }
};

Config golden_config(const std::vector<EvalSet>& sets, const SetLayout& layout) {
  Config config;
  config.model.path = golden_file("evaluation");
  config.data.sequence_length = 64;
  config.data.packing = "samples";  // the golden's documents are whole
  config.train.micro_batch_size = 1;
  config.eval.sets = sets;
  config.parallel.dp_size = layout.dp;
  config.parallel.pp_size = layout.pp;
  config.parallel.tp_size = layout.tp;
  config.parallel.cp_size = layout.cp;
  config.monitor.console = "none";
  config.device.threads = 1;
  return config;
}

struct SetOutcome {
  std::map<std::string, double> metrics;
  std::vector<json> predictions;
};

SetOutcome evaluate(const std::vector<EvalSet>& sets, const SetLayout& layout = {}) {
  const TemporaryFolder folder;
  RunPlan plan = plan_evaluation(golden_config(sets, layout));
  plan.predictions_file = (folder / "predictions.jsonl").string();
  const ThreadedOutcome outcome = run_on_threads(plan);
  REQUIRE(outcome.end.message == "");
  REQUIRE(outcome.results.size() == 1);
  SetOutcome found;
  for (const EvaluatedMetric& metric : outcome.results[0])
    found.metrics[metric.name] = static_cast<double>(metric.value);
  std::stringstream lines(bytes_of(plan.predictions_file));
  for (std::string line; std::getline(lines, line);) found.predictions.push_back(json::parse(line));
  return found;
}

std::vector<double> scores_in(const SetOutcome& outcome, const std::string& set) {
  std::vector<double> all;
  for (const json& prediction : outcome.predictions)
    if (prediction["set"].get<std::string>() == set)
      for (const json& score : prediction["scores"]) all.push_back(score.get<double>());
  return all;
}

void check_golden(const SetOutcome& found) {
  CHECK(std::abs(found.metrics.at("eval/losses/loss") - golden()["perplexity"]["loss"].get<double>()) < 1e-4);
  CHECK(found.metrics.at("eval/losses/perplexity") ==
        Approx(std::exp(golden()["perplexity"]["loss"].get<double>())).epsilon(1e-4));
  const json& choices = golden()["classification"];
  for (const auto& [score, accuracy] : choices["accuracy"].items()) {
    CAPTURE(score);
    CHECK(found.metrics.at("eval/" + score + "/accuracy") == Approx(accuracy.get<double>()).epsilon(1e-12));
    std::vector<double> expected;
    for (const json& sample : choices["samples"])
      for (const json& each : sample["scores"][score]) expected.push_back(each.get<double>());
    const std::vector<double> scores = scores_in(found, score);
    REQUIRE(scores.size() == expected.size());  // each option once
    for (size_t i = 0; i < scores.size(); ++i) CHECK(std::abs(scores[i] - expected[i]) < 1e-4);
  }
  for (const char* name : {"texts4", "texts5"}) {
    CHECK(found.metrics.at(fmt::format("eval/{}/same", name)) == 7);
    CHECK(found.metrics.at(fmt::format("eval/{}/samples", name)) == 7);
  }
}

TEST_CASE("sets: perplexity, option likelihoods and greedy texts are transformers'", "[sets][golden]") {
  add_same();
  const TemporaryFolder folder;
  check_golden(evaluate(golden_sets(folder)));
}

// Seven samples are divided by neither 2 nor 4 replicas.
TEST_CASE("sets: every layout gives the same results, and counts each sample once", "[sets][golden][slow]") {
  add_same();
  const TemporaryFolder folder;
  const std::vector<EvalSet> sets = golden_sets(folder);
  for (const int dp : {1, 2, 4})
    for (const int pp : {1, 2})
      for (const int tp : {1, 2}) {
        const SetLayout layout{dp, pp, tp, 1};
        CAPTURE(layout.name());
        check_golden(evaluate(sets, layout));
      }
  check_golden(evaluate(sets, {1, 1, 1, 2}));
  check_golden(evaluate(sets, {2, 1, 1, 2}));
}

TEST_CASE("sets: sampled texts are the same under every layout, and differ between samples", "[sets]") {
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 5; ++i)
    lines += R"({"p": "The dog", "r": "x"})"
             "\n";
  EvalSet set = set_of("drawn", "generation", folder.write("drawn.jsonl", lines));
  add_same();
  set.source.prompt = "p";
  set.reference = "r";
  set.metrics = {{"same"}};
  set.max_new_tokens = 8;
  set.temperature = 1.5;
  set.top_k = 40;
  const auto texts = [&](const SetLayout& layout) {
    std::vector<std::string> all;
    for (const json& prediction : evaluate({set}, layout).predictions)
      all.push_back(prediction["text"].get<std::string>());
    return all;
  };
  const std::vector<std::string> expected = texts({});
  REQUIRE(expected.size() == 5);
  CHECK(std::set<std::string>(expected.begin(), expected.end()).size() == 5);
  CHECK(texts({2, 1, 1, 1}) == expected);
  CHECK(texts({4, 2, 1, 1}) == expected);
  set.seed = 43;
  CHECK(texts({}) != expected);
}

TEST_CASE("sets: a stop string ends a text before it, and the text that it ends costs no more tokens",
          "[sets]") {
  const TemporaryFolder folder;
  add_same();
  std::vector<EvalSet> sets = golden_sets(folder);
  EvalSet set = sets.at(4);
  const json& texts = golden()["generation"][0]["texts"];
  // A stop from the middle of the longest text.
  std::string longest;
  for (const json& text : texts)
    if (text.get<std::string>().size() > longest.size()) longest = text.get<std::string>();
  size_t middle = longest.size() / 2;
  while (middle < longest.size() && static_cast<unsigned char>(longest[middle]) >= 0x80) ++middle;
  REQUIRE(middle < longest.size());
  const std::string stop(1, longest[middle]);
  set.stop = {stop};
  const SetOutcome found = evaluate({set}, {2, 1, 1, 1});
  REQUIRE(found.predictions.size() == texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto whole = texts[i].get<std::string>();
    CHECK(found.predictions[i]["text"].get<std::string>() == whole.substr(0, whole.find(stop)));
  }
}

TEST_CASE("sets: a generated text chooses the option that it begins with", "[sets]") {
  CHECK(normalised_answer("  The DOG,\n sleeps! ") == "the dog sleeps");
  CHECK(normalised_answer("É-Ü") == "éü");
  CHECK(normalised_answer("...") == "");
  CHECK(option_of_answer("No, it is not", {"yes", "no"}) == 1);
  CHECK(option_of_answer("a dogsled", {"a", "a dog", "dog"}) == 1);  // the longest
  CHECK(option_of_answer("perhaps", {"yes", "no"}) == -1);
  CHECK(option_of_answer("", {"yes", "no"}) == -1);

  // Options that are the beginnings of the golden's texts.
  const TemporaryFolder folder;
  const json& generation = golden()["generation"][0];
  std::string lines;
  double right = 0;
  for (size_t i = 0; i < generation["prompts"].size(); ++i) {
    const std::vector<std::string> options = {"zzzz", "q"};
    const int64_t expected = option_of_answer(generation["texts"][i].get<std::string>(), options);
    lines += json{{"p", generation["prompts"][i]}, {"l", 1}}.dump() + "\n";
    right += expected == 1;
  }
  EvalSet set = set_of("choice", "classification", folder.write("c.jsonl", lines));
  set.source.prompt = "p";
  set.options = {"zzzz", "q"};
  set.label = "l";
  set.method = "text";
  set.max_new_tokens = generation["max_new_tokens"].get<int64_t>();
  const SetOutcome found = evaluate({set}, {2, 1, 1, 1});
  CHECK(found.metrics.at("eval/choice/accuracy") == Approx(right / 7.0).epsilon(1e-12));
  REQUIRE(found.predictions.size() == 7);
  CHECK(found.predictions[0]["label"] == 1);
}

TEST_CASE("sets: limit takes samples from the front", "[sets]") {
  add_same();
  const TemporaryFolder folder;
  std::vector<EvalSet> sets = golden_sets(folder);
  for (EvalSet& set : sets) set.limit = 2;
  const SetOutcome found = evaluate(sets, {2, 1, 1, 1});
  CHECK(found.metrics.at("eval/texts4/samples") == 2);
  size_t options = 0;
  for (size_t i = 0; i < 2; ++i) options += golden()["classification"]["samples"][i]["options"].size();
  CHECK(scores_in(found, "sum").size() == options);
  CHECK(std::abs(found.metrics.at("eval/losses/loss") - golden()["perplexity"]["loss"].get<double>()) > 1e-4);
}

// Sets of all kinds for a model of bytes.
std::vector<EvalSet> byte_sets(const TemporaryFolder& folder) {
  add_same();
  EvalSet losses = set_of("losses", "perplexity", folder.write("held.txt", "Other collies sleep at noon."));
  EvalSet choices = set_of("choices", "classification",
                           folder.write("choices.jsonl", R"({"q": "The 1", "l": 0})"
                                                         "\n\n"
                                                         R"({"q": "sheep", "l": 1})"
                                                         "\n"
                                                         R"({"q": "", "l": 1})"
                                                         "\n"));
  choices.source.prompt = "{q}:";
  choices.options = {"th", "{q}."};
  choices.label = "l";
  EvalSet texts = set_of("texts", "generation",
                         folder.write("texts.jsonl", R"({"p": "The", "r": ["a", "b"]})"
                                                     "\n"
                                                     R"({"p": "A", "r": "c"})"
                                                     "\n"
                                                     R"({"p": "", "r": "c"})"
                                                     "\n"));
  texts.source.prompt = "p";
  texts.reference = "r";
  texts.max_new_tokens = 5;
  texts.metrics = {{"same"}};
  EvalSet answers = choices;
  answers.name = "answers";
  answers.method = "text";
  answers.options = {"th", "x{q}"};
  answers.max_new_tokens = 4;
  return {losses, choices, texts, answers};
}

Config training(const TemporaryFolder& folder, bool with_sets) {
  Config config = tiny_run(folder);
  config.data.sequence_length = 9;
  config.train.steps = 3;
  config.checkpoint.every_n_steps = 1;
  config.eval.every_n_steps = 1;
  config.eval.at_start = true;
  config.device.threads = 1;
  if (with_sets) config.eval.sets = byte_sets(folder);
  return config;
}

ThreadedOutcome train(const std::function<void(Config&)>& change, bool with_sets) {
  const TemporaryFolder folder;
  Config config = training(folder, with_sets);
  change(config);
  RunPlan plan = plan_training(std::move(config), ExistingRun::refuse);
  plan.make_operations = [](int, std::shared_ptr<MemoryAccount> account) {
    return std::make_unique<ReferenceOperations>(std::move(account));
  };
  ThreadedOutcome outcome = run_on_threads(plan);
  REQUIRE(outcome.end.message == "");
  return outcome;
}

TEST_CASE("sets: a training has the same bits with them, and they the same numbers under every layout",
          "[sets][cores][slow]") {
  struct Case {
    int pp, dp, cp, tp, zero;
    std::string schedule, optimizer;
  };
  std::vector<std::vector<EvaluatedMetric>> expected;
  for (const auto& [pp, dp, cp, tp, zero, schedule, optimizer] :
       {Case{1, 1, 1, 1, 0, "1f1b", "adamw"}, Case{2, 1, 1, 1, 0, "zbv", "adamw"},
        Case{1, 2, 1, 1, 3, "1f1b", "adamw"}, Case{1, 4, 1, 1, 2, "1f1b", "adamw"},
        Case{1, 1, 2, 1, 3, "1f1b", "adamw"}, Case{2, 2, 1, 2, 1, "gpipe", "adamw"},
        Case{2, 2, 2, 1, 3, "interleaved_1f1b", "adamw"}, Case{1, 1, 1, 1, 0, "1f1b", "adamw_schedule_free"},
        Case{1, 2, 1, 1, 3, "1f1b", "adamw_schedule_free"}}) {
    CAPTURE(pp, dp, cp, tp, zero, schedule, optimizer);
    const auto change = [&, pp = pp, dp = dp, cp = cp, tp = tp, zero = zero, schedule = schedule,
                         optimizer = optimizer](Config& config) {
      config.model.config["num_hidden_layers"] = 4;
      config.train.gradient_accumulation_steps = 4 / dp;
      config.parallel.pp_size = pp;
      config.parallel.dp_size = dp;
      config.parallel.cp_size = cp;
      config.parallel.tp_size = tp;
      config.parallel.zero_stage = zero;
      config.parallel.schedule = schedule;
      config.optimizer.name = optimizer;
    };
    const ThreadedOutcome with = train(change, true), without = train(change, false);
    CHECK(with.losses == without.losses);
    CHECK(with.norms == without.norms);
    CHECK(with.evaluations == without.evaluations);
    CHECK(with.snapshots == without.snapshots);
    REQUIRE(with.results.size() == 4);  // before the first step, and after each
    for (const auto& none : without.results) CHECK(none.empty());
    if (expected.empty() || (optimizer != "adamw" && dp == 1)) expected = with.results;
    for (size_t i = 0; i < expected.size(); ++i) {
      REQUIRE(with.results[i].size() == expected[i].size());
      for (size_t j = 0; j < expected[i].size(); ++j) {
        INFO(expected[i][j].name);
        CHECK(with.results[i][j].name == expected[i][j].name);
        CHECK(static_cast<double>(with.results[i][j].value) ==
              Approx(static_cast<double>(expected[i][j].value)).epsilon(1e-10));
      }
    }
  }
}

// Calls the bell when it gets its second sample.
struct Alarm final : Metric {
  static inline std::function<void()> ring;
  static inline int samples = 0;
  MetricSums of_tokens(const TokenSums&) const override {
    if (++samples == 2) ring();
    return {};
  }
  std::vector<NamedNumber> result(const MetricSums&) const override { return {{"alarm", 0.0}}; }
};

TEST_CASE("sets: an evaluation that is interrupted between sets is given up, and no step is lost",
          "[sets][cores]") {
  add_metric("alarm", {{}, {SetKind::perplexity}, "for a test"},
             [](const OptionValues&) { return std::make_unique<Alarm>(); });
  const TemporaryFolder folder;
  Config config = training(folder, true);
  config.data.eval.clear();
  config.eval.sets.front().metrics = {{"alarm"}};  // its losses are one program
  Alarm::samples = 0;
  const RunPlan plan = plan_training(std::move(config), ExistingRun::refuse);
  const ThreadedOutcome outcome =
      run_on_threads(plan, [](const std::function<void()>& interrupt) { Alarm::ring = interrupt; });
  CHECK(outcome.end.message == "");
  CHECK(outcome.end.exit_code == 130);
  CHECK(outcome.results.size() == 1);  // that before the first step
  CHECK(outcome.end.step == 1);
  CHECK(outcome.snapshots.contains(1));
}

LikelihoodOption tokenised(const std::string& prompt, const std::string& option, bool adds_bos = true) {
  return tokenised_option(*byte_tokenizer(), prompt, option, adds_bos, "f:1");
}

TEST_CASE("sets: prompt and option are tokenised as one text, and white space goes to the option", "[sets]") {
  const LikelihoodOption option = tokenised("a ", " b");
  CHECK(option.tokens == std::vector<int32_t>{256, 'a', ' ', ' ', 'b'});
  CHECK(option.first == 2);
  CHECK(tokenised("", "b", false).tokens == std::vector<int32_t>{256, 'b'});
  CHECK(tokenised("", "b").first == 1);
  CHECK_THROWS_WITH(tokenised("a", ""), contains("f:1: no token is the option's own"));
}

TEST_CASE("sets: what does not fit the model is refused, or cut with a warning", "[sets]") {
  const auto refusal = [](const std::function<void(EvalSet&)>& change, const std::string& line) {
    const TemporaryFolder folder;
    EvalSet set = set_of("s", "classification", folder.write("s.jsonl", line + "\n"));
    set.source.prompt = "p";
    set.options_column = "o";
    set.label = "l";
    change(set);
    try {
      plan_evaluation(golden_config({set}, {}));
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const auto nothing = [](EvalSet&) {};
  const std::string many(200, 'z');
  CHECK_THAT(refusal(nothing, fmt::format(R"({{"p": "a", "o": ["{}", "b"], "l": 0}})", many)),
             contains("s.jsonl:1: an option of"));
  CHECK(refusal(nothing, fmt::format(R"({{"p": "{}", "o": ["c", "b"], "l": 0}})", many)) == "accepted");
  const auto by_text = [](EvalSet& set) { set.method = "text", set.max_new_tokens = 8; };
  CHECK_THAT(refusal(by_text, R"({"p": "a", "o": ["Yes", "yes!"], "l": 0})"), contains("tell them apart"));
  CHECK_THAT(refusal(by_text, R"({"p": "a", "o": ["?", "yes"], "l": 0})"), contains("no letter or digit"));
  CHECK_THAT(refusal([](EvalSet& set) { set.method = "text", set.max_new_tokens = 64; },
                     R"({"p": "a", "o": ["x", "yes"], "l": 0})"),
             contains("eval.sets.0.max_new_tokens: is 64, but the model has 64 positions"));
  const TemporaryFolder folder;
  Config config = golden_config(golden_sets(folder), {});
  config.train.loss = "other";
  losses().add("other", losses().find("cross_entropy"));
  CHECK_THROWS_WITH(plan_evaluation(config), contains("train.loss: is other, but the set losses"));
}

TEST_CASE("sets: replicas share sequences by their numbers", "[sets]") {
  Decoding decoding;
  for (const int64_t number : {0, 1, 4, 5}) decoding.next.emplace_back().number = number;
  decoding.ended = {2, 3};
  decoding.afresh = true;
  const Decoding second = share_of(decoding, 1, 2);
  REQUIRE(second.next.size() == 2);
  CHECK(second.next[0].number == 1);
  CHECK(second.next[1].number == 5);
  CHECK(second.ended == std::vector<int64_t>{3});
  CHECK(second.afresh);
  CHECK(share_of(decoding, 2, 3).next.size() == 1);
  auto batch = std::make_shared<StepBatch>();
  MicroBatch& tokens = batch->micro_batches.emplace_back(empty_micro_batch());
  for (const int32_t size : {2, 1, 3, 1}) {
    for (int32_t i = 0; i < size; ++i) {
      tokens.tokens.push_back(10 * size + i);
      tokens.labels.push_back(-100);
      tokens.positions.push_back(i);
    }
    tokens.document_starts.push_back(static_cast<int32_t>(tokens.tokens.size()));
  }
  const auto shares = deal_sequences(batch, decoding, 3);
  REQUIRE(shares.size() == 3);
  CHECK(shares[0]->micro_batches[0].tokens == std::vector<int32_t>{20, 21});
  CHECK(shares[1]->micro_batches[0].tokens == std::vector<int32_t>{10, 30, 31, 32});
  CHECK(shares[1]->micro_batches[0].positions == std::vector<int32_t>{0, 0, 1, 2});
  CHECK(shares[1]->micro_batches[0].document_starts == std::vector<int32_t>{0, 1, 4});
  CHECK(shares[2]->micro_batches[0].tokens == std::vector<int32_t>{10});
  CHECK(deal_sequences(batch, decoding, 1).front() == batch);
}

}  // namespace
}  // namespace collie::test
