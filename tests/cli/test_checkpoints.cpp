// The best checkpoint is kept, the ends of a run are evaluated, and eval, generate, export and --resume take
// the checkpoint that is asked for.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "io/checkpoint_name.hpp"
#include "tests/cli/workbench.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<json> metrics_of(const Workbench& bench, const std::string& run) {
  std::vector<json> all;
  std::istringstream lines(text_of(bench / (run + "/metrics.jsonl")));
  for (std::string line; std::getline(lines, line);) all.push_back(json::parse(line));
  return all;
}

// The evaluations of a run: (step, text of the loss).
std::map<int64_t, std::string> evaluations(const Workbench& bench, const std::string& run) {
  std::map<int64_t, std::string> all;
  for (const json& record : metrics_of(bench, run))
    if (record.contains("eval_loss")) all[record.at("step")] = record.at("eval_loss").dump();
  return all;
}

int64_t best_step(const std::map<int64_t, std::string>& evaluations, int64_t until = 1 << 30) {
  int64_t best = -1;
  double loss = 1e9;
  for (const auto& [step, text] : evaluations)
    if (step <= until && std::stod(text) < loss) {
      best = step;
      loss = std::stod(text);
    }
  return best;
}

std::vector<std::string> names(const std::vector<int64_t>& steps) {
  std::vector<std::string> all;
  for (const int64_t step : steps) all.push_back(checkpoint_name(step));
  return all;
}

// The text is so short that the loss on the held-out text is best early: at step 4 of 14.
const Settings overfits = {
    "data.train=[{path: texts/c.txt}]", "train.steps=14",        "eval.every_n_steps=2",
    "checkpoint.every_n_steps=5",       "optimizer.lr=0.04",     "lr_scheduler.warmup_steps=0",
    "checkpoint.keep_best=1",           "checkpoint.keep_last=1"};

// A run of `overfits` that is never stopped; every test but one has its own copy.
struct BestRun {
  Workbench bench;
  Training training;
  std::map<int64_t, std::string> losses;
  int64_t best = 0;
};

const BestRun& best_run() {
  static BestRun run;
  static const bool made = [] {
    run.training = run.bench.train("run", overfits);
    run.losses = evaluations(run.bench, "run");
    run.best = best_step(run.losses);
    INFO("the best step is to be neither the last nor one with a checkpoint of its own: " << run.best);
    REQUIRE(run.best > 0);
    REQUIRE(run.best < 10);
    REQUIRE(run.best % 5 != 0);
    return true;
  }();
  static_cast<void>(made);
  return run;
}

std::vector<std::string> words(std::vector<std::string> command, const Settings& settings) {
  for (const std::string& setting : settings) {
    command.push_back("--set");
    command.push_back(setting);
  }
  return command;
}

// What `eval` prints as the loss, as text.
std::string evaluated_loss(const Workbench& bench, const std::vector<std::string>& command,
                           const std::string& said) {
  const Outcome outcome = bench.command(command);
  REQUIRE_CODE(outcome, 0);
  INFO(outcome.report());
  CHECK(has(outcome.errors, said));
  return json::parse(outcome.output).at("loss").dump();
}

std::string weights_of(const Workbench& bench, const std::string& folder) {
  return text_of(bench / (folder + "/model.safetensors"));
}

}  // namespace

TEST_CASE("the last step is evaluated, and the best checkpoint outlives newer ones") {
  const BestRun& run = best_run();
  CHECK(run.losses.count(14) == 1);
  CHECK(run.bench.checkpoints("run") == names({run.best, 14}));
  const Outcome resumed = run.bench.resume("run", overfits);
  REQUIRE_CODE(resumed, 0);
  CHECK(has(resumed.errors, "nothing to do"));
}

TEST_CASE("the last step is evaluated unless eval.at_end is false") {
  const Workbench bench;
  const Settings rare = {"train.steps=3", "eval.every_n_steps=2"};
  bench.train("run", rare);
  CHECK(evaluations(bench, "run").count(3) == 1);
  bench.train("without", rare + Settings{"eval.at_end=false"});
  CHECK(evaluations(bench, "without").count(3) == 0);
  CHECK(evaluations(bench, "without").at(2) == evaluations(bench, "run").at(2));
}

TEST_CASE("a run killed while it keeps the best resumes to the same checkpoints") {
  const BestRun& never_stopped = best_run();
  // The second is the best one's, at step 4: steps 2, 4, 5, ... are written.
  const char* failpoint =
      GENERATE("checkpoint.renamed:2:kill", "checkpoint.purge:2:kill", "checkpoint.manifest:3:kill",
               "stage.evaluate:5:kill", "final.rename:1:kill");
  CAPTURE(failpoint);
  const Workbench bench;
  REQUIRE(bench.run("run", overfits, {}, failpoint).signal == SIGKILL);
  REQUIRE_CODE(bench.resume("run", overfits), 0);
  CHECK_SAME(never_stopped.training, bench.training("run"));
  CHECK(bench.checkpoints("run") == names({never_stopped.best, 14}));
}

TEST_CASE("a run keeps the best by the number of a set, also after a kill, and final/ has its weights") {
  const Settings by_set =
      overfits + Settings{"eval.sets=[{name: held, path: held_out.txt, limit: 1}]",
                          "checkpoint.best_metric=eval/held/loss", "checkpoint.best_mode=max",
                          "checkpoint.keep_best=2", "callbacks=[load_best]"};
  const Workbench bench;
  const Training whole = bench.train("whole", by_set);
  std::map<double, int64_t> steps;  // by the loss, which none has twice
  for (const json& line : metrics_of(bench, "whole"))
    if (line.contains("eval/held/loss")) steps[line.at("eval/held/loss").get<double>()] = line.at("step");
  REQUIRE(steps.size() == 7);
  const int64_t worst = steps.rbegin()->second, second = std::next(steps.rbegin())->second;
  std::set<std::string> kept;
  for (const int64_t step : {worst, second, int64_t{14}}) kept.insert(checkpoint_name(step));
  CHECK(bench.checkpoints("whole") == std::vector<std::string>(kept.begin(), kept.end()));
  const Outcome best = bench.command(words({"eval", "config.yaml", "--checkpoint", "best", "--only", "held"},
                                           by_set + Settings{"run.dir=whole"}));
  REQUIRE_CODE(best, 0);
  CHECK(json::parse(best.output).at("sets").at("held").at("loss") == steps.rbegin()->first);
  const Outcome final_model =
      bench.command(words({"eval", "config.yaml", "--checkpoint", "base", "--only", "held"},
                          by_set + from_model("whole/final") +
                              Settings{"run.dir=other", "checkpoint.keep_best=0", "callbacks=[]"}));
  REQUIRE_CODE(final_model, 0);
  CHECK(json::parse(final_model.output).at("sets").at("held").at("loss") == steps.rbegin()->first);

  REQUIRE(bench.run("run", by_set, {}, "checkpoint.purge:3:kill").signal == SIGKILL);
  REQUIRE_CODE(bench.resume("run", by_set), 0);
  CHECK_SAME(whole, bench.training("run"));
  CHECK(bench.checkpoints("run") == bench.checkpoints("whole"));
}

TEST_CASE("a metric that no evaluation of the run has is refused") {
  const Workbench bench;
  const Settings sets = {"eval.sets=[{name: held, path: held_out.txt}]", "checkpoint.keep_best=1"};
  check_refused(bench.run("run", sets + Settings{"checkpoint.best_metric=eval/held/los"}), 2,
                {"checkpoint.best_metric: found 'eval/held/los'", "the nearest is eval/held/loss",
                 "eval_loss, eval/held/perplexity, eval/held/loss"});
  check_refused(
      bench.run("run", sets + Settings{"callbacks=[{name: early_stopping, metric: eval/held/loss_2}]"}), 2,
      {"callbacks.0.metric: found 'eval/held/loss_2'"});
  check_refused(bench.run("run", {"callbacks=[early_stopping]", "data.eval=[]"}), 2,
                {"data.eval: missing", "for the callback early_stopping"});
  check_refused(bench.run("run", sets + Settings{"data.eval=[]"}), 2,
                {"checkpoint.keep_best: is 1", "or a checkpoint.best_metric of eval.sets"});
  CHECK_FALSE(fs::exists(bench / "run/metrics.jsonl"));
}

TEST_CASE("the best of a run in any layout is kept, and any layout evaluates it") {
  const Settings layout =
      GENERATE(Settings{"parallel.pp_size=1", "parallel.tp_size=2"},
               Settings{"parallel.pp_size=1", "parallel.dp_size=2", "parallel.zero_stage=3"},
               Settings{"parallel.pp_size=2", "parallel.schedule=zbv"});
  CAPTURE(layout);
  const Workbench bench;
  bench.train("run", overfits + layout);
  const auto losses = evaluations(bench, "run");
  const int64_t best = best_step(losses);
  REQUIRE(best < 14);
  CHECK(bench.checkpoints("run") == names({best, 14}));
  const std::string loss = evaluated_loss(
      bench, words({"eval", "config.yaml", "--checkpoint", "best"}, layout + Settings{"run.dir=run"}),
      fmt::format("evaluates step {} of the run in 'run'", best));
  CHECK(loss == losses.at(best));
  const std::string on_one = evaluated_loss(
      bench, words({"eval", "config.yaml", "--checkpoint", "best"}, {"run.dir=run", "parallel.pp_size=1"}),
      "");
  CHECK(std::stod(on_one) == Approx(std::stod(loss)).epsilon(1e-5));
}

TEST_CASE("checkpoint.keep_best is refused where nothing is evaluated") {
  const Workbench bench;
  check_refused(bench.run("run", {"checkpoint.keep_best=1", "data.eval=[]"}), 2,
                {"checkpoint.keep_best: is 1", "there is no data.eval"});
  check_refused(bench.run("run", {"checkpoint.keep_best=2", "eval.at_end=false", "eval.every_n_steps=13"}), 2,
                {"checkpoint.keep_best: is 2", "within its 12 steps", "eval.every_n_steps"});
  CHECK_FALSE(fs::exists(bench / "run/metrics.jsonl"));
}

TEST_CASE("other data to evaluate on begin the comparison anew, and the run says so") {
  const Workbench bench;
  REQUIRE(bench.run("run", overfits, {}, "checkpoint.purge:3:kill").signal == SIGKILL);
  bench.write("other.txt", "rain over the hills and sheep in the wind");
  const Outcome outcome = bench.resume("run", overfits + Settings{"data.eval=[{path: other.txt}]"});
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, "were evaluated on other data than data.eval"));
  std::map<int64_t, std::string> losses = evaluations(bench, "run");
  std::erase_if(losses, [](const auto& each) { return each.first <= 5; });
  CHECK(bench.checkpoints("run").front() == checkpoint_name(best_step(losses)));
}

TEST_CASE("a resume that forgets checkpoint.keep_best says which checkpoint will go") {
  const Workbench bench;
  REQUIRE(bench.run("run", overfits, {}, "checkpoint.purge:4:kill").signal == SIGKILL);
  const int64_t best = best_step(evaluations(bench, "run"));
  REQUIRE(bench.checkpoints("run").front() == checkpoint_name(best));
  REQUIRE(bench.checkpoints("run").back() == checkpoint_name(10));
  const std::string going = fmt::format("so the checkpoint of step {}, which", best);
  const Outcome same = bench.run("run", overfits, {"--resume", "--dry-run"});
  REQUIRE_CODE(same, 0);
  CHECK_FALSE(has(same.errors, going));
  const Outcome without = bench.run("run", overfits + Settings{"checkpoint.keep_best=0"}, {"--resume"});
  REQUIRE_CODE(without, 0);
  CHECK(has(without.errors, going));
  CHECK(bench.checkpoints("run") == names({14}));
}

// --- eval.at_start

TEST_CASE("the evaluation before the first step is that of the base model, as step 0") {
  const Workbench bench;
  const Settings every = {"train.steps=2", "eval.at_start=true", "monitor.csv=true"};
  bench.train("base", {"train.steps=2"});
  const Settings fine = from_model("base/final") + every;
  bench.train("run", fine);
  const std::vector<json> records = metrics_of(bench, "run");
  REQUIRE(records.size() == 3);
  CHECK(records[0].at("step") == 0);
  CHECK(records[1].at("step") == 1);
  for (const auto& [key, value] : records[1].items()) {
    INFO(key);
    CHECK(records[0].contains(key));  // readers find every key
  }
  for (const char* key : {"loss", "lr", "grad_norm", "step_seconds", "tokens_per_second"})
    CHECK(records[0].at(key).is_null());
  const std::string base = evaluated_loss(
      bench, words({"eval", "config.yaml", "--checkpoint", "base"}, fine + Settings{"run.dir=run"}),
      "evaluates the model in 'base/final'");
  CHECK(records[0].at("eval_loss").dump() == base);
  const std::string csv = text_of(bench / "run/metrics.csv");
  CHECK(has(csv, "\n0,0,,,,0,"));
  REQUIRE_CODE(bench.run("without", from_model("base/final") + Settings{"train.steps=2"}), 0);
  CHECK(bench.training("without").weights == bench.training("run").weights);
}

TEST_CASE("a run interrupted in its first evaluation makes up for it when it is resumed") {
  const Workbench bench;
  const Settings start = {"eval.at_start=true"};
  const Training expected = bench.train("expected", start);
  REQUIRE(expected.steps.size() == 13);
  Command command(bench.run_arguments("run", start), bench.options("stage.evaluate:1:pause"));
  REQUIRE(command.wait_until([&] { return has(command.errors(), "stage.evaluate"); }));
  command.send(SIGINT);
  const Outcome outcome = command.wait();
  REQUIRE_CODE(outcome, 130);
  CHECK(bench.steps_done("run") == 0);
  CHECK(bench.checkpoints("run") == names({0}));
  REQUIRE_CODE(bench.resume("run", start), 0);
  CHECK_SAME(expected, bench.training("run"));
}

TEST_CASE("the model before the first step may be the best, and a run goes on from it") {
  const Workbench bench;
  bench.train("base", {"train.steps=6", "lr_scheduler.warmup_steps=0"});
  const Settings worse =
      from_model("base/final") +
      Settings{"train.steps=6",         "eval.every_n_steps=2", "lr_scheduler.warmup_steps=0",
               "optimizer.lr=2.0",      "eval.at_start=true",   "checkpoint.keep_best=1",
               "checkpoint.keep_last=1"};
  const Training expected = bench.train("run", worse);
  REQUIRE(best_step(evaluations(bench, "run")) == 0);
  CHECK(bench.checkpoints("run") == names({0, 6}));
  const Settings dir = {"run.dir=run"};
  const std::string best = evaluated_loss(
      bench, words({"eval", "config.yaml", "--checkpoint", "best"}, worse + dir), "evaluates step 0 of");
  CHECK(best == expected.steps.at(0).at("eval_loss"));
  CHECK(evaluated_loss(bench, words({"eval", "config.yaml", "--checkpoint", "base"}, worse + dir), "") ==
        best);
  REQUIRE_CODE(bench.run("run", worse, {"--resume=best"}), 0);
  CHECK_SAME(expected, bench.training("run"));  // with one record of step 0
}

// --- eval, generate, export

TEST_CASE(
    "eval takes the run's newest checkpoint, the base model where there is none, or what is asked for") {
  const BestRun& run = best_run();
  const Workbench& bench = run.bench;
  const auto command = [&](const std::string& dir, const std::string& choice, const Settings& more = {}) {
    std::vector<std::string> all = words({"eval", "config.yaml"}, Settings{"run.dir=" + dir} + more);
    if (!choice.empty()) all.insert(all.end(), {"--checkpoint", choice});
    return all;
  };
  const std::string last = run.losses.at(14), best = run.losses.at(run.best);
  CHECK(evaluated_loss(bench, command("run", ""), "evaluates step 14 of the run in 'run'") == last);
  CHECK(evaluated_loss(bench, command("run", "last"), "evaluates step 14") == last);
  CHECK(evaluated_loss(bench, command("run", "best"), fmt::format("evaluates step {} of", run.best)) == best);
  CHECK(evaluated_loss(bench, command("run", std::to_string(run.best)), "evaluates step") == best);
  // A fine-tune: model.path is the base, and stays what is evaluated before the run has a checkpoint.
  const Settings fine = from_model("run/final");
  const std::string base =
      evaluated_loss(bench, command("tuned", "", fine), "evaluates the model in 'run/final'");
  CHECK(base == last);
  REQUIRE_CODE(bench.run("tuned", fine + Settings{"train.steps=2"}), 0);
  const std::string tuned = evaluations(bench, "tuned").at(2);
  CHECK(evaluated_loss(bench, command("tuned", "", fine), "evaluates step 2 of the run in 'tuned'") == tuned);
  CHECK(evaluated_loss(bench, command("tuned", "base", fine), "evaluates the model in 'run/final'") == base);
  CHECK(base != tuned);
}

TEST_CASE("a checkpoint that cannot be meant is refused by eval, generate and export") {
  const BestRun& run = best_run();
  const Workbench& bench = run.bench;
  const Settings dir = {"run.dir=run"};
  check_refused(bench.command(words({"eval", "config.yaml", "--checkpoint", "3"}, dir)), 2,
                {"run/checkpoints", "no checkpoint of step 3", fmt::format("it holds {}, 14", run.best)});
  check_refused(bench.command(words({"eval", "config.yaml", "--checkpoint", "bset"}, dir)), 2,
                {"--checkpoint: found 'bset'", "last or base"});
  check_refused(bench.command(words({"eval", "config.yaml", "--checkpoint", "base"}, dir)), 2,
                {"model.from_scratch", "--checkpoint base"});
  check_refused(bench.command({"eval", "config.yaml", "--checkpoint", "best"}), 2, {"run.dir"});
  check_refused(bench.command(words({"eval", "config.yaml", "--checkpoint", "last"}, {"run.dir=empty"})), 2,
                {"empty/checkpoints", "holds no checkpoint"});
  check_refused(bench.command({"generate", "--run", "empty", "--prompt", "a"}), 2,
                {"--run: there is no run in 'empty'"});
  check_refused(bench.command({"generate", "--prompt", "a"}), 2, {"--model DIR or --run DIR"});
  check_refused(bench.command({"export", "--out", "x"}), 2, {"--model DIR", "--run DIR"});
  check_refused(bench.command({"export", "--run", "run", "--checkpoint", "3", "--out", "x"}), 2,
                {"no checkpoint of step 3"});
  check_refused(bench.command({"export", "--run", "run", "--out", "texts"}), 2,
                {"--out: 'texts' already exists"});
  check_refused(bench.command({"export", "--run", "run", "--out", "run/checkpoints/mine"}), 2,
                {"--out: 'run/checkpoints/mine'", "its own files"});
  CHECK_FALSE(fs::exists(bench / "x"));
  for (const char* both : {"generate", "export"}) {
    const Outcome outcome = bench.command({both, "--run", "run", "--model", "run/final", "--prompt", "a"});
    INFO(outcome.report());
    CHECK(outcome.code == 2);
  }
}

TEST_CASE("export writes what final/ is, for any checkpoint, and generate says the same from both") {
  const BestRun& run = best_run();
  const Workbench& bench = run.bench;
  REQUIRE_CODE(bench.command({"export", "--run", "run", "--out", "out/last/"}), 0);
  for (const char* file : {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json"})
    CHECK(text_of(bench / (std::string("out/last/") + file)) ==
          text_of(bench / (std::string("run/final/") + file)));
  const Outcome best = bench.command({"export", "--run", "run", "--checkpoint", "best", "--out", "out/best"});
  REQUIRE_CODE(best, 0);
  CHECK(has(best.errors, "run/checkpoints/" + checkpoint_name(run.best) + " is now in 'out/best'"));
  CHECK(weights_of(bench, "out/best") != weights_of(bench, "out/last"));
  const Settings exported = from_model("out/best");
  CHECK(evaluated_loss(bench, words({"eval", "config.yaml"}, exported),
                       "evaluates the model in 'out/best'") == run.losses.at(run.best));
  // A folder's own weights, in the same order and type, are written as they were read, but for the step.
  REQUIRE_CODE(bench.command({"export", "--model", "out/best", "--out", "out/again"}), 0);
  CHECK(evaluated_loss(bench, words({"eval", "config.yaml"}, from_model("out/again")), "") ==
        run.losses.at(run.best));
  const std::string first = weights_of(bench, "out/best"), second = weights_of(bench, "out/again");
  const size_t bytes = 10000;
  CHECK(first.substr(first.size() - bytes) == second.substr(second.size() - bytes));
  // Nothing of it is half-written, and nothing is replaced.
  check_refused(bench.command({"export", "--model", "out/best", "--out", "out/again"}), 2,
                {"already exists"});
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(bench / "out"))
    left.push_back(entry.path().filename().string());
  CHECK(left.size() == 3);

  const auto text = [&](std::vector<std::string> command) {
    command.insert(command.end(), {"--prompt", "the dog", "--max-new-tokens", "12"});
    const Outcome outcome = bench.command(command);
    REQUIRE_CODE(outcome, 0);
    return outcome.output;
  };
  CHECK(text({"generate", "--run", "run"}) == text({"generate", "--model", "run/final"}));
  CHECK(text({"generate", "--run", "run", "--checkpoint", "best"}) ==
        text({"generate", "--model", "out/best"}));
  CHECK(text({"generate", "--run", "run", "--checkpoint", "best", "--set", "parallel.pp_size=2"}) ==
        text({"generate", "--model", "out/best"}));
}

TEST_CASE("eval, generate and export use the averages of a schedule-free run, at every checkpoint") {
  const Workbench bench;
  const Settings averaged = {"optimizer.name=adamw_schedule_free",
                             "optimizer.lr=0.1",
                             "eval.every_n_steps=2",
                             "checkpoint.keep_best=1",
                             "checkpoint.keep_last=1",
                             "parallel.dp_size=2",
                             "parallel.pp_size=1",
                             "parallel.zero_stage=2"};
  bench.train("run", averaged);
  const auto losses = evaluations(bench, "run");
  const int64_t best = best_step(losses);
  const std::string loss = losses.at(best);
  const Settings dir = {"run.dir=run"};
  CHECK(evaluated_loss(bench, words({"eval", "config.yaml", "--checkpoint", "best"}, averaged + dir), "") ==
        loss);
  REQUIRE_CODE(bench.command({"export", "--run", "run", "--checkpoint", "best", "--out", "best"}), 0);
  const Settings layout = {"parallel.dp_size=2", "parallel.pp_size=1", "parallel.zero_stage=2"};
  CHECK(evaluated_loss(bench, words({"eval", "config.yaml"}, layout + from_model("best")), "") == loss);
  REQUIRE_CODE(bench.command({"export", "--run", "run", "--out", "last"}), 0);
  CHECK(weights_of(bench, "last") == weights_of(bench, "run/final"));
}

TEST_CASE("a run whose model is named relative to another folder says what to do") {
  const Workbench bench;
  bench.train("base", {"train.steps=1"});
  REQUIRE_CODE(bench.run("run", from_model("base/final") + Settings{"train.steps=1"}), 0);
  CommandOptions elsewhere = bench.options();
  elsewhere.working_directory = bench / "texts";
  const std::vector<std::string> generate = {"generate", "--run", "../run", "--prompt", "a"};
  check_refused(run_command(generate, elsewhere), 2, {"model.path", "'base/final'", "--set model.path=DIR"});
  REQUIRE_CODE(run_command(words(generate, {"model.path=../base/final"}), elsewhere), 0);
}

TEST_CASE("eval says where the configuration is not that of the run any more") {
  const BestRun& run = best_run();
  const std::string warning = "it was trained with another model.config.rms_norm_eps than";
  const auto command = [](const Settings& more) {
    return words({"eval", "config.yaml"}, Settings{"run.dir=run"} + more);
  };
  const Outcome changed = run.bench.command(command({"model.config.rms_norm_eps=0.1"}));
  REQUIRE_CODE(changed, 0);
  CHECK(has(changed.errors, warning));
  const Outcome same = run.bench.command(command({}));
  REQUIRE_CODE(same, 0);
  CHECK_FALSE(has(same.errors, "trained with another"));
}

// --- resume from a chosen step

TEST_CASE("a run goes on from a chosen step to the same bits, and sets aside what came after it") {
  const BestRun& run = best_run();
  const Workbench& bench = run.bench;
  const std::string dir = GENERATE("from_best", "from_step");
  bench.copy("run", dir);
  const std::string flag = dir == "from_best" ? "--resume=best" : fmt::format("--resume={}", run.best);
  const std::string metrics = text_of(bench / (dir + "/metrics.jsonl"));
  const auto before = bench.everything(dir);
  const Outcome dry = bench.run(dir, overfits, {flag, "--dry-run"});
  REQUIRE_CODE(dry, 0);
  CHECK(
      has(dry.errors, fmt::format("what came after step {} (the checkpoint of step 14, final/)", run.best)));
  CHECK_UNCHANGED(before, bench.everything(dir));

  const Outcome outcome = bench.run(dir, overfits, {flag});
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, fmt::format("goes on after step {}", run.best)));
  CHECK(has(outcome.errors, fmt::format("are now in '{}/set-aside-1'", dir)));
  CHECK_SAME(run.training, bench.training(dir));
  CHECK(bench.checkpoints(dir) == names({run.best, 14}));
  CHECK(text_of(bench / (dir + "/set-aside-1/metrics.jsonl")) == metrics);
  CHECK(weights_of(bench, dir + "/set-aside-1/final") == run.training.weights);
  CHECK(fs::exists(bench / (dir + "/set-aside-1/" + checkpoint_name(14) + "/manifest.json")));
  // What is set aside is a run's checkpoint still: put back, it is gone on with.
  REQUIRE_CODE(bench.run(dir, overfits, {flag}), 0);
  CHECK(fs::exists(bench / (dir + "/set-aside-2/final")));
  CHECK(fs::exists(bench / (dir + "/set-aside-1/final")));
}

TEST_CASE("a run that is killed after it was resumed from a chosen step does not go back to later ones") {
  const BestRun& run = best_run();
  const Workbench& bench = run.bench;
  bench.copy("run", "killed");
  const Outcome killed =
      bench.run("killed", overfits, {fmt::format("--resume={}", run.best)}, "stage.update:1:kill");
  REQUIRE(killed.signal == SIGKILL);
  CHECK(bench.steps_done("killed") == run.best);
  CHECK(bench.checkpoints("killed") == names({run.best}));
  const Outcome outcome = bench.resume("killed", overfits);
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, fmt::format("goes on after step {}", run.best)));
  CHECK_SAME(run.training, bench.training("killed"));
  CHECK_FALSE(fs::exists(bench / "killed/set-aside-2"));
}

TEST_CASE("a run killed while it sets later steps aside goes on to the same bits, from what it has left") {
  const Workbench bench;
  const Settings three = overfits + Settings{"checkpoint.keep_last=2"};
  const Training expected = bench.train("run", three);
  REQUIRE(bench.checkpoints("run") == names({4, 10, 14}));
  // final/ goes first, then the newest checkpoint, then the older one.
  const auto& [moves, says] = GENERATE(values<std::pair<int, std::string>>(
      {{1, "nothing to do"}, {2, "goes on after step 14"}, {3, "goes on after step 10"}}));
  CAPTURE(moves);
  const Outcome killed = bench.run("run", three, {"--resume=4"}, fmt::format("run.set_aside:{}:kill", moves));
  REQUIRE(killed.signal == SIGKILL);
  const bool again = GENERATE(false, true);
  const Outcome outcome = again ? bench.run("run", three, {"--resume=best"}) : bench.resume("run", three);
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, again ? "goes on after step 4 " : says));
  CHECK_SAME(expected, bench.training("run"));
  CHECK(fs::exists(bench / "run/set-aside-1/metrics.jsonl"));
  CHECK(bench.checkpoints("run") == names({4, 10, 14}));
}

TEST_CASE(
    "a resume from the newest step sets nothing aside, and one from a step that is not there is refused") {
  const BestRun& run = best_run();
  const Workbench& bench = run.bench;
  bench.copy("run", "newest");
  const auto before = bench.everything("newest");
  const Outcome outcome = bench.run("newest", overfits, {"--resume=14"});
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, "nothing to do"));
  check_refused(bench.run("newest", overfits, {"--resume=13"}), 2, {"no checkpoint of step 13", "14"});
  check_refused(bench.run("newest", overfits, {"--resume=base"}), 2, {"--resume: found 'base'"});
  check_refused(bench.run("none", overfits, {"--resume=13"}), 2, {"--resume=13: there is no run in 'none'"});
  CHECK_UNCHANGED(before, bench.everything("newest"));
  CHECK_FALSE(fs::exists(bench / "none"));
}

// --- callbacks that end a run, and choose its final model

TEST_CASE("early_stopping and load_best: a killed run ends at the same step, and final/ is the best's") {
  const BestRun& run = best_run();
  const Workbench& bench = run.bench;
  const Settings stops = overfits + Settings{"callbacks=[load_best, {name: early_stopping, patience: 2}]"};
  const Outcome whole = bench.run("stopped early", stops);
  REQUIRE_CODE(whole, 0);
  INFO(whole.report());
  CHECK(has(whole.errors, "early_stopping: eval_loss was not below"));
  const int64_t last = run.best + 4;  // two evaluations that are not better
  CHECK(bench.steps_done("stopped early") == last);
  CHECK(bench.checkpoints("stopped early") == names({run.best, last}));
  require_done(
      bench.command({"export", "--run", bench / "run", "--checkpoint", "best", "--out", bench / "best"}));
  CHECK(weights_of(bench, "stopped early/final") == weights_of(bench, "best"));

  const std::string kill = fmt::format("monitor.record:{}:kill", last);
  REQUIRE(bench.run("killed at the end", stops, {}, kill).signal == SIGKILL);
  require_done(bench.resume("killed at the end", stops));
  CHECK_SAME(bench.training("stopped early"), bench.training("killed at the end"));

  // What has ended stays so, unless there is more patience.
  require_done(bench.resume("stopped early", stops));
  CHECK(bench.steps_done("stopped early") == last);
  require_done(bench.resume(
      "stopped early", overfits + Settings{"callbacks=[load_best, {name: early_stopping, patience: 9}]"}));
  CHECK(bench.steps_done("stopped early") == 14);
  CHECK(bench.training("stopped early").weights == weights_of(bench, "best"));
}

TEST_CASE("callbacks that the configuration does not go with are refused before anything is written") {
  const Workbench bench;
  check_refused(bench.run("a", {"callbacks=[load_best]"}), 2,
                {"checkpoint.keep_best: is 0", "at least 1", "load_best"});
  check_refused(bench.run("a", {"callbacks=[early_stopping]", "data.eval=[]"}), 2,
                {"data.eval", "missing", "early_stopping"});
  check_refused(bench.run("a", {"callbacks=[time_limit]"}), 2, {"callbacks.0.minutes", "SLURM_JOB_END_TIME"});
  check_refused(bench.run("a", {"callbacks=[spike_guard]", "optimizer.name=lomo"}), 2,
                {"optimizer.fused_update", "false is wanted", "spike_guard"});
  check_refused(bench.run("a", {"callbacks=[non_finite_guard, non_finite_guard]"}), 2,
                {"callbacks.1", "a second time"});
  CHECK_FALSE(fs::exists(bench / "a"));
}

// --- after Ctrl-C

TEST_CASE("the command that an interrupted run names goes on with it to the same bits") {
  const Workbench bench;
  const Settings settings = {"train.steps=60", "run.name=it's \"mine\"", "eval.every_n_steps=20"};
  const Training expected = bench.train("expected", settings);
  bench.train("a run", {"train.steps=1"});
  Command command(bench.run_arguments("a run", settings, {"--overwrite"}),
                  bench.options("monitor.record:7:pause"));
  REQUIRE(command.wait_until([&] { return has(command.errors(), "monitor.record"); }));
  command.send(SIGINT);
  const Outcome outcome = command.wait();
  REQUIRE_CODE(outcome, 130);
  INFO(outcome.report());
  const std::string says = "go on with: ";
  const size_t begin = outcome.errors.find(says);
  REQUIRE(begin != std::string::npos);
  const std::string line =
      outcome.errors.substr(begin + says.size(), outcome.errors.find('\n', begin) - begin - says.size());
  CHECK(has(line, " run config.yaml "));
  CHECK(line.ends_with(" --resume"));
  CHECK_FALSE(has(line, "--overwrite"));
  const std::string shell = fmt::format("cd '{}' && {} 2>>log", bench / "", line);
  REQUIRE(std::system(shell.c_str()) == 0);
  CHECK_SAME(expected, bench.training("a run"));
}

}  // namespace collie::test
