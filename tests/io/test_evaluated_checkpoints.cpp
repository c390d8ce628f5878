// Which checkpoints are the best, and which one a command means.
#include <filesystem>
#include <optional>

#include "base/error.hpp"
#include "io/checkpoint_choice.hpp"
#include "io/checkpoint_files.hpp"
#include "io/evaluated_checkpoints.hpp"
#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/scratch_folder.hpp"

namespace collie {
namespace {

using nlohmann::json;
using test::contains;
using Kind = CheckpointChoice::Kind;

const std::string evaluated_run_id = "0123456789abcdef0123456789abcdef";

const BestMetric loss_of_a{"eval_loss", false, "a"};

// A checkpoint that says how it was evaluated, if `value` is a number.
void write_evaluated(const std::string& folder, int64_t step, std::optional<double> value,
                     const BestMetric& metric = loss_of_a) {
  json metadata = {{"position", 4 * step}, {"maths", json::object()}};
  if (value) metadata[evaluation_key] = evaluation_entry(*value, metric);
  Tensor values = Tensor::host({2}, DType::f32, std::make_shared<MemoryAccount>(), Category::workspace);
  values.data<float>()[0] = values.data<float>()[1] = static_cast<float>(step);
  CheckpointFolderSink sink({folder, evaluated_run_id});
  write_checkpoint(sink, step, metadata, {{{"w", "weight", {2}, {0}, values}}});
}

std::vector<int64_t> steps_of(const std::vector<EvaluatedCheckpoint>& all) {
  std::vector<int64_t> steps;
  for (const EvaluatedCheckpoint& each : all) steps.push_back(each.step);
  return steps;
}

int64_t chosen(const std::string& folder, const CheckpointChoice& choice) {
  const auto checkpoint = open_checkpoint(folder, choice);
  return checkpoint ? checkpoint->step() : -1;
}

std::string shard_of(const std::string& folder, int64_t step) {
  return folder + "/step-0000000" + std::to_string(step) + "/shard-00000.safetensors";
}

}  // namespace

TEST_CASE("evaluated checkpoints are ranked by their loss, equal ones by their step") {
  const test::ScratchFolder folder;
  write_evaluated(folder.path(), 1, 2.5);
  write_evaluated(folder.path(), 2, 1.5);
  write_evaluated(folder.path(), 3, {});
  write_evaluated(folder.path(), 4, 1.5);
  write_evaluated(folder.path(), 5, 3);
  const auto all = evaluated_checkpoints(folder.path());
  CHECK(steps_of(all) == std::vector<int64_t>{1, 2, 4, 5});
  CHECK(all.front().value == 2.5);
  CHECK(all.front().metric == loss_of_a);
  CHECK(steps_of(best_first(all)) == std::vector<int64_t>{2, 4, 1, 5});
  CHECK(chosen(folder.path(), {Kind::best}) == 2);
  CHECK(best_first({}).empty());
}

TEST_CASE("losses on other data than the newest's are not compared") {
  const test::ScratchFolder folder;
  write_evaluated(folder.path(), 1, 0.5, {"eval_loss", false, "other"});
  write_evaluated(folder.path(), 2, 1.5);
  write_evaluated(folder.path(), 3, 2.5);
  CHECK(steps_of(best_first(evaluated_checkpoints(folder.path()))) == std::vector<int64_t>{2, 3});
}

TEST_CASE("checkpoints are compared by one metric, and higher values may be the better ones") {
  const test::ScratchFolder folder;
  const BestMetric accuracy{"eval/set/accuracy", true, "a"};
  write_evaluated(folder.path(), 1, 0.25);  // a loss
  write_evaluated(folder.path(), 2, 0.5, accuracy);
  write_evaluated(folder.path(), 3, 0.75, accuracy);
  write_evaluated(folder.path(), 4, 0.75, accuracy);
  write_evaluated(folder.path(), 5, 0.625, accuracy);
  const auto all = evaluated_checkpoints(folder.path());
  CHECK(all.back().metric == accuracy);
  CHECK(steps_of(best_first(all)) == std::vector<int64_t>{3, 4, 5, 2});
  CHECK(chosen(folder.path(), {Kind::best}) == 3);
  CHECK(is_higher_better("eval/set/accuracy", "auto"));
  CHECK_FALSE(is_higher_better("eval/set/accuracy", "min"));
  CHECK_FALSE(is_higher_better("eval/set/perplexity", "auto"));
  CHECK_FALSE(is_higher_better("eval_loss", "auto"));
  CHECK(is_higher_better("eval_loss", "max"));
}

TEST_CASE("a purge keeps the best beside the newest, and no stale best of a later step") {
  const test::ScratchFolder folder;
  const std::vector<double> losses = {4, 1, 3, 2, 5, 0.5};
  for (int64_t step = 1; step <= 6; ++step)
    write_evaluated(folder.path(), step, losses[static_cast<size_t>(step - 1)]);
  const CheckpointPlace place{folder.path(), evaluated_run_id};
  SECTION("two of them") {
    purge_checkpoints(place, 6, {1, 2});
    CHECK(checkpoint_steps(folder.path()) == std::vector<int64_t>{2, 6});
  }
  SECTION("the newest may be one of them") {
    purge_checkpoints(place, 6, {2, 3});
    CHECK(checkpoint_steps(folder.path()) == std::vector<int64_t>{2, 4, 5, 6});
  }
  SECTION("step 5 was done again, from step 4") {
    purge_checkpoints(place, 5, {1, 1});
    CHECK(checkpoint_steps(folder.path()) == std::vector<int64_t>{2, 5});
  }
  SECTION("none is kept for its loss without keep_best") {
    purge_checkpoints(place, 6, {2});
    CHECK(checkpoint_steps(folder.path()) == std::vector<int64_t>{5, 6});
  }
  SECTION("a damaged manifest says nothing") {
    const std::string manifest = folder / "step-00000002/manifest.json";
    std::string text = read_text_file(manifest);
    text[text.find("eval_loss")] ^= 1;
    folder.write("step-00000002/manifest.json", text);
    purge_checkpoints(place, 5, {1, 1});
    CHECK(checkpoint_steps(folder.path()) == std::vector<int64_t>{4, 5});
  }
}

TEST_CASE("a best checkpoint that is damaged is passed over for the next, and a chosen one is refused") {
  const test::ScratchFolder folder;
  write_evaluated(folder.path(), 1, 2);
  write_evaluated(folder.path(), 2, 1);
  write_evaluated(folder.path(), 3, 3);
  std::string bytes = read_text_file(shard_of(folder.path(), 2));
  bytes.back() ^= 1;
  folder.write("step-00000002/shard-00000.safetensors", bytes);
  CHECK(chosen(folder.path(), {Kind::best}) == 1);
  CHECK(chosen(folder.path(), {Kind::last}) == 3);
  CHECK(chosen(folder.path(), {Kind::step, 3}) == 3);
  CHECK_THROWS_WITH(chosen(folder.path(), {Kind::step, 2}), contains("SHA-256"));
  for (const int64_t step : {1, 3}) std::filesystem::remove(shard_of(folder.path(), step));
  CHECK_THROWS_WITH(chosen(folder.path(), {Kind::best}),
                    contains("none of its evaluated checkpoints can be read"));
}

TEST_CASE("a checkpoint that is not there is refused, and the message says which are") {
  const test::ScratchFolder folder;
  CHECK(chosen(folder.path(), {Kind::last}) == -1);
  CHECK(chosen(folder.path(), {Kind::automatic}) == -1);
  CHECK(chosen(folder.path(), {Kind::base}) == -1);
  CHECK_THROWS_WITH(chosen(folder.path(), {Kind::best}), contains("there is no checkpoint"));
  CHECK_THROWS_WITH(chosen(folder.path(), {Kind::step, 2}),
                    contains("no checkpoint of step 2; it holds none"));
  write_evaluated(folder.path(), 1, {});
  write_evaluated(folder.path(), 3, {});
  CHECK(chosen(folder.path(), {Kind::base}) == -1);
  CHECK_THROWS_WITH(chosen(folder.path(), {Kind::step, 2}),
                    contains("no checkpoint of step 2; it holds 1, 3"));
  CHECK_THROWS_WITH(chosen(folder.path(), {Kind::best}),
                    contains("checkpoint.keep_best") && contains("1, 3"));
}

TEST_CASE("an evaluation that is not as it was written is refused") {
  const json metadata = {{"position", 1}};
  CHECK_FALSE(evaluation_in(metadata, 1, "here"));
  for (const json& entry :
       {json(nullptr), json(1), json{{"eval_loss", 1.0}}, json{{"eval_loss", "1"}, {"data", 1}},
        json{{"eval_loss", nullptr}, {"data", 1}}, json{{"metric", "m"}, {"value", 1.0}, {"data", 1}},
        json{{"metric", 1}, {"higher_is_better", true}, {"value", 1.0}, {"data", 1}}}) {
    CAPTURE(entry.dump());
    json with = metadata;
    with[evaluation_key] = entry;
    CHECK_THROWS_WITH(evaluation_in(with, 1, "here"), contains("here: its \"evaluation\" is"));
  }
}

TEST_CASE("which checkpoint is meant is read strictly") {
  CHECK(parse_checkpoint_choice("last", "--checkpoint", true).kind == Kind::last);
  CHECK(parse_checkpoint_choice("best", "--checkpoint", true).kind == Kind::best);
  CHECK(parse_checkpoint_choice("base", "--checkpoint", true).kind == Kind::base);
  CHECK(parse_checkpoint_choice("0", "--checkpoint", true).kind == Kind::step);
  CHECK(parse_checkpoint_choice("00000200", "--checkpoint", true).step == 200);
  CHECK(to_string(parse_checkpoint_choice("200", "--resume", false)) == "200");
  for (const char* text :
       {"", "-1", "+1", "1.5", "bset", "20 ", "0x10", "99999999999999999999", "step-00000020"}) {
    CAPTURE(text);
    CHECK_THROWS_WITH(parse_checkpoint_choice(text, "--checkpoint", true),
                      contains("--checkpoint: found '") && contains("last or base is wanted"));
  }
  CHECK_THROWS_WITH(parse_checkpoint_choice("base", "--resume", false), contains("best or last is wanted"));
}

}  // namespace collie
