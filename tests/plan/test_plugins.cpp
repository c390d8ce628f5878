// What a host program and a node must have loaded before they plan a run with plugins.
#include "base/error.hpp"
#include "io/plugins.hpp"
#include "plan/run_plan.hpp"
#include "tests/catch.hpp"

namespace collie::test {

TEST_CASE("a host program loads plugins before it plans a run that has them", "[plan][plugins]") {
  Config config;
  config.run.name = "host";
  config.run.dir = "nowhere";
  config.model.from_scratch = true;
  config.model.config = {{"model_type", "llama"}};
  config.tokenizer.kind = "byte";
  config.data.train.emplace_back().path = "nothing.txt";
  config.train.steps = 1;
  config.optimizer.name = "of_the_plugin";
  config.plugins = {"mine.so"};
  CHECK_THROWS_WITH(plan_training(config, ExistingRun::ignore),
                    "plugins: 'mine.so' is not loaded; a host program calls load_plugin() before it plans a "
                    "run");
}

TEST_CASE("a trainer's order with a plugin that is not loaded is refused before its configuration is read",
          "[plan][plugins]") {
  const std::string order =
      R"({"plugins": {"mine.so": "0a1b"}, "config": "optimizer: {name: of_the_plugin}"})";
  CHECK_THROWS_WITH(plan_of_node(order, 1),
                    "the run has the plugin mine.so (SHA-256 0a1b), which this process was not told to load; "
                    "start it with --plugin mine.so");
  CHECK_NOTHROW(check_plugins(nlohmann::json::object()));
}

}  // namespace collie::test
