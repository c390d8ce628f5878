// Events, the sinks that every run has, and a host program's own.
#include "runtime/sinks/sink.hpp"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/run_folder.hpp"
#include "io/run_marker.hpp"
#include "runtime/step_record.hpp"
#include "tests/catch.hpp"
#include "tests/io/event_file.hpp"
#include "tests/io/matchers.hpp"
#include "tests/runtime/tiny_run.hpp"

namespace collie::test {
namespace {

StepFinished step_of(int64_t number) {
  StepFinished step;
  step.step = number;
  step.epoch = 2;
  step.loss = 0.1;
  step.lr = 3e-4;
  step.grad_norm = 1.0 / 3;
  step.tokens = 4096;
  step.tokens_per_second = 0;
  step.step_s = 0.25;
  step.memory_bytes = uint64_t{3} << 40;
  return step;
}

SinkSettings settings_of(const Config& config) {
  return {config, config.run.dir, "", 0, 4};
}

// Keeps the events in a list that outlives it. Only runs of that name have it.
void register_collector(const std::string& run, std::vector<Event>& events) {
  struct Collector final : Sink {
    explicit Collector(std::vector<Event>& all) : all_(all) {}
    void write(const Event& event) override { all_.push_back(event); }
    std::vector<Event>& all_;
  };
  SinkKind kind;
  kind.make = [&events](const SinkSettings&) { return std::make_unique<Collector>(events); };
  kind.wanted = [run](const Config& config) { return config.run.name == run; };
  sinks().add("collector", kind);
}

TEST_CASE("event: a step's names, their order and its numbers are those of metrics.jsonl", "[sinks]") {
  StepFinished step = step_of(7);
  CHECK(json_of(event_of(step)).dump() ==
        R"({"step":7,"epoch":2,"loss":0.1,"lr":0.0003,"grad_norm":0.3333333333333333,"tokens":4096,)"
        R"("tokens_per_second":0.0,"step_seconds":0.25,"memory_bytes":3298534883328})");
  step.loss.reset();
  step.evaluated = true;
  step.eval_loss = 5e-324;
  step.amended = true;
  CHECK(json_of(event_of(step)).dump() ==
        R"({"step":7,"epoch":2,"loss":null,"lr":0.0003,"grad_norm":0.3333333333333333,"tokens":4096,)"
        R"("tokens_per_second":0.0,"step_seconds":0.25,"memory_bytes":3298534883328,"eval_loss":5e-324})");
  CHECK(event_of(step).amended);
}

TEST_CASE("event: the evaluation before the first step has every key, null where there is no number",
          "[sinks]") {
  StepFinished step;
  step.evaluated = true;
  step.eval_loss = 4.5;
  const std::string line = json_of(event_of(step)).dump();
  INFO(line);
  CHECK(
      line.starts_with(R"({"step":0,"epoch":0,"loss":null,"lr":null,"grad_norm":null,"tokens":0,)"
                       R"("tokens_per_second":null,"step_seconds":null,"memory_bytes":0,"eval_loss":4.5,)"));
  for (const char* name : {"compute_share", "resident_bytes", "peak_bytes/weights", "slow_ranks"})
    CHECK_THAT(line, contains(fmt::format("\"{}\":null", name)));
  const TemporaryFolder folder;
  folder.write("metrics.jsonl", line + "\n");
  const auto read = recorded_step((folder / "metrics.jsonl").string(), 0);
  REQUIRE(read);
  CHECK(json_of(event_of(*read)).dump() == line);
}

StepFinished measured_step(int64_t number) {
  StepFinished step = step_of(number);
  StepMeasures& measures = step.measures;
  measures.model_flops_per_second = 2.5e12;
  measures.mfu = 0.25;
  measures.compute_share = 0.5;
  measures.bubble_share = 0.125;
  measures.resident_bytes = 4096;
  measures.peak_bytes = {6, 5, 4, 3, 2, 1};
  measures.group_norms = {0.5, 2, std::numeric_limits<double>::quiet_NaN()};
  measures.watches_ranks = true;
  measures.slow_ranks = {{3, 12, 2.0}, {1, 14, 1.75}};
  measures.ranks = {{0, 0.25, 0.125, {7, 8}}};
  return step;
}

TEST_CASE("event: what is measured of a step follows its other numbers, and what is not known is left out",
          "[sinks][monitor]") {
  const Event event = event_of(measured_step(7));
  const std::string text = json_of(event).dump();
  const std::string behind = text.substr(text.find("\"model_flops_per_second\""));
  CHECK(behind ==
        R"("model_flops_per_second":2500000000000.0,"mfu":0.25,"compute_share":0.5,"bubble_share":0.125,)"
        R"("resident_bytes":4096,"peak_bytes/weights":6,"peak_bytes/gradients":5,"peak_bytes/optimizer":4,)"
        R"("peak_bytes/activations":3,"peak_bytes/communication":2,"peak_bytes/workspace":1,)"
        R"("group_grad_norm/0":0.5,"group_grad_norm/1":2.0,"group_grad_norm/rest":null,)"
        R"("slow_ranks":2,"slowest_rank":3,"slowest_rank_since_step":12})");
  // Single ranks are parts, which only sinks with labels have.
  REQUIRE(event.parts.size() == 2 + 2 + 2);
  CHECK(event.parts[0].name == "rank_compute_seconds");
  CHECK(event.parts[0].labels == std::vector<std::pair<std::string, std::string>>{{"rank", "0"}});
  CHECK(event.parts[3].labels ==
        std::vector<std::pair<std::string, std::string>>{{"rank", "0"}, {"category", "gradients"}});
  CHECK(event.parts[3].value == 8);
  CHECK(event.parts[5].name == "slow_rank_since_step");
}

TEST_CASE("event: a step is read back from metrics.jsonl as it was recorded", "[sinks]") {
  const TemporaryFolder folder;
  StepFinished before, evaluated = step_of(2), without_loss = step_of(3);
  before.evaluated = evaluated.evaluated = true;
  before.eval_loss = 4.5;
  evaluated.eval_loss = 5e-324;
  without_loss.loss.reset();
  without_loss.grad_norm = std::numeric_limits<double>::infinity();  // null in JSON
  std::string lines = "no record\n";
  StepFinished measured = measured_step(5);
  measured.measures.slow_ranks.pop_back();  // only the slowest is in the file
  for (const StepFinished& step : {before, step_of(1), evaluated, without_loss, measured})
    lines += json_of(event_of(step)).dump() + "\n";
  const std::string path = folder.write(metrics_name, lines + "{\"step\": 4, \"loss\"").string();
  for (const StepFinished& step : {before, step_of(1), evaluated, without_loss, measured}) {
    CAPTURE(step.step);
    const auto found = recorded_step(path, step.step);
    REQUIRE(found);
    CHECK(found->evaluated == step.evaluated);
    CHECK(json_of(event_of(*found)).dump() == json_of(event_of(step)).dump());
  }
  CHECK_FALSE(recorded_step(path, 4));
  CHECK_FALSE(recorded_step((folder / "none").string(), 1));
}

TEST_CASE("event: values of any name and kind, found by their names", "[sinks]") {
  Event event;
  event.step = 3;
  event.add("gsm8k/accuracy", 0.5);
  event.add("answers", int64_t{12});
  event.add("sample", "it's 12,\n\"he\" said");
  event.add("none", nullptr);
  CHECK(event.number("gsm8k/accuracy") == 0.5);
  CHECK(event.number("answers") == 12.0);
  CHECK_FALSE(event.number("sample"));
  CHECK_FALSE(event.number("none"));
  CHECK(event.find("none") != nullptr);
  CHECK(event.find("other") == nullptr);
  CHECK_THROWS(event.add("answers", 2.0));
  CHECK_THROWS(event.add("step", 2.0));
  CHECK(json_of(event).dump() ==
        R"({"step":3,"gsm8k/accuracy":0.5,"answers":12,"sample":"it's 12,\n\"he\" said","none":null})");
}

TEST_CASE("sinks: metrics.jsonl has an event as soon as it is written, and an amended one in its place",
          "[sinks]") {
  const TemporaryFolder folder;
  const Config config = tiny_run(folder);
  std::filesystem::create_directory(config.run.dir);
  const auto path = folder / "run" / metrics_name;
  const auto sink = sinks().find("metrics").make(settings_of(config));
  const std::string first = json_of(event_of(step_of(1))).dump() + "\n";
  sink->write(event_of(step_of(1)));
  CHECK(bytes_of(path) == first);
  sink->write(event_of(step_of(2)));
  StepFinished amended = step_of(2);
  amended.amended = amended.evaluated = true;
  sink->write(event_of(amended));
  sink->write(event_of(step_of(3)));
  CHECK(bytes_of(path) ==
        first + json_of(event_of(amended)).dump() + "\n" + json_of(event_of(step_of(3))).dump() + "\n");
}

TEST_CASE("sinks: a resume cuts back what the run wrote, and nothing else", "[sinks]") {
  const TemporaryFolder folder;
  const std::string lines = "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n";
  const auto path = folder.write(metrics_name, lines);
  cut_back_sinks(folder.path().string(), 2, [](const std::string&) { return false; });
  CHECK(bytes_of(path) == lines);
  cut_back_sinks(folder.path().string(), 2, [](const std::string& output) { return output == metrics_name; });
  CHECK(bytes_of(path) == "{\"step\":1}\n{\"step\":2}\n");
}

TEST_CASE("sinks: a host program's own is made beside the others, where it is wanted", "[sinks]") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder, "collected");
  std::filesystem::create_directory(config.run.dir);
  std::vector<Event> events;
  register_collector("collected", events);
  CHECK(outputs_of_sinks(config) == RunOutputs{metrics_name});
  const auto made = make_sinks(settings_of(config));
  CHECK(made.size() == 3);  // with the console and metrics.jsonl
  made.front()->write(event_of(step_of(1)));
  CHECK(events.empty());  // the first one keeps the event in a file
  CHECK_FALSE(bytes_of(folder / "collected" / metrics_name).empty());
  for (const auto& sink : made) sink->write(event_of(step_of(2)));
  REQUIRE(events.size() == 1);
  CHECK(events.front().step == 2);
  config.run.name = "other";
  CHECK(make_sinks(settings_of(config)).size() == 2);
}

TEST_CASE("sinks: an unknown name is refused with the known ones", "[sinks]") {
  CHECK_THROWS_WITH(sinks().find("jsonl"), contains("unknown sink 'jsonl'") && contains("metrics"));
}

// --- TensorBoard

// The event files of the tensorboard/ of a run, in the order in which readers take them.
std::vector<std::filesystem::path> event_files(const Config& config) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(config.run.dir + "/tensorboard"))
    if (entry.path().filename() != marker_name) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<ReadEvent> events_in(const std::filesystem::path& file) {
  return EventFileReader::read(bytes_of(file));
}

std::unique_ptr<Sink> tensorboard_of(const Config& config, int64_t done_steps = 0) {
  std::filesystem::create_directories(config.run.dir);
  SinkSettings settings = settings_of(config);
  settings.run = std::string(32, 'a');
  settings.done_steps = done_steps;
  return sinks().find("tensorboard").make(settings);
}

TEST_CASE("sinks: TensorBoard has a step's numbers and texts at once, under its tags", "[sinks]") {
  const TemporaryFolder folder;
  const Config config = tiny_run(folder);
  const auto sink = tensorboard_of(config);
  REQUIRE(event_files(config).size() == 1);
  CHECK(events_in(event_files(config)[0]).size() == 2);  // the version and the session
  Event event;
  event.step = 3;
  event.add("loss", 0.1);
  event.add("tokens", int64_t{4096});
  event.add("nothing", nullptr);
  event.add("eval_loss", 5e-324);
  event.add("gsm8k/accuracy", 0.5);
  event.add("sample", "caf\xc3\xa9 \xff");
  sink->write(event);
  const auto events = events_in(event_files(config)[0]);
  REQUIRE(events.size() == 3);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[1].starts_session);
  CHECK(events[1].step == 1);
  CHECK_FALSE(events[2].starts_session);
  CHECK(events[2].step == 3);
  CHECK(events[2].scalars ==
        std::vector<std::pair<std::string, float>>{
            {"train/loss", 0.1f}, {"train/tokens", 4096}, {"eval/loss", 0}, {"gsm8k/accuracy", 0.5}});
  CHECK(events[2].texts == std::map<std::string, std::string>{{"train/sample", "caf\xc3\xa9 \xef\xbf\xbd"}});
  CHECK(std::abs(events[2].time_s - static_cast<double>(std::time(nullptr))) < 60);
}

TEST_CASE("sinks: TensorBoard's reader drops what a resume does again, and what is amended", "[sinks]") {
  const TemporaryFolder folder;
  const Config config = tiny_run(folder);
  const auto first = tensorboard_of(config);
  for (int64_t step = 1; step <= 5; ++step) first->write(event_of(step_of(step)));
  const auto second = tensorboard_of(config, 3);
  StepFinished amended = step_of(3);
  amended.loss = 0.75;
  amended.amended = true;
  second->write(event_of(amended));
  for (int64_t step = 4; step <= 6; ++step) second->write(event_of(step_of(step)));
  REQUIRE(event_files(config).size() == 2);
  const auto events = events_in(event_files(config)[1]);
  REQUIRE(events.size() == 7);
  CHECK(events[1].starts_session);
  CHECK(events[1].step == 4);
  CHECK(events[2].starts_session);
  CHECK(events[2].step == 3);
  ShownEvents shown;
  for (const auto& file : event_files(config)) shown.add(events_in(file));
  CHECK(shown.scalars().at("train/loss") ==
        std::map<int64_t, std::vector<float>>{
            {1, {0.1f}}, {2, {0.1f}}, {3, {0.75f}}, {4, {0.1f}}, {5, {0.1f}}, {6, {0.1f}}});
}

TEST_CASE("sinks: each of TensorBoard's files sorts behind those before it, whatever the clock says",
          "[sinks]") {
  const TemporaryFolder folder;
  const Config config = tiny_run(folder);
  std::vector<std::filesystem::path> before;
  for (int count = 1; count <= 12; ++count) {  // in one second, or two
    tensorboard_of(config);
    const auto files = event_files(config);
    REQUIRE(files.size() == static_cast<size_t>(count));
    CHECK(std::equal(before.begin(), before.end(), files.begin()));
    before = files;
  }
  folder.write("run/tensorboard/events.out.tfevents.8000000000.host.7", "");
  tensorboard_of(config);
  CHECK(event_files(config).back().filename().string().starts_with("events.out.tfevents.8000000001."));
  const auto marker = read_marker(config.run.dir + "/tensorboard");
  CHECK(marker->files->size() == 13);  // not the one of 8000000000
}

// --- CSV

TEST_CASE("sinks: metrics.csv has a row for each step, with the digits of metrics.jsonl", "[sinks]") {
  const TemporaryFolder folder;
  const Config config = tiny_run(folder);
  std::filesystem::create_directory(config.run.dir);
  const auto path = folder / "run" / "metrics.csv";
  const auto sink = sinks().find("csv").make(settings_of(config));
  const std::string header =
      "step,epoch,loss,lr,grad_norm,tokens,tokens_per_second,step_seconds,memory_bytes";
  const std::string numbers = ",2,0.1,0.0003,0.3333333333333333,4096,0.0,0.25,3298534883328";
  sink->write(event_of(step_of(1)));
  CHECK(bytes_of(path) == header + "\n1" + numbers + "\n");
  StepFinished step = step_of(2);
  step.loss.reset();
  sink->write(event_of(step));
  const std::string without_loss = ",2,,0.0003,0.3333333333333333,4096,0.0,0.25,3298534883328";
  CHECK(bytes_of(path) == header + "\n1" + numbers + "\n2" + without_loss + "\n");
  step.evaluated = step.amended = true;
  step.eval_loss = 5e-324;
  sink->write(event_of(step));
  sink->write(event_of(step_of(3)));
  CHECK(bytes_of(path) ==
        header + ",eval_loss\n1" + numbers + ",\n2" + without_loss + ",5e-324\n3" + numbers + ",\n");
  const auto csv_alone = [](const std::string& output) { return output == "metrics.csv"; };
  cut_back_sinks(config.run.dir, 1, csv_alone);
  CHECK(bytes_of(path) == header + ",eval_loss\n1" + numbers + ",\n");
}

TEST_CASE("sinks: metrics.csv takes values of any name and kind", "[sinks]") {
  const TemporaryFolder folder;
  const Config config = tiny_run(folder);
  std::filesystem::create_directory(config.run.dir);
  Event event;
  event.step = 1;
  event.add("a,b", "it's 12,\n\"he\" said\xff");
  event.add("nan", std::nan(""));
  event.add("infinite", std::numeric_limits<double>::infinity());
  event.add("least", -std::numeric_limits<double>::infinity());
  event.add("count", std::numeric_limits<int64_t>::min());
  sinks().find("csv").make(settings_of(config))->write(event);
  CHECK(bytes_of(folder / "run" / "metrics.csv") ==
        "step,\"a,b\",nan,infinite,least,count\n"
        "1,\"it's 12,\n\"\"he\"\" said\xef\xbf\xbd\",nan,inf,-inf,-9223372036854775808\n");
}

}  // namespace
}  // namespace collie::test
