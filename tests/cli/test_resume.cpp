// What is stopped and gone on with is, bit by bit, what was never stopped: gone on with in any layout,
// refused where it would compute something else, and no worse for a damaged checkpoint.
#include <fmt/format.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>

#include "io/checkpoint_manifest.hpp"
#include "io/files.hpp"
#include "io/sealed_json.hpp"
#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

// Dies as soon as its second checkpoint is there, that of step 6.
constexpr const char* after_step_6 = "checkpoint.purge:2:kill";

Workbench& killed_run() {
  static Workbench bench;
  static const bool made = [] {
    const Outcome outcome = bench.run("killed", {}, {}, after_step_6);
    INFO(outcome.report());
    REQUIRE(outcome.signal == SIGKILL);
    REQUIRE(bench.checkpoints("killed") == std::vector<std::string>{"step-00000003", "step-00000006"});
    return true;
  }();
  static_cast<void>(made);
  return bench;
}

const Training& never_stopped() {
  static const Training training = killed_run().train("never_stopped");
  return training;
}

// A copy of the killed run, under a name of its own.
std::string killed_copy(const std::string& name) {
  killed_run().copy("killed", name);
  return name;
}

void flip_byte(const std::string& file, int64_t at) {
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  REQUIRE(stream.good());
  stream.seekg(at);
  const char byte = static_cast<char>(stream.get() ^ 0x10);
  stream.seekp(at);
  stream.put(byte);
}

std::string shard(const std::string& run, const std::string& checkpoint) {
  return killed_run() / (run + "/checkpoints/" + checkpoint + "/shard-00000.safetensors");
}

// What the newest checkpoint says the run was computed with, as `change` makes it: an earlier version's, say.
void change_maths(const std::string& run, const std::function<void(nlohmann::json&)>& change) {
  const std::string folder = killed_run() / (run + "/checkpoints/step-00000006");
  const std::string file = folder + "/" + manifest_name;
  nlohmann::json manifest = unseal(read_text_file(file), file);
  manifest.erase("sha256");
  change(manifest.at("metadata").at("maths"));
  write_file_durably(file, seal(manifest));
}

}  // namespace

TEST_CASE("a run repeated gives the same bits") {
  const Workbench bench;
  CHECK_SAME(bench.train("first"), bench.train("second"));
}

TEST_CASE("a killed run that is resumed ends as if it had never been stopped, in any layout") {
  const int pp = GENERATE(2, 1, 4);
  const std::string run = killed_copy(fmt::format("resumed_on_{}", pp));
  const Outcome outcome = killed_run().resume(run, {fmt::format("parallel.pp_size={}", pp)});
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, "goes on after step 6"));
  CHECK_SAME(never_stopped(), killed_run().training(run));
}

TEST_CASE("resuming a finished run changes nothing") {
  const Workbench bench;
  bench.train("run");
  const auto before = bench.everything("run");
  const Outcome outcome = bench.resume("run");
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, "nothing to do"));
  CHECK_UNCHANGED(before, bench.everything("run"));
}

TEST_CASE("resuming where there is no checkpoint starts at step 1") {
  const Workbench bench;
  const Training expected = bench.train("expected");
  SECTION("no folder") {}
  SECTION("a run that died before its first checkpoint") {
    REQUIRE(bench.run("run", {}, {}, "stage.update:3:kill").signal == SIGKILL);
    REQUIRE(bench.checkpoints("run").empty());
  }
  const Outcome outcome = bench.resume("run");
  REQUIRE_CODE(outcome, 0);
  CHECK_SAME(expected, bench.training("run"));
}

TEST_CASE("a resume that would compute something else is refused, unless allowed by name") {
  const auto& [setting, key] = GENERATE(values<std::pair<std::string, std::string>>({
      {"optimizer.lr=1.0e-3", "optimizer.lr"},
      {"optimizer.name=lion", "optimizer.name"},
      {"optimizer.groups=[{match: [\"*norm*\"], weight_decay: 0.0}]", "optimizer.groups"},
      {"run.seed=8", "run.seed"},
      {"train.clip_grad_norm=1.0", "train.clip_grad_norm"},
      {"data.shuffle=false", "data.shuffle"},
      {"lr_scheduler.name=constant", "lr_scheduler.name"},
      {"train.micro_batch_size=1", "train.sequences_a_step"},
      {"data.sequence_length=16", "data.sequence_length"},
  }));
  CAPTURE(setting);
  const std::string run = killed_copy("changed_" + key);
  const auto before = killed_run().everything(run);
  check_refused(killed_run().resume(run, {setting}), 2, {key, "--allow-change " + key});
  CHECK_UNCHANGED(before, killed_run().everything(run));

  const auto flags = std::vector<std::string>{"--resume", "--allow-change", key};
  if (key != "optimizer.lr") return;  // the rest is the same for all
  const Outcome outcome = killed_run().run(run, {setting}, flags);
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, "goes on after step 6"));
  const Training training = killed_run().training(run);
  REQUIRE(training.steps.size() == 12);
  CHECK(training.steps[5] == never_stopped().steps[5]);
  CHECK(training.steps[6].at("loss") == never_stopped().steps[6].at("loss"));  // before the rate counts
  CHECK(training.steps[6].at("lr") != never_stopped().steps[6].at("lr"));
  CHECK(training.steps[8].at("loss") != never_stopped().steps[8].at("loss"));
}

TEST_CASE("a run from before weight decay was for matrices alone goes on as it was") {
  const Workbench& bench = killed_run();
  const Settings all{"optimizer.decay_norms_and_biases=true", "optimizer.weight_decay=5.0"};
  const Settings decay{"optimizer.weight_decay=5.0"};
  const std::string run = "decays_all";
  REQUIRE(bench.run(run, all, {}, after_step_6).signal == SIGKILL);
  const Training expected = bench.train("decays_all_never_stopped", all);
  CHECK(first_difference(bench.train("decays_matrices", decay), expected) != "");
  change_maths(run, [](nlohmann::json& maths) { maths.at("optimizer").erase("decay_norms_and_biases"); });

  const auto before = bench.everything(run);
  check_refused(bench.resume(run, decay + Settings{"optimizer.decay_norms_and_biases=false"}), 2,
                {"optimizer.decay_norms_and_biases", "is false", "true", "--allow-change"});
  CHECK_UNCHANGED(before, bench.everything(run));

  REQUIRE(bench.run(run, decay, {"--resume"}, "checkpoint.purge:1:kill").signal == SIGKILL);
  const Outcome outcome = bench.resume(run, decay);  // from a checkpoint that has the key
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, "optimizer.decay_norms_and_biases: true, as in the run"));
  CHECK(has(text_of(bench / (run + "/config.resolved.yaml")), "decay_norms_and_biases: true"));
  CHECK_SAME(expected, bench.training(run));
}

TEST_CASE("a run with a constant rate from before schedules had options of their own goes on") {
  const Workbench& bench = killed_run();
  const Settings constant{"lr_scheduler.name=constant"};
  const std::string run = "constant";
  REQUIRE(bench.run(run, constant, {}, after_step_6).signal == SIGKILL);
  const Training expected = bench.train("constant_never_stopped", constant);
  change_maths(run, [](nlohmann::json& maths) {
    maths["lr_scheduler"] = {{"name", "constant"}, {"warmup_steps", 4}, {"min_lr_ratio", 0.1}};
  });
  REQUIRE_CODE(bench.resume(run, constant), 0);
  CHECK_SAME(expected, bench.training(run));
}

TEST_CASE("a run of a version that knew fewer keys goes on") {
  const std::string run = killed_copy("fewer_keys");
  change_maths(run, [](nlohmann::json& maths) {
    for (const char* key : {"fused_update", "state_dtype", "master"}) maths.at("optimizer").erase(key);
    maths.at("train").erase("clip_grad_norm_mode");
    maths.at("model").erase("dropout");
    maths.at("lr_scheduler").erase("warmup_ratio");
  });
  REQUIRE_CODE(killed_run().resume(run), 0);
  CHECK_SAME(never_stopped(), killed_run().training(run));
}

TEST_CASE("whoever allows another schedule allows what only one of the two has") {
  const std::string run = killed_copy("another_schedule");
  const Settings straight{"lr_scheduler={name: step, warmup_steps: 4, step_size: 100}"};
  const Settings shorter{"lr_scheduler={name: step, warmup_steps: 3, step_size: 100}"};
  const std::vector<std::string> flags{"--resume", "--allow-change", "lr_scheduler.name"};
  check_refused(killed_run().run(run, shorter, flags), 2,
                {"lr_scheduler.warmup_steps", "is 3", "--allow-change lr_scheduler.warmup_steps"});
  REQUIRE_CODE(killed_run().run(run, straight, flags), 0);
  CHECK(killed_run().training(run).steps.at(11).at("lr") == "0.003");
}

TEST_CASE("every schedule goes on where it was, and no option of it may change") {
  const Workbench& bench = killed_run();
  const auto& [settings, change, key] = GENERATE(values<std::tuple<Settings, std::string, std::string>>({
      {{"lr_scheduler={name: cosine_with_restarts, warmup_ratio: 0.1, num_cycles: 2}"},
       "lr_scheduler.num_cycles=3",
       "lr_scheduler.num_cycles"},
      {{"lr_scheduler={name: warmup_stable_decay, warmup_steps: 2, decay_steps: 5}"},
       "lr_scheduler.decay_type=linear",
       "lr_scheduler.decay_type"},
      {{"lr_scheduler={name: step, warmup_steps: 0, step_size: 4}"},
       "lr_scheduler.step_size=5",
       "lr_scheduler.step_size"},
      {{"lr_scheduler={name: one_cycle}"}, "lr_scheduler.three_phase=true", "lr_scheduler.three_phase"},
      {{"lr_scheduler={name: inverse_sqrt, warmup_steps: 3}"},
       "lr_scheduler.timescale=9",
       "lr_scheduler.timescale"},
  }));
  CAPTURE(key);
  const std::string run = "scheduled_" + key;
  REQUIRE(bench.run(run, settings, {}, after_step_6).signal == SIGKILL);
  check_refused(bench.resume(run, settings + Settings{change}), 2, {key, "--allow-change " + key});
  REQUIRE_CODE(bench.resume(run, settings), 0);
  CHECK_SAME(bench.train(run + "_never_stopped", settings), bench.training(run));
}

TEST_CASE("other data of the same size are a change too") {
  const std::string run = killed_copy("other_data");
  Workbench& bench = killed_run();
  const std::string text = text_of(bench / "texts/a.txt");
  std::string other = text;
  for (char& c : other) c = c == 'e' ? 'o' : c;
  bench.write("texts/a.txt", other);
  const Outcome outcome = bench.resume(run);
  bench.write("texts/a.txt", text);
  check_refused(outcome, 2, {"data"});
}

TEST_CASE("a finished run goes on when it is given more steps") {
  const Workbench bench;
  const Training first = bench.train("run");
  const Outcome outcome = bench.resume("run", {"train.steps=16"});
  REQUIRE_CODE(outcome, 0);
  const Training more = bench.training("run");
  REQUIRE(more.steps.size() == 16);
  CHECK(std::vector(more.steps.begin(), more.steps.begin() + 12) == first.steps);
  CHECK_FALSE(more.weights.empty());
  CHECK_FALSE(more.weights == first.weights);
  CHECK(bench.checkpoints("run") == std::vector<std::string>{"step-00000015", "step-00000016"});
}

TEST_CASE("the final model of fewer steps is never taken for that of more") {
  const Workbench bench;
  const Training first = bench.train("run");
  REQUIRE(bench.run("run", {"train.steps=16"}, {"--resume"}, "final.begin:1:kill").signal == SIGKILL);
  const Outcome outcome = bench.resume("run", {"train.steps=16"});
  REQUIRE_CODE(outcome, 0);
  CHECK_FALSE(first_difference(first, bench.training("run")) == "");
  // Whatever was stopped on the way, what comes out is what one resume gives.
  bench.train("straight");
  REQUIRE_CODE(bench.resume("straight", {"train.steps=16"}), 0);
  CHECK_SAME(bench.training("straight"), bench.training("run"));
}

TEST_CASE("a damaged newest checkpoint is skipped with a warning, and the one before is used") {
  Workbench& bench = killed_run();
  const std::string run = killed_copy("damaged");
  const std::string file = shard(run, "step-00000006");
  SECTION("a flipped byte") {
    flip_byte(file, static_cast<int64_t>(fs::file_size(file)) - 1000);
  }
  SECTION("a truncated file") {
    fs::resize_file(file, fs::file_size(file) / 2);
  }
  SECTION("a missing file") {
    fs::remove(file);
  }
  SECTION("a flipped byte in the manifest") {
    flip_byte(bench / (run + "/checkpoints/step-00000006/manifest.json"), 1);
  }
  SECTION("an empty manifest") {
    bench.write(run + "/checkpoints/step-00000006/manifest.json", "");
  }
  SECTION("a manifest that is a folder") {
    const std::string manifest = bench / (run + "/checkpoints/step-00000006/manifest.json");
    fs::remove(manifest);
    fs::create_directory(manifest);
  }
  SECTION("another step in the manifest") {
    const std::string manifest = run + "/checkpoints/step-00000006/manifest.json";
    std::string text = text_of(bench / manifest);
    text.replace(text.find("\"step\": 6"), 9, "\"step\": 7");
    bench.write(manifest, text);
  }
  SECTION("a flipped byte in the marker") {
    flip_byte(bench / (run + "/checkpoints/step-00000006/collie-run.json"), 60);
  }
  const Outcome outcome = bench.resume(run);
  fs::rename(bench / run, bench / (run + "-done"));
  REQUIRE_CODE(outcome, 0);
  INFO(outcome.report());
  CHECK(has(outcome.errors, "warning: skipping a defective checkpoint"));
  CHECK(has(outcome.errors, "step-00000006"));
  CHECK(has(outcome.errors, "goes on after step 3"));
  CHECK_SAME(never_stopped(), bench.training(run + "-done"));
  fs::remove_all(bench / (run + "-done"));
}

TEST_CASE("where every checkpoint is damaged, the run does not silently begin anew") {
  Workbench& bench = killed_run();
  const std::string run = killed_copy("all_damaged");
  for (const char* checkpoint : {"step-00000003", "step-00000006"}) flip_byte(shard(run, checkpoint), 900);
  const Outcome outcome = bench.resume(run);
  INFO(outcome.report());
  CHECK(outcome.code == 2);
  CHECK(bench.checkpoints(run) == std::vector<std::string>{"step-00000003", "step-00000006"});
}

TEST_CASE("a folder that another process is running in is refused to a second one") {
  const Workbench bench;
  Command first(bench.run_arguments("run", {"parallel.tp_size=2"}),
                bench.options("stage.collective:10:block"));
  REQUIRE(first.wait_until([&] { return bench.steps_done("run") >= 2; }));
  const std::string metrics = text_of(bench / "run/metrics.jsonl");
  for (const char* flag : {"--resume", "--overwrite"})
    check_refused(bench.run("run", {}, {flag}), 2, {"run.dir", "another process", "'run'"});
  CHECK(text_of(bench / "run/metrics.jsonl") == metrics);
  CHECK(first.running());
  first.send(SIGKILL);  // however it ends, the folder is free then
  first.wait();
  CHECK(bench.resume("run").code == 0);
}

TEST_CASE("--dry-run says what would run and writes nothing but the token cache") {
  const Workbench bench;
  const Outcome outcome = bench.run("run", {}, {"--dry-run"});
  REQUIRE_CODE(outcome, 0);
  INFO(outcome.report());
  CHECK(outcome.output.empty());
  CHECK(has(outcome.errors, "stage 1 on rank 1"));
  CHECK_FALSE(fs::exists(bench / "run/config.resolved.yaml"));
  CHECK_FALSE(fs::exists(bench / "run/metrics.jsonl"));
  CHECK(bench.run("run").code == 0);
}

}  // namespace collie::test
