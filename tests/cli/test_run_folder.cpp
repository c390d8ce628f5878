// A run removes and replaces what a run of its own wrote, and nothing else; what it cannot write to it says
// before it starts.
#include <fmt/format.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <set>

#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

using Parts = std::vector<std::string>;

// A finished run of two steps, with a checkpoint of each.
const Settings short_run = {"train.steps=2", "checkpoint.every_n_steps=1", "data.eval=[]"};

Workbench& finished_run() {
  static Workbench bench;
  static const bool made = (bench.train("finished", short_run), true);
  static_cast<void>(made);
  return bench;
}

std::string finished_copy(const std::string& name) {
  finished_run().copy("finished", name);
  return name;
}

void check_refused_unchanged(const Workbench& bench, const std::string& run, const Settings& settings,
                             const Parts& flags, const Parts& parts) {
  const auto before = bench.everything(run);
  INFO(run << " " << fmt::format("{} {}", fmt::join(settings, " "), fmt::join(flags, " ")));
  check_refused(bench.run(run, settings, flags), 2, parts);
  CHECK_UNCHANGED(before, bench.everything(run));
  CHECK_FALSE(fs::exists(bench / (run + ".old-1")));
}

}  // namespace

TEST_CASE("--overwrite moves the run that is there aside, and starts anew") {
  const Workbench& bench = finished_run();
  const std::string run = finished_copy("overwritten");
  bench.write(run + "/notes.txt", "notes");
  const std::string weights = text_of(bench / "overwritten/final/model.safetensors");
  for (const int number : {1, 2}) {
    const Outcome outcome = bench.run(run, short_run + Settings{"train.steps=1"}, {"--overwrite"});
    REQUIRE_CODE(outcome, 0);
    CHECK(has(outcome.errors, fmt::format("{}.old-{}", run, number)));
    CHECK(bench.training(run).steps.size() == 1);
    CHECK(bench.checkpoints(run) == Parts{"step-00000001"});
    CHECK_FALSE(fs::exists(bench / (run + "/notes.txt")));
    CHECK(fs::exists(bench / (run + "/cache")));
  }
  CHECK(text_of(bench / (run + ".old-1/notes.txt")) == "notes");
  CHECK(text_of(bench / (run + ".old-1/final/model.safetensors")) == weights);
  CHECK(bench.training(run + ".old-1").steps.size() == 2);
  CHECK(bench.training(run + ".old-2").steps.size() == 1);
  const Outcome resumed = bench.resume(run + ".old-1", short_run);  // it is still a run
  REQUIRE_CODE(resumed, 0);
  CHECK(has(resumed.errors, "nothing to do"));
}

TEST_CASE("--overwrite=delete removes what the run wrote, and leaves every other file where it is") {
  const Workbench& bench = finished_run();
  const std::string run = finished_copy("deleted");
  const Parts foreign = {"notes.txt",           "trace.json",
                         "final/thesis.txt",    "final/tokenizer.json",
                         "checkpoints/mine.pt", "checkpoints/step-00000001/notes.txt",
                         "cache/mine"};
  for (const std::string& file : foreign) bench.write(run + "/" + file, "mine");
  const Outcome outcome = bench.run(run, short_run + Settings{"train.steps=3", "checkpoint.every_n_steps=3"},
                                    {"--overwrite=delete"});
  REQUIRE_CODE(outcome, 0);
  CHECK_FALSE(fs::exists(bench / (run + ".old-1")));
  CHECK(bench.training(run).steps.size() == 3);
  CHECK(bench.checkpoints(run) == Parts{"mine.pt", "step-00000001", "step-00000003"});
  for (const std::string& file : foreign) {
    CAPTURE(file);
    // A file of the model that somebody has changed gives way to the new one.
    const bool replaced = file == "final/tokenizer.json";
    CHECK(text_of(bench / (run + "/" + (replaced ? "final.old-1/tokenizer.json" : file))) == "mine");
  }
}

TEST_CASE("a folder that no run made is never taken for one, whatever its files are called") {
  const Workbench bench;
  bench.train("other", short_run + Settings{"train.steps=1"});
  const std::string file =
      GENERATE(values<std::string>({"final/thesis.txt", "checkpoints/mine.pt", "metrics.jsonl",
                                    "config.resolved.yaml", "final", "checkpoints"}));
  CAPTURE(file);
  bench.write("folder/" + file, "precious");
  for (const Parts& flags : {Parts{}, Parts{"--resume"}, Parts{"--overwrite"}, Parts{"--overwrite=delete"}})
    check_refused_unchanged(bench, "folder", short_run, flags,
                            {"run.dir", "folder/" + file.substr(0, file.find('/')), "collie-run.json"});
  // The marker of another place does not make it one.
  fs::copy(bench / "other/final/collie-run.json", bench / "folder/collie-run.json");
  check_refused_unchanged(bench, "folder", short_run, {"--overwrite=delete"}, {"run.dir", "folder/"});
}

TEST_CASE("what the run reads is never moved, removed or written over") {
  const Workbench& bench = finished_run();
  const std::string run = finished_copy("with_inputs");
  bench.write(run + "/data/text.txt", "What a run reads may be in its folder.\n");
  fs::create_directory_symlink(bench / (run + "/final"), bench / "link_to_final");
  const Settings of_data = short_run + Settings{"data.train=[{path: 'with_inputs/data/*.txt'}]"};
  for (const char* flag : {"--overwrite", "--overwrite=delete"}) {
    check_refused_unchanged(bench, run, short_run + from_model("with_inputs/final"), {flag},
                            {"model.path", "with_inputs/final"});
    check_refused_unchanged(bench, run, short_run + from_model("link_to_final"), {flag},
                            {"model.path", "link_to_final"});
    check_refused_unchanged(bench, run, short_run + from_model("texts/../with_inputs/./final"), {flag},
                            {"model.path"});
    check_refused_unchanged(bench, run, of_data, {flag}, {"data.train.0.path", "with_inputs/data/text.txt"});
  }
  check_refused_unchanged(bench, run, short_run + from_model("link_to_final") + Settings{"train.steps=4"},
                          {"--resume"}, {"model.path", "link_to_final"});
  fs::remove(bench / "link_to_final");
}

TEST_CASE("a run without a checkpoint begins anew only where it never had one") {
  const Workbench& bench = finished_run();
  const std::string run = finished_copy("robbed");
  SECTION("with its final model") {
    fs::remove_all(bench / (run + "/checkpoints"));
    check_refused_unchanged(bench, run, short_run, {"--resume"}, {"run.dir", "final model", "--overwrite"});
    check_refused_unchanged(bench, run, short_run + Settings{"optimizer.lr=1"}, {"--resume"},
                            {"run.dir", "final model"});
  }
  SECTION("without its final model") {
    fs::remove_all(bench / (run + "/checkpoints"));
    fs::remove_all(bench / (run + "/final"));
    check_refused_unchanged(bench, run, short_run, {"--resume"}, {"run.dir", "has had checkpoints"});
  }
  SECTION("with checkpoints that are all damaged") {
    fs::remove_all(bench / (run + "/final"));
    for (const char* step : {"step-00000001", "step-00000002"})
      bench.write(run + "/checkpoints/" + step + "/manifest.json", "{}");
    const auto before = bench.everything(run);
    const Outcome outcome = bench.resume(run, short_run);
    INFO(outcome.report());
    CHECK(outcome.code == 2);
    CHECK_UNCHANGED(before, bench.everything(run));
  }
  fs::remove_all(bench / run);
}

TEST_CASE("a run whose marker is lost or damaged is known by its checkpoints") {
  const Workbench& bench = finished_run();
  const std::string run = finished_copy("unmarked");
  SECTION("lost") {
    fs::remove(bench / (run + "/collie-run.json"));
  }
  SECTION("damaged") {
    bench.write(run + "/collie-run.json", "{}");
  }
  const Outcome outcome = bench.resume(run, short_run + Settings{"train.steps=4"});
  REQUIRE_CODE(outcome, 0);
  CHECK(has(outcome.errors, "a checkpoint says which run is in"));
  CHECK(bench.checkpoints(run) == Parts{"step-00000003", "step-00000004"});
  fs::remove_all(bench / run);
}

TEST_CASE("files that were put into final/ outlive the next final model") {
  const Workbench& bench = finished_run();
  const std::string run = finished_copy("extended");
  bench.write(run + "/final/README.md", "a model card");
  bench.write(run + "/final/config.json", "changed by hand");
  REQUIRE_CODE(bench.resume(run, short_run + Settings{"train.steps=3"}), 0);
  CHECK(text_of(bench / (run + "/final/README.md")) == "a model card");
  CHECK(has(text_of(bench / (run + "/final/config.json")), "hidden_size"));
  CHECK(text_of(bench / (run + "/final.old-1/config.json")) == "changed by hand");
}

TEST_CASE("a run folder that cannot be one is refused, naming run.dir") {
  const Workbench bench;
  bench.write("file.txt", "text");
  fs::create_symlink("loop", bench / "loop");
  fs::create_symlink("nowhere", bench / "dangling");
  const auto names = [&] {
    std::set<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(bench / ".")) all.insert(entry.path().string());
    return all;
  };
  const auto refused = [&](const std::string& dir, const Parts& parts) {
    CAPTURE(dir);
    const auto before = names();
    check_refused(bench.run(dir, short_run), 2, parts);
    CHECK(names() == before);
  };
  refused("''", {"run.dir"});
  refused("file.txt", {"run.dir", "'file.txt' is a file"});
  refused("file.txt/run", {"run.dir", "'file.txt' is a file"});
  refused("file.txt/deep/run/", {"run.dir", "'file.txt' is a file"});
  refused("loop", {"run.dir", "symbolic links"});
  refused("loop/run", {"run.dir", "symbolic links"});
  refused("dangling", {"run.dir", "'dangling' leads to 'nowhere'"});
  refused("dangling/run", {"run.dir", "'dangling' leads to 'nowhere'"});
  refused(std::string(300, 'x'), {"run.dir", "too long"});
  refused("/proc/self/run", {"run.dir", "/proc/self"});
}

TEST_CASE("a run whose folder is moved or removed meanwhile ends with what has happened") {
  const Workbench bench;
  Command command(
      bench.run_arguments("run", {"train.steps=100000", "checkpoint.every_n_steps=2", "data.eval=[]"}),
      bench.options());
  REQUIRE(command.wait_until([&] { return bench.steps_done("run") >= 3; }));
  fs::rename(bench / "run", bench / "elsewhere");
  const bool another = GENERATE(false, true);
  if (another) bench.write("run/notes.txt", "notes");
  const Outcome outcome = command.wait();
  check_refused(outcome, 1, {"run.dir: '", "moved, replaced or removed", "--resume"});
  CHECK(fs::exists(bench / "run") == another);
  if (another) CHECK(bench.everything("run").size() == 1);
}

TEST_CASE("a run whose folder is moved in its very first checkpoint ends with what has happened", "[slow]") {
  const Workbench bench;
  Command command(bench.run_arguments("run", {"checkpoint.every_n_steps=2", "data.eval=[]"}),
                  bench.options("checkpoint.begin:1:pause"));
  REQUIRE(command.wait_until([&] { return fs::exists(bench / "run/checkpoints/step-00000002.partial"); }));
  fs::rename(bench / "run", bench / "elsewhere");
  check_refused(command.wait(), 1, {"run.dir: '", "moved, replaced or removed", "--resume"});
}

TEST_CASE("of two runs that start in one folder at once, one is refused and nothing is lost") {
  const Workbench& bench = finished_run();
  const std::string run = finished_copy("twice");
  const auto arguments = bench.run_arguments(run, short_run, {"--overwrite"});
  Command first(arguments, bench.options()), second(arguments, bench.options());
  const Outcome a = first.wait(), b = second.wait();
  INFO(a.report() << b.report());
  // Or one after the other.
  const bool both = a.code == 0 && b.code == 0;
  CHECK((both || (a.code == 0 && b.code == 2) || (a.code == 2 && b.code == 0)));
  CHECK(bench.training(run).steps.size() == 2);
  CHECK(bench.training(run + ".old-1").steps.size() == 2);
  CHECK_FALSE(fs::exists(bench / (run + (both ? ".old-3" : ".old-2"))));
}

TEST_CASE("a run in the working directory is not moved from under it") {
  const Workbench& bench = finished_run();
  const std::string run = finished_copy("here");
  fs::create_directory(bench / "here/deep");
  CommandOptions options = bench.options();
  options.working_directory = bench / "here/deep";
  const auto before = bench.everything(run);
  std::vector<std::string> arguments = bench.run_arguments("..", short_run, {"--overwrite"});
  arguments[1] = "../../config.yaml";
  arguments.insert(arguments.end(),
                   {"--set", "data.train=[{path: ../../texts/a.txt}]"});  // its tokens are cached
  check_refused(run_command(arguments, options), 2, {"run.dir", "working directory"});
  CHECK_UNCHANGED(before, bench.everything(run));
}

}  // namespace collie::test
