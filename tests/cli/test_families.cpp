// Families other than Llama, through the command: training, killed and gone on with in another layout, from a
// folder, and what is said and refused.
#include <csignal>

#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

const std::string gpt2 =
    "model.config={model_type: gpt2, n_embd: 16, n_layer: 4, n_head: 4, n_positions: 64, attn_pdrop: 0.15, "
    "resid_pdrop: 0.2}";

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

TEST_CASE("a dropout rate that is neither 0.0 nor the model's own is refused") {
  const Workbench bench;
  check_refused(bench.run("run", {"model.dropout=0.1"}), 2, {"model.dropout", "0.0", "config"});
}

}  // namespace collie::test
