// What a run leaves for other programs to read says what metrics.jsonl says, however the run was interrupted,
// and belongs to the run as its other files do.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/small_disk.hpp"
#include "tests/cli/workbench.hpp"
#include "tests/io/event_file.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const Settings tensorboard = {"monitor.tensorboard=true"}, table = {"monitor.csv=true"};

std::vector<json> records(const Workbench& bench, const std::string& run) {
  std::vector<json> all;
  std::istringstream lines(text_of(bench / (run + "/metrics.jsonl")));
  for (std::string line; std::getline(lines, line);) all.push_back(json::parse(line));
  return all;
}

std::vector<std::string> event_files(const Workbench& bench, const std::string& run) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(bench / (run + "/tensorboard")))
    if (entry.path().filename() != "collie-run.json") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

std::string tag_of(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  return name.starts_with("eval_") ? "eval/" + name.substr(5) : "train/" + name;
}

// TensorBoard shows the numbers of metrics.jsonl, each once, and no others.
void check_shown_as_recorded(const Workbench& bench, const std::string& run) {
  ShownEvents shown;
  for (const std::string& file : event_files(bench, run)) {
    bool torn = false;
    const std::vector<ReadEvent> events = EventFileReader::read(text_of(file), &torn);
    CHECK(events.at(0).version == "brain.Event:2");
    shown.add(events);
  }
  std::map<std::string, std::map<int64_t, std::vector<float>>> expected;
  for (const json& record : records(bench, run))
    for (const auto& [name, value] : record.items())
      if (name != "step" && value.is_number())
        expected[tag_of(name)][record.at("step")] = {static_cast<float>(value.get<double>())};
  CHECK(shown.scalars() == expected);
  CHECK(expected.at("train/loss").size() == records(bench, run).size());
  CHECK(expected.count("eval/loss") == 1);
}

// A run that is interrupted while it evaluates step 4: the record of that step is amended when it is resumed.
void interrupt_in_evaluation(const Workbench& bench, const std::string& run, const Settings& settings) {
  Command command(bench.run_arguments(run, settings), bench.options("stage.evaluate:1:pause"));
  REQUIRE(command.wait_until([&] { return has(command.errors(), "stage.evaluate"); }));
  command.send(SIGINT);
  REQUIRE_CODE(command.wait(), 130);
  REQUIRE(bench.checkpoints(run).back() == "step-00000004");
  REQUIRE_FALSE(records(bench, run).back().contains("eval_loss"));
}

}  // namespace

TEST_CASE(
    "TensorBoard shows each number of metrics.jsonl once, also of a run "
    "killed and resumed") {
  const Workbench bench;
  const Training expected = bench.train("expected");
  CHECK(run_command(bench.run_arguments("run", tensorboard), bench.options("monitor.record:8:kill")).code !=
        0);
  REQUIRE(event_files(bench, "run").size() == 1);
  // As if it had been killed in the middle of a write.
  std::ofstream(event_files(bench, "run").front(), std::ios::binary | std::ios::app) << "torn";
  REQUIRE_CODE(bench.resume("run", tensorboard), 0);
  CHECK(event_files(bench, "run").size() == 2);
  CHECK_SAME(expected, bench.training("run"));
  check_shown_as_recorded(bench, "run");
}

TEST_CASE(
    "a live reader of event files sees a step as soon as metrics.jsonl "
    "has it") {
  const Workbench bench;
  CHECK(run_command(bench.run_arguments("run", tensorboard), bench.options("monitor.record:6:kill")).code !=
        0);
  CHECK(bench.steps_done("run") == 5);
  const auto events = EventFileReader::read(text_of(event_files(bench, "run").at(0)));
  CHECK(events.back().step == 5);
}

TEST_CASE(
    "a run that has never had a checkpoint leaves no events of its steps "
    "when it begins anew") {
  const Workbench bench;
  CHECK(run_command(bench.run_arguments("run", tensorboard), bench.options("monitor.record:3:kill")).code !=
        0);
  REQUIRE(bench.checkpoints("run").empty());
  REQUIRE_CODE(bench.resume("run", tensorboard), 0);
  CHECK(event_files(bench, "run").size() == 1);
  check_shown_as_recorded(bench, "run");
}

TEST_CASE(
    "a resume without TensorBoard leaves its files, and one with it "
    "begins them") {
  const Workbench bench;
  const Settings to_6 = {"train.steps=6", "lr_scheduler.name=constant"};
  bench.train("run", to_6);
  CHECK_FALSE(fs::exists(bench / "run/tensorboard"));
  REQUIRE_CODE(bench.resume("run", to_6 + tensorboard + Settings{"train.steps=8"}), 0);
  const auto files = event_files(bench, "run");
  REQUIRE(files.size() == 1);
  const auto events = EventFileReader::read(text_of(files.front()));
  REQUIRE(events.size() == 4);
  CHECK(events[1].starts_session);
  CHECK(events[1].step == 7);
  CHECK(events[3].step == 8);
  REQUIRE_CODE(bench.resume("run", to_6 + Settings{"train.steps=9"}), 0);
  CHECK(event_files(bench, "run") == files);
}

TEST_CASE(
    "--overwrite=delete removes the run's event files alone; --overwrite "
    "moves them aside") {
  const Workbench bench;
  const Settings short_run = tensorboard + Settings{"train.steps=2"};
  bench.train("run", short_run);
  bench.write("run/tensorboard/events.out.tfevents.0000000001.mine", "mine");
  const std::string first = event_files(bench, "run").back();
  // Also where the new run has no such sink.
  REQUIRE_CODE(bench.run("run", {"train.steps=2"}, {"--overwrite=delete"}), 0);
  CHECK_FALSE(fs::exists(first));
  CHECK(text_of(bench / "run/tensorboard/events.out.tfevents.0000000001.mine") == "mine");
  REQUIRE_CODE(bench.run("run", short_run, {"--overwrite=delete"}), 0);
  CHECK(event_files(bench, "run").size() == 2);
  REQUIRE_CODE(bench.run("run", short_run, {"--overwrite"}), 0);
  CHECK(event_files(bench, "run").size() == 1);
  CHECK(event_files(bench, "run.old-1").size() == 2);
}

TEST_CASE(
    "a tensorboard/ that no run wrote is refused before the start, "
    "whatever is asked for") {
  const Workbench bench;
  const Settings short_run = {"train.steps=2", "checkpoint.every_n_steps=1"};
  const bool is_file = GENERATE(false, true);
  const std::string name = is_file ? "run/tensorboard" : "run/tensorboard/thesis";
  SECTION("in a new folder") {
    bench.write(name, "mine");
    check_refused(bench.run("run", short_run + tensorboard), 2,
                  {"run.dir", "run/tensorboard", "move it away"});
  }
  SECTION("in a run's folder") {
    bench.train("run", short_run);
    bench.write(name, "mine");
    for (const char* flag : {"--resume", "--overwrite=delete"})
      check_refused(bench.run("run", short_run + tensorboard + Settings{"train.steps=3"}, {flag}), 2,
                    {"run.dir", "run/tensorboard", "does not name it"});
    // Who does not write there is not concerned.
    REQUIRE_CODE(bench.resume("run", short_run + Settings{"train.steps=3"}), 0);
  }
  CHECK(text_of(bench / name) == "mine");
}

TEST_CASE("an empty tensorboard/ is no obstacle") {
  const Workbench bench;
  fs::create_directories(bench / "run/tensorboard");
  bench.train("run", tensorboard + Settings{"train.steps=4"});
  check_shown_as_recorded(bench, "run");
}

TEST_CASE(
    "a full disk in tensorboard/ ends the run with the file's name and "
    "the system's reason") {
  const Workbench bench;
  fs::create_directories(bench / "run/tensorboard");
  if (!mount_small_disk(bench / "run/tensorboard", "8k")) {
    WARN("skipped: no disk can be mounted here");
    return;
  }
  const Outcome outcome = bench.run("run", tensorboard + Settings{"train.steps=100", "data.eval=[]"});
  check_refused(
      outcome, 1,
      {"monitor", "cannot write", "run/tensorboard/events.out.tfevents.", "No space left on device"});
  const auto events = EventFileReader::read(text_of(event_files(bench, "run").at(0)));  // none is torn
  CHECK(events.back().step == bench.steps_done("run") - 1);
  ::umount2((bench / "run/tensorboard").c_str(), MNT_DETACH);
}

// --- CSV

// The fields of a file in which no field is quoted, as texts.
std::vector<std::vector<std::string>> rows_of(const std::string& text) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    rows.emplace_back();
    std::istringstream fields(line + ",");
    for (std::string field; std::getline(fields, field, ',');) rows.back().push_back(field);
  }
  return rows;
}

// metrics.csv has the numbers of metrics.jsonl, digit by digit, and no others.
void check_table_as_recorded(const Workbench& bench, const std::string& run) {
  const auto rows = rows_of(text_of(bench / (run + "/metrics.csv")));
  const auto all = records(bench, run);
  REQUIRE(rows.size() == all.size() + 1);
  for (size_t i = 0; i < all.size(); ++i) {
    CAPTURE(all[i].dump());
    REQUIRE(rows[i + 1].size() == rows[0].size());
    size_t numbers = 0;
    for (size_t column = 0; column < rows[0].size(); ++column) {
      CAPTURE(rows[0][column]);
      const json number = all[i].value(rows[0][column], json());
      CHECK(rows[i + 1][column] == (number.is_null() ? "" : number.dump()));
      numbers += all[i].contains(rows[0][column]);
    }
    CHECK(numbers == all[i].size());
  }
}

TEST_CASE("metrics.csv has each number of metrics.jsonl, also of a run killed and resumed") {
  const Workbench bench;
  SECTION("whole") {
    bench.train("run", table);
  }
  SECTION("killed") {
    CHECK(run_command(bench.run_arguments("run", table), bench.options("monitor.record:8:kill")).code != 0);
    std::ofstream(bench / "run/metrics.csv", std::ios::binary | std::ios::app) << "8,0,5.";
    REQUIRE_CODE(bench.resume("run", table), 0);
  }
  SECTION("killed before its first checkpoint") {
    CHECK(run_command(bench.run_arguments("run", table), bench.options("monitor.record:3:kill")).code != 0);
    REQUIRE(bench.checkpoints("run").empty());
    REQUIRE_CODE(bench.resume("run", table), 0);
  }
  REQUIRE(records(bench, "run").size() == 12);
  check_table_as_recorded(bench, "run");
}

TEST_CASE("a record that a resume amends is shown once, and is one row", "[slow]") {
  const Workbench bench;
  const Settings both = tensorboard + table;
  interrupt_in_evaluation(bench, "run", both);
  REQUIRE_CODE(bench.resume("run", both), 0);
  REQUIRE(records(bench, "run").at(3).contains("eval_loss"));
  REQUIRE(records(bench, "run").size() == 12);
  check_shown_as_recorded(bench, "run");
  check_table_as_recorded(bench, "run");
}

TEST_CASE("metrics.csv is cut back also by a resume that does not go on with it") {
  const Workbench bench;
  CHECK(run_command(bench.run_arguments("run", table), bench.options("monitor.record:8:kill")).code != 0);
  CHECK(rows_of(text_of(bench / "run/metrics.csv")).back().front() == "7");
  REQUIRE_CODE(bench.resume("run"), 0);
  CHECK(rows_of(text_of(bench / "run/metrics.csv")).back().front() == "6");
}

TEST_CASE("a metrics.csv that no run wrote is refused before the start, whatever is asked for") {
  const Workbench bench;
  const Settings short_run = {"train.steps=2", "checkpoint.every_n_steps=1"};
  SECTION("in a new folder") {
    bench.write("run/metrics.csv", "mine");
    check_refused(bench.run("run", short_run + table), 2, {"run.dir", "run/metrics.csv", "move it away"});
  }
  SECTION("in a run's folder") {
    bench.train("run", short_run);
    bench.write("run/metrics.csv", "mine");
    for (const char* flag : {"--resume", "--overwrite=delete"})
      check_refused(bench.run("run", short_run + table + Settings{"train.steps=3"}, {flag}), 2,
                    {"run.dir", "run/metrics.csv", "does not name it"});
    REQUIRE_CODE(bench.resume("run", short_run + Settings{"train.steps=3"}), 0);
    REQUIRE_CODE(bench.run("run", short_run, {"--overwrite=delete"}), 0);
  }
  CHECK(text_of(bench / "run/metrics.csv") == "mine");
}

TEST_CASE("a metrics.csv that is no longer a run's table stops a resume, by name") {
  const Workbench bench;
  bench.train("run", table + Settings{"train.steps=3"});
  bench.write("run/metrics.csv", "name,price\ntea,3\n");
  check_refused(bench.resume("run", table + Settings{"train.steps=4"}), 2,
                {"run/metrics.csv", "no column 'step'", "move it away"});
  CHECK(text_of(bench / "run/metrics.csv") == "name,price\ntea,3\n");
}

TEST_CASE("a run whose marker is lost goes on in its own files") {
  const Workbench bench;
  const Settings both = table + tensorboard;
  bench.train("run", both + Settings{"train.steps=6"});
  fs::remove(bench / "run/collie-run.json");
  REQUIRE_CODE(bench.resume("run", both + Settings{"train.steps=8"}), 0);
  check_table_as_recorded(bench, "run");
  CHECK(records(bench, "run").size() == 8);
  CHECK(event_files(bench, "run").size() == 2);
}

TEST_CASE("--overwrite=delete removes the run's metrics.csv") {
  const Workbench bench;
  bench.train("run", table + Settings{"train.steps=2"});
  REQUIRE_CODE(bench.run("run", {"train.steps=2"}, {"--overwrite=delete"}), 0);
  CHECK_FALSE(fs::exists(bench / "run/metrics.csv"));
}

}  // namespace collie::test
