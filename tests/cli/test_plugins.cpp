// Plugins: the pieces of examples/plugin compute what the engine's own do, in every process of a run, and
// what is no plugin of this engine is refused before anything starts.
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/files.hpp"
#include "tests/cli/cluster.hpp"
#include "tests/cli/workbench.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

const std::string example = example_plugin();

Settings with_plugin(const std::string& path) {
  return {"plugins=[" + path + "]"};
}

// The plugin's optimizer with the momentum of both of Lion's means is Lion.
const Settings of_plugin = {"optimizer={name: signum, lr: 0.002, momentum: 0.9}", "train.clip_grad_norm=0"};
const Settings of_engine = {"optimizer={name: lion, lr: 0.002, betas: [0.9, 0.9], weight_decay: 0.0}",
                            "train.clip_grad_norm=0"};

// A number of each step.
std::vector<double> numbers(const Workbench& bench, const std::string& run, const char* name) {
  std::vector<double> all;
  std::istringstream lines(text_of(bench / (run + "/metrics.jsonl")));
  for (std::string line; std::getline(lines, line);)
    all.push_back(nlohmann::json::parse(line).at(name).get<double>());
  return all;
}

// A file with the plugin's code that is not the same file.
std::string other_plugin(const Workbench& bench, const std::string& name) {
  return bench.write(name, text_of(example) + "\n");
}

std::vector<std::unique_ptr<Command>> start_job(const Workbench& bench,
                                                const std::vector<Settings>& settings) {
  const int port = free_port();
  std::vector<std::unique_ptr<Command>> processes;
  for (size_t rank = 0; rank < settings.size(); ++rank) {
    CommandOptions options = bench.options();
    options.environment =
        job_environment(loopback(port), static_cast<int>(rank), static_cast<int>(settings.size()));
    processes.push_back(std::make_unique<Command>(bench.run_arguments("run", settings[rank]), options));
  }
  return processes;
}

}  // namespace

TEST_CASE("an optimizer of a plugin computes the bits of the engine's, also in other processes",
          "[plugins]") {
  const Workbench bench;
  const Settings settings = with_plugin(example) + of_plugin;
  const Training expected = bench.train("lion", of_engine);
  const Training found = bench.train("here", settings);
  CHECK_SAME(expected, found);

  Nodes nodes(2, {}, {"--plugin", example});
  require_done(bench.run("nodes", settings, over(nodes)));
  CHECK_SAME(expected, bench.training("nodes"));

  for (const auto& process : start_job(bench, {settings, settings})) require_done(process->wait());
  CHECK_SAME(expected, bench.training("run"));
}

TEST_CASE("a plugin's data format and learning-rate schedule do what they say", "[plugins]") {
  const Workbench bench;
  bench.write("poem.txt", "the dog\n\nherds the sheep\nover hills and hills\nin the wind");
  bench.write("poem.jsonl",
              "{\"t\": \"the dog\"}\n{\"t\": \"herds the sheep\"}\n{\"t\": \"over hills and hills\"}\n"
              "{\"t\": \"in the wind\"}\n");
  const Settings common = with_plugin(example) + Settings{"lr_scheduler={name: triangle, peak: 0.25}"};
  const Training expected =
      bench.train("jsonl", common + Settings{"data.train=[{path: poem.jsonl, format: jsonl, text: t}]"});
  const Training found =
      bench.train("lines", common + Settings{"data.train=[{path: poem.txt, format: lines}]"});
  CHECK_SAME(expected, found);
  const std::vector<double> rates = numbers(bench, "lines", "lr");
  REQUIRE(rates.size() == 12);
  for (size_t step = 1; step <= 12; ++step)
    CHECK(rates[step - 1] ==
          Approx(0.003 * (step < 3 ? step / 3.0 : (12.0 - static_cast<double>(step)) / 9.0)));
}

TEST_CASE("a plugin's callback ends a run", "[plugins]") {
  const Workbench bench;
  require_done(bench.run("run", with_plugin(example) + Settings{"callbacks=[halved]", "train.steps=1000",
                                                                "optimizer.lr=0.01", "data.eval=[]"}));
  const std::vector<double> losses = numbers(bench, "run", "loss");
  REQUIRE(losses.size() >= 2);
  REQUIRE(losses.size() < 1000);
  CHECK(losses.back() < losses.front() / 2);
  CHECK(losses[losses.size() - 2] >= losses.front() / 2);
}

TEST_CASE("a run with a plugin goes on with the same file, and with another one only if that is allowed",
          "[plugins]") {
  const Workbench bench;
  const std::string file = bench.write("mine.so", text_of(example));
  const Settings settings = with_plugin("mine.so") + of_plugin;
  const Training expected = bench.train("whole", settings);
  REQUIRE(bench.run("run", settings, {}, "checkpoint.purge:2:kill").signal == SIGKILL);
  bench.copy("run", "changed");
  require_done(bench.resume("run", settings));
  CHECK_SAME(expected, bench.training("run"));

  const std::string before = sha256_of_file(file);
  other_plugin(bench, "mine.so");
  check_refused(bench.resume("changed", settings), 2,
                {"plugins.mine.so: is ", before.substr(0, 40), "--allow-change plugins.mine.so"});
  check_refused(bench.resume("changed", of_engine), 2, {"--allow-change"});
  require_done(bench.run("changed", settings, {"--resume", "--allow-change", "plugins"}));
  CHECK_SAME(expected, bench.training("changed"));
}

TEST_CASE("data that another version of a plugin has read are other data", "[plugins]") {
  const Workbench bench;
  bench.write("mine.so", text_of(example));
  const Settings settings = with_plugin("mine.so") +
                            Settings{"data.train=[{path: \"texts/*.txt\", format: lines}]", "data.eval=[]"};
  REQUIRE(bench.run("run", settings, {}, "checkpoint.purge:2:kill").signal == SIGKILL);
  other_plugin(bench, "mine.so");
  check_refused(bench.run("run", settings, {"--resume", "--allow-change", "plugins"}), 2,
                {"data.contents: is ", "--allow-change data.contents"});
  require_done(bench.run("run", settings,
                         {"--resume", "--allow-change", "plugins", "--allow-change", "data.contents"}));
}

TEST_CASE("commands after a run take its plugin if it is named, and not because the run's folder names it",
          "[plugins]") {
  const Workbench bench;
  const Settings settings = with_plugin(example) + of_plugin;
  bench.train("run", settings);
  std::vector<std::string> words;
  for (const std::string& setting : settings + Settings{"run.dir=run"}) {
    words.emplace_back("--set");
    words.push_back(setting);
  }
  for (const char* command : {"eval", "plan", "data"}) {
    CAPTURE(command);
    require_done(bench.command(std::vector<std::string>{command, "config.yaml"} + words));
  }
  const std::vector<std::string> named = {"--set", with_plugin(example).front()};
  const std::vector<std::vector<std::string>> commands = {
      {"generate", "--run", "run", "--prompt", "the", "--max-new-tokens", "4"},
      {"export", "--run", "run", "--out", "exported"}};
  for (const auto& command : commands) {
    CAPTURE(command.front());
    check_refused(bench.command(command), 2,
                  {"run/config.resolved.yaml:", "plugins: found '" + example + "'", "--set 'plugins=["});
    require_done(bench.command(command + named));
  }
  CHECK(sha256_of_file(bench / "exported/model.safetensors") ==
        sha256_of_file(bench / "run/final/model.safetensors"));
}

TEST_CASE("what is no plugin of this engine is refused with its name", "[plugins]") {
  const Workbench bench;
  const auto refused = [&](const Settings& settings, const std::vector<std::string>& parts) {
    check_refused(bench.run("run", settings), 2, parts);
    CHECK_FALSE(fs::exists(bench / "run"));
  };
  refused(with_plugin("missing.so"), {"--set plugins: cannot read missing.so: No such file"});
  refused(with_plugin("."), {"--set plugins: cannot read .: "});
  refused(with_plugin("config.yaml"), {"'config.yaml' is not a shared library"});
  refused(with_plugin("/proc/self/exe"), {"is a shared library, but not a plugin", "COLLIE_PLUGIN"});
  refused(with_plugin(bench.write("cut.so", text_of(example).substr(0, 5000))),
          {"cut.so' is a shared library that was cut: it has 5000 bytes"});
  other_plugin(bench, "copy.so");
  refused(with_plugin(example + ", copy.so"), {"'copy.so': ", "optimizer 'signum' is registered already"});
  fs::create_directory(bench / "other");
  const std::string same_name = other_plugin(bench, "other/" + fs::path(example).filename().string());
  refused(with_plugin(example + ", " + same_name), {same_name, "another plugin of that name is loaded"});
  refused(Settings{"optimizer.name=signum"}, {"unknown optimizer 'signum'"});
  // Named twice, it is loaded once.
  require_done(bench.run("run", with_plugin(example + ", " + example) + of_plugin, {"--dry-run"}));
}

TEST_CASE("a plugin for another version is refused with both versions", "[plugins]") {
  const Workbench bench;
  CommandOptions options = bench.options();
  options.environment["COLLIE_ENGINE_INTERFACE"] = "99.0 (interface 0123456789ab)";
  check_refused(run_command(bench.run_arguments("run", with_plugin(example)), options), 2,
                {"compiled against collie-engine 0.", "this is collie-engine 99.0 (interface 0123456789ab)"});
}

TEST_CASE("a process loads the plugins that its own operator named, and refuses a run with others",
          "[plugins]") {
  const Workbench bench;
  const Settings settings = with_plugin(example) + of_plugin;
  const std::string hash = sha256_of_file(example), name = fs::path(example).filename().string();
  {
    Nodes nodes(2);
    check_refused(bench.run("none", settings, over(nodes)), 2,
                  {"the run has the plugin " + name + " (SHA-256 " + hash + ")", "--plugin " + name});
  }
  fs::create_directory(bench / "other");
  const std::string other = other_plugin(bench, "other/" + name);
  {
    Nodes nodes(2, {}, {"--plugin", other});
    check_refused(bench.run("other", settings, over(nodes)), 2,
                  {name + " has the SHA-256 " + hash, sha256_of_file(other), "the same file"});
  }
  auto job = start_job(bench, {settings, with_plugin(other) + of_plugin});
  check_refused(job[0]->wait(), 2, {name + " has the SHA-256 " + hash, "the same file"});
  CHECK(job[1]->wait().code == 2);
  check_refused(bench.command({"node", "--listen", loopback(free_port()), "--plugin", "missing.so"}), 2,
                {"--plugin: cannot read missing.so"});
}

}  // namespace collie::test
