// Families other than Llama, through the command: training, killed and gone on with in another layout, from a
// folder, and what is said and refused.
#include <fmt/format.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

const std::string gpt2 =
    "model.config={model_type: gpt2, n_embd: 16, n_layer: 4, n_head: 4, n_positions: 64, attn_pdrop: 0.15, "
    "resid_pdrop: 0.2}";

// Questions with a blank, the W, and with the ? that starts the answer.
const Settings questions = {
    "data.train=[{path: questions.jsonl, format: jsonl, prompt: question, completion: answer}]",
    "data.eval=[{path: questions.jsonl, format: jsonl, prompt: question, completion: answer}]",
    "data.packing=samples"};
const Settings chatglm_6b =
    Settings{
        "model.config={model_type: chatglm, hidden_size: 32, inner_hidden_size: 48, num_layers: 4, "
        "num_attention_heads: 4, max_sequence_length: 64, position_encoding_2d: true, bos_token_id: 63, "
        "gmask_token_id: 87, mask_token_id: 119}"} +
    questions;

void write_questions(const Workbench& bench) {
  std::string lines;
  for (int i = 0; i < 12; ++i)
    lines += nlohmann::json{{"question", fmt::format("What is {} and {}?", i, i + 1)},
                            {"answer", fmt::format(" {}", 2 * i + 1)}}
                 .dump() +
             "\n";
  bench.write("questions.jsonl", lines);
}

}  // namespace

TEST_CASE("GPT-2 with dropout: a killed run goes on in another schedule as if it had never stopped",
          "[slow]") {
  const Workbench bench;
  const Settings settings = {gpt2, "model.dropout=config"};
  const Training expected = bench.train("never_stopped", settings);
  const Outcome killed = bench.run("killed", settings, {}, "checkpoint.purge:2:kill");
  INFO(killed.report());
  REQUIRE(killed.signal == SIGKILL);
  const Outcome resumed = bench.resume("killed", settings + four_stages);
  REQUIRE_CODE(resumed, 0);
  CHECK_FALSE(has(resumed.errors, "dropout"));
  CHECK_SAME(expected, bench.training("killed"));
  CHECK(first_difference(expected, bench.train("without", {gpt2})) != "");
}

TEST_CASE("GPT-2 is trained on from its own final folder") {
  const Workbench bench;
  const Outcome first = bench.run("first", {gpt2, "train.steps=2"});
  REQUIRE_CODE(first, 0);
  CHECK(has(first.errors, "dropout rates (embedding 0.1, attention 0.15, residual 0.2) are ignored"));
  const Outcome second =
      bench.run("second", from_model("first/final") + Settings{"train.steps=1", "parallel.tp_size=2"});
  REQUIRE_CODE(second, 0);
  CHECK(has(second.errors, "first/final/config.json: its dropout rates"));
  const Outcome speech = bench.command({"generate", "--model", "second/final", "--prompt", "some"});
  REQUIRE_CODE(speech, 0);
}

TEST_CASE("ChatGLM-6B is trained on questions and answers, and on from its own final folder") {
  const Workbench bench;
  write_questions(bench);
  REQUIRE_CODE(bench.run("first", chatglm_6b + Settings{"train.steps=4"}), 0);
  const Settings from_first = from_model("first/final") + questions;
  REQUIRE_CODE(bench.run("second", from_first + Settings{"train.steps=1", "parallel.tp_size=2"}), 0);
  REQUIRE_CODE(bench.command({"generate", "--model", "second/final", "--prompt", "What is 3 and 4?"}), 0);
  check_refused(bench.command({"generate", "--model", "second/final", "--prompt", "What is 3 and 4"}), 2,
                {"--prompt", "no blank", "63 (bos_token_id)"});
}

TEST_CASE("what ChatGLM-6B cannot be trained on is refused before the start") {
  const Workbench bench;
  write_questions(bench);
  const auto refused = [&](const Settings& settings, const std::vector<std::string>& parts) {
    check_refused(bench.run("run", chatglm_6b + settings), 2, parts);
  };
  refused({"data.packing=true"}, {"data.packing", "samples or false is right"});
  refused({"data.train=[{path: texts/c.txt}]"},
          {"data.train", "document 0 (from 0) of 'texts/c.txt'", "no blank"});
  refused({"data.eval=[{path: texts/c.txt}]"}, {"data.eval", "texts/c.txt", "87 (gmask_token_id)"});
  refused({"data.sequence_length=12"}, {"longer than data.sequence_length, 12", "data.too_long: drop"});
  refused({"parallel.cp_size=2", "parallel.pp_size=1"}, {"parallel.cp_size", "use 1"});
}

TEST_CASE("a dropout rate that is neither 0.0 nor the model's own is refused") {
  const Workbench bench;
  check_refused(bench.run("run", {"model.dropout=0.1"}), 2, {"model.dropout", "0.0", "config"});
}

}  // namespace collie::test
