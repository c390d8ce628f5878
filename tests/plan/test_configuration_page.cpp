// docs/configuration.md has every key as the schema and the registries have it.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "io/config.hpp"
#include "models/loss.hpp"
#include "optim/optimizer.hpp"
#include "optim/parameter_groups.hpp"
#include "runtime/callback.hpp"
#include "schedule/schedules.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

const std::string page = std::string(COLLIE_SOURCE_DIR) + "/docs/configuration.md";
const std::string begin = "<!-- keys: scripts/update_docs.sh writes them -->\n```yaml\n",
                  end = "```\n<!-- end of keys -->";

std::string text_of(const std::string& file) {
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

template <class Factory>
void add_names(const Registry<Factory>& registry, std::map<std::string, std::vector<std::string>>& names) {
  names[registry.key()] = registry.names();
}

// The page and the refusal name the rules that cannot.
TEST_CASE("every optimizer but three can update inside backward", "[plan][docs]") {
  std::vector<std::string> others;
  for (const std::string& name : optimizer_declarations().names()) {
    OptimizerConfig config;
    config.name = name;
    const ParameterGroups groups(config);
    if (!groups.all().at(0).optimizer->updates_in_parts()) others.push_back(name);
  }
  CHECK(others == std::vector<std::string>{"adamw_schedule_free", "muon", "sophia"});
}

TEST_CASE("the page of the configuration has every key as it is", "[plan][docs]") {
  std::map<std::string, std::vector<std::string>> names;
  add_names(optimizer_declarations(), names);
  add_names(learning_rate_schedules(), names);
  add_names(losses(), names);
  add_names(schedule::schedules(), names);
  const std::string keys = describe_keys(names), text = text_of(page);
  const size_t first = text.find(begin), last = text.find(end);
  REQUIRE(first != std::string::npos);
  REQUIRE(last != std::string::npos);
  const size_t start = first + begin.size();
  if (std::getenv("COLLIE_UPDATE_DOCS") != nullptr) {
    std::ofstream(page) << text.substr(0, start) << keys << text.substr(last);
    return;
  }
  INFO("scripts/update_docs.sh brings " << page << " up to date");
  CHECK(text.substr(start, last - start) == keys);
}

TEST_CASE("every key says what it means", "[plan][docs]") {
  std::istringstream lines(describe_keys({}));
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    CHECK(line.size() <= 115);
    const bool is_section = line.ends_with(":"), is_more = line.find_first_not_of(' ') == line.find('#');
    CHECK((is_section || is_more || line.find("# ") + 2 < line.size()));
  }
}

TEST_CASE("what changes a result is in the fingerprint, and nothing else", "[plan][docs]") {
  Config config;
  const nlohmann::json before = fingerprint(config);
  CHECK(before["optimizer"]["lr"] == 3e-4);
  config.parallel.tp_size = 4;
  config.run.dir = "elsewhere";
  config.checkpoint.every_n_steps = 7;
  CHECK(fingerprint(config) == before);
  config.lr_scheduler.options.set("min_lr_ratio", 0.5);
  CHECK(fingerprint(config) != before);
  CHECK(fingerprint(config)["lr_scheduler"]["min_lr_ratio"] == 0.5);
}

}  // namespace
}  // namespace collie::test
