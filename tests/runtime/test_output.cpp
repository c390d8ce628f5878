// What a run shows: the console's lines, the trace, the summary.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "runtime/rank_status.hpp"
#include "runtime/sinks/console.hpp"
#include "runtime/step_record.hpp"
#include "runtime/summary.hpp"
#include "runtime/trace_file.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"

namespace collie::test {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

StepFinished numbers_of(int64_t step) {
  StepFinished numbers;
  numbers.step = step;
  numbers.loss = 5.12341;
  numbers.lr = 1.8e-4;
  numbers.grad_norm = 2.5;
  numbers.tokens_per_second = 1234.4;
  numbers.memory_bytes = 45 << 20;
  return numbers;
}

Event event_at(int64_t step) {
  return event_of(numbers_of(step));
}

Event evaluated_at(int64_t step) {
  Event event = event_at(step);
  event.add("eval_loss", 4.25);
  return event;
}

// What a screen has shown: a terminal's end, or a file's.
class Capture {
 public:
  explicit Capture(int columns = 0) {
    if (columns == 0) {
      writer_ = ::open((folder_ / "out").c_str(), O_CREAT | O_RDWR, 0600);
    } else {
      ::setenv("TERM", "xterm", 1);
      reader_ = ::posix_openpt(O_RDWR | O_NOCTTY);
      REQUIRE(::grantpt(reader_) == 0);
      REQUIRE(::unlockpt(reader_) == 0);
      writer_ = ::open(::ptsname(reader_), O_RDWR | O_NOCTTY);
      resize(columns);
    }
    REQUIRE(writer_ >= 0);
    screen_ = std::make_unique<Screen>(writer_);
  }
  ~Capture() {
    for (const int descriptor : {reader_, writer_})
      if (descriptor >= 0) ::close(descriptor);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  void resize(int columns) const {
    winsize size{};
    size.ws_col = static_cast<unsigned short>(columns);
    REQUIRE(::ioctl(reader_, TIOCSWINSZ, &size) == 0);
  }
  Screen& screen() { return *screen_; }
  // All of a file; of a terminal what came since the last call.
  std::string text() const {
    if (reader_ < 0) return text_of(folder_ / "out");
    std::string all;
    pollfd there{reader_, POLLIN, 0};
    for (char block[4096]; ::poll(&there, 1, 50) > 0;) {
      const ssize_t count = ::read(reader_, block, sizeof block);
      if (count <= 0) break;
      all.append(block, static_cast<size_t>(count));
    }
    return all;
  }

 private:
  TemporaryFolder folder_;
  int reader_ = -1, writer_ = -1;
  std::unique_ptr<Screen> screen_;
};

constexpr int wide = 1000;

TEST_CASE("console: a line has the step's numbers and the time left", "[actors][output]") {
  Capture capture;
  Console console("none", 200, capture.screen());
  CHECK(console.line(event_at(11), 100, wide) ==
        "step 11/200  loss 5.1234  lr 1.80e-04  norm 2.500  1234 tokens/s  45.0 MiB");
  // 188 steps of half a second
  CHECK_THAT(console.line(event_at(12), 100.5, wide), contains("  1:34 left  "));
  CHECK_THAT(console.line(event_at(200), 200, wide), !contains("left"));
  StepFinished without_targets = numbers_of(12);
  without_targets.loss.reset();
  CHECK_THAT(console.line(event_of(without_targets), 100.5, wide),
             contains("step 12/200  no targets  lr 1.80e-04"));
  CHECK_THAT(console.line(evaluated_at(13), 101, wide), contains("  eval loss 4.2500"));
  StepFinished before;
  before.evaluated = true;
  before.eval_loss = 4.25;
  CHECK(console.line(event_of(before), 102, wide) == "step 0/200  eval loss 4.2500");
  Console long_run("none", 20000, capture.screen());
  long_run.line(event_at(11), 100, wide);
  CHECK_THAT(long_run.line(event_at(20), 109, wide), contains("  5:33:00 left  "));
}

TEST_CASE("console: a line fits any width, and loses first what says least", "[actors][output]") {
  Capture capture;
  Console console("none", 200, capture.screen());
  console.line(event_at(11), 100, wide);
  const Event event = evaluated_at(12);
  const std::string whole = console.line(event, 100.5, wide);
  for (int columns = 0; columns <= static_cast<int>(whole.size()) + 1; ++columns) {
    CAPTURE(columns);
    CHECK(static_cast<int>(console.line(event, 100.5, columns).size()) <= columns);
  }
  CHECK(console.line(event, 100.5, static_cast<int>(whole.size())) == whole);
  CHECK(console.line(event, 100.5, static_cast<int>(whole.size()) - 1).find("MiB") == std::string::npos);
  CHECK(console.line(event, 100.5, 30) == "step 12/200  loss 5.1234");
  CHECK(console.line(event, 100.5, 19) == "step 12/200");
  CHECK(console.line(event, 100.5, 6) == "step 1");
}

TEST_CASE("console: the progress line is rewritten, and kept where it says something", "[actors][output]") {
  Capture capture(100);
  {
    Console console("auto", 3, capture.screen());
    console.show(event_at(1), 1);
    console.show(event_at(2), 2);
    const std::string text = capture.text();
    CHECK(text.find('\n') == std::string::npos);
    CHECK_THAT(text, contains("\r\033[Kstep 2/3"));
  }
  CHECK(capture.text().back() == '\n');  // an unfinished line is finished
}

TEST_CASE("console: the progress line fits its terminal, also when that is resized", "[actors][output]") {
  Capture capture(20);
  Console console("auto", 200, capture.screen());
  double now_s = 1;
  int64_t number = 1;
  for (const int columns : {20, 133, 40, 7}) {
    capture.resize(columns);
    console.show(number % 2 == 1 ? evaluated_at(number) : event_at(number), ++now_s);
    ++number;
    std::string text = capture.text();
    const size_t begin = text.rfind("\r\033[K");
    REQUIRE(begin != std::string::npos);
    text = text.substr(begin + 4, text.find_first_of("\r\n", begin + 4) - begin - 4);
    INFO(columns << " columns: '" << text << "'");
    CHECK(text.starts_with("step "));
    CHECK(static_cast<int>(text.size()) < columns);
  }
}

TEST_CASE("console: the progress line comes at most ten times a second, the newest at the end",
          "[actors][output]") {
  Capture capture(100);
  {
    Console console("auto", 2000, capture.screen());
    for (int64_t step = 1; step <= 1000; ++step)
      console.show(event_at(step), static_cast<double>(step) / 1000);  // a thousand in a second
  }
  const std::string text = capture.text();
  size_t shown = 0;
  for (size_t at = text.find("\033[K"); at != std::string::npos; at = text.find("\033[K", at + 1)) ++shown;
  CHECK(shown >= 9);
  CHECK(shown <= 13);  // and the last, once more where it is kept
  CHECK_THAT(text, contains("step 1000/2000"));
}

TEST_CASE("console: plain lines come every few seconds, for evaluations and at the end", "[actors][output]") {
  Capture capture;
  Console console("plain", 12, capture.screen());
  for (int64_t step = 1; step <= 12; ++step)
    console.show(step == 3 ? evaluated_at(step) : event_at(step), static_cast<double>(step));
  std::vector<std::string> shown;
  std::istringstream lines(capture.text());
  for (std::string line; std::getline(lines, line);) shown.push_back(line.substr(0, line.find("  ")));
  CHECK(shown == std::vector<std::string>{"step 1/12", "step 3/12", "step 8/12", "step 12/12"});
}

TEST_CASE("console: none shows nothing; without a terminal no line is rewritten", "[actors][output]") {
  Capture none;
  Console("none", 1, none.screen()).show(event_at(1), 1);
  CHECK(none.text().empty());
  for (const char* setting : {"auto", "progress", "plain"}) {
    Capture capture;
    Console(setting, 1, capture.screen()).show(event_at(1), 1);
    CHECK_THAT(capture.text(), contains("step 1/1  "));
    CHECK(capture.text().find('\033') == std::string::npos);
  }
}

ProgramDone done_of(int rank, const std::vector<std::string>& tasks) {
  ProgramDone done;
  done.rank = rank;
  double time = steady_seconds();
  for (const auto& task : tasks) {
    done.spans.push_back({task, time, time + 0.25});
    time += 0.5;
  }
  return done;
}

TEST_CASE("trace: JSON with a lane per rank and a bar per task", "[actors][output]") {
  const TemporaryFolder folder;
  const std::string path = (folder / "trace.json").string();
  {
    TraceFile trace(path, 2);
    trace.add(done_of(0, {"0F0", "0B0", "sum squares"}));
    trace.add(done_of(1, {"1F0", "1I0", "1W0"}));
    ProgramDone background = done_of(1, {});
    background.communication_spans = {{"reduce 0", 1.0, 1.5}};
    trace.add(background);
  }
  const auto events = nlohmann::json::parse(text_of(path));
  REQUIRE(events.is_array());
  std::map<int, std::string> lanes;
  std::vector<std::string> background;
  std::map<int, std::vector<std::string>> bars;
  std::map<int, double> last;
  std::set<std::string> colours;
  for (const auto& event : events) {
    const int lane = event.at("tid");
    if (event.at("pid") == 1) {  // what is communicated in the background
      background.push_back(event.at("ph") == "M" ? event.at("args").at("name") : event.at("name"));
      continue;
    }
    CHECK(event.at("pid") == 0);
    if (event.at("ph") == "M") {
      CHECK(event.at("name") == "thread_name");
      lanes[lane] = event.at("args").at("name");
      continue;
    }
    REQUIRE(event.at("ph") == "X");
    CHECK(event.at("dur").get<double>() == Approx(0.25e6));  // microseconds
    CHECK(event.at("ts").get<double>() >= last[lane]);
    last[lane] = event.at("ts").get<double>() + event.at("dur").get<double>();
    bars[lane].push_back(event.at("name"));
    colours.insert(event.at("cname").get<std::string>());
  }
  CHECK(lanes == std::map<int, std::string>{{0, "rank 0"}, {1, "rank 1"}});
  CHECK(background ==
        std::vector<std::string>{"rank 0 in the background", "rank 1 in the background", "reduce 0"});
  CHECK(bars[0] == std::vector<std::string>{"0F0", "0B0", "sum squares"});
  CHECK(bars[1] == std::vector<std::string>{"1F0", "1I0", "1W0"});
  CHECK(colours.size() == 5);  // F, B, I, W and the rest
}

TEST_CASE("trace: what was added is on the disk at once", "[actors][output]") {
  const TemporaryFolder folder;
  const std::string path = (folder / "trace.json").string();
  TraceFile trace(path, 1);
  trace.add(done_of(0, {"0F0"}));
  // The array's closing bracket may be missing: the format allows it, and viewers read it.
  CHECK(nlohmann::json::parse(text_of(path) + "]").size() == 3);  // two lanes' names and a bar
}

TEST_CASE("trace: a file that cannot be written is named", "[actors][output]") {
  const TemporaryFolder folder;
  const std::string path = (folder / "no such folder" / "trace.json").string();
  CHECK_THROWS_WITH(TraceFile(path, 1), contains(path));
}

TEST_CASE("summary: memory in units people read", "[actors][output]") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1536) == "1.50 KiB");
  CHECK(human_bytes(size_t{5} << 30) == "5.00 GiB");
}

TEST_CASE("summary: a row per rank", "[actors][output]") {
  Layout layout;
  layout.grid.pipeline = 2;
  layout.rank_of_stage = {0, 1};
  RankSummary rank;
  rank.peak_bytes = std::vector<size_t>(category_count, 1024);
  rank.peak_total_bytes = 4096;
  rank.peak_activations = {2};
  rank.communicating_s = 0.5;
  rank.sent_bytes = 3072;
  const std::string text = describe_run(layout, {rank, rank}, {1.25, 2.5}, 5);
  CHECK_THAT(text, contains("activations") && contains("1.00 KiB") && contains("4.00 KiB") &&
                       contains("40 %            10 %      50 %      3.00 KiB  stage 1: 2 micro-batches"));
  CHECK_THAT(text, !contains("graphs"));
  CHECK(describe_run(layout, {}, {}, 1).empty());
  CHECK(describe_run(layout, {RankSummary{}}, {0}, 1).empty());
}

TEST_CASE("summary: how often a rank's work went to its device as graphs", "[actors][output]") {
  Layout layout;
  layout.grid.pipeline = 2;
  layout.rank_of_stage = {0, 1};
  RankSummary with;
  with.peak_bytes = std::vector<size_t>(category_count, 1024);
  RankSummary without = with;
  with.graphs = {212, 3, 209};
  CHECK_THAT(describe_run(layout, {without, with}, {1, 1}, 5),
             contains("graphs\n  1     212 launched, 3 made, 209 updated\n"));
}

}  // namespace
}  // namespace collie::test
