#include "io/run_files.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.hpp"
#include "io/run_folder.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::ScratchFolder;
namespace fs = std::filesystem;

namespace {

const std::string claiming_run(32, 'a'), claiming_other_run(32, 'b');

using Files = std::map<std::string, std::string>;

}  // namespace

TEST_CASE("a folder for a sink's files is made with the run's marker, which names each file") {
  const ScratchFolder folder;
  const std::string events = folder / "events";
  claim_file(events, claiming_run, "one");
  claim_file(events, claiming_run, "two");
  claim_file(events, claiming_run, "two");
  CHECK(read_marker(events)->files == Files{{"one", ""}, {"two", ""}});
  CHECK(is_of_run(events, claiming_run));
  folder.write("events/one", "1");
  folder.write("events/foreign", "mine");
  discard_folder(events, claiming_run);
  CHECK_FALSE(fs::exists(events + "/one"));
  CHECK(fs::exists(events + "/foreign"));
}

TEST_CASE("a folder that holds nothing is taken; one that holds something of others is not") {
  const ScratchFolder folder;
  fs::create_directory(folder / "empty");
  folder.write("killed/collie-run.json", "");
  for (const char* name : {"empty", "killed"}) {
    CAPTURE(name);
    CHECK(holds_nothing(folder / name));
    claim_file(folder / name, claiming_run, "file");
    CHECK_FALSE(holds_nothing(folder / name));
    CHECK(is_of_run(folder / name, claiming_run));
    CHECK_THROWS_WITH(claim_file(folder / name, claiming_other_run, "file"),
                      contains(folder / name) && contains("move it away"));
  }
  folder.write("full/notes", "mine");
  folder.write("file", "mine");
  fs::create_directory_symlink(folder / "empty", folder / "link");
  for (const char* name : {"full", "file", "link"}) {
    CAPTURE(name);
    CHECK_FALSE(holds_nothing(folder / name));
    CHECK_THROWS_AS(claim_file(folder / name, claiming_run, "file"), RunError);
  }
}

TEST_CASE("an unfinished folder goes as a whole while another thread writes into it") {
  const ScratchFolder folder;
  const std::string unfinished = folder / "step-00000001.partial";
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    begin_folder(unfinished, claiming_run);
    std::atomic<int> written = 0;
    std::thread writer([&] {
      while (std::ofstream(unfinished + "/shard-" + std::to_string(written))) ++written;
    });
    while (written < 10) std::this_thread::yield();
    discard_folder(unfinished, claiming_run);
    writer.join();
    CHECK_FALSE(fs::exists(unfinished));
    CHECK_FALSE(fs::exists(unfinished + ".discarded"));
  }
}

TEST_CASE("what a process left that was killed while it removed an unfinished folder goes, too") {
  const ScratchFolder folder;
  const std::string unfinished = folder / "final.partial";
  begin_folder(unfinished, claiming_run);
  fs::rename(unfinished, unfinished + ".discarded");
  begin_folder(unfinished, claiming_run);
  CHECK(is_of_run(unfinished, claiming_run));
  CHECK_FALSE(fs::exists(unfinished + ".discarded"));
}

TEST_CASE("what a run would write is foreign unless the run's markers name it") {
  const ScratchFolder folder;
  const RunOutputs outputs = {"table.csv", "events/"};
  const auto foreign = [&] { return look_at_run_folder(folder.path(), outputs).foreign; };
  CHECK(foreign().empty());
  folder.write("table.csv", "mine");
  fs::create_directory(folder / "events");
  CHECK(foreign() == std::vector<std::string>{"table.csv"});
  folder.write("events/notes", "mine");
  CHECK(foreign() == std::vector<std::string>{"table.csv", "events"});
  CHECK(look_at_run_folder(folder.path(), {"other.csv"}).foreign.empty());
}

TEST_CASE("the outputs of a run are its own from its start, and are gone with it") {
  const ScratchFolder folder;
  const RunOutputs outputs = {"table.csv", "events/"};
  {
    RunFolder running(folder.path());
    running.begin(std::nullopt, outputs);
    CHECK(running.has_output("table.csv"));
    CHECK(running.has_output("events/"));
    CHECK_FALSE(running.has_output("trace.json"));
    CHECK_FALSE(running.has_output(""));
    claim_file(folder / "events", running.run(), "one");
  }
  for (const char* name : {"table.csv", "events/one", "events/mine", "metrics.jsonl", "trace.json"})
    folder.write(name, "text");
  const RunFolderView seen = look_at_run_folder(folder.path(), {"table.csv", "events/", "trace.json"});
  CHECK(seen.foreign == std::vector<std::string>{"trace.json"});
  RunFolder next(folder.path());
  const bool forget = GENERATE(true, false);
  forget ? next.forget_steps(*seen.marker) : next.discard(*seen.marker);
  for (const char* name : {"table.csv", "events/one", "metrics.jsonl"}) {
    CAPTURE(name);
    CHECK_FALSE(fs::exists(folder / name));
  }
  for (const char* name : {"events/mine", "trace.json"}) {
    CAPTURE(name);
    CHECK(fs::exists(folder / name));
  }
}
