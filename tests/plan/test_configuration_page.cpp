// docs/configuration.md has every key as the schema and the registries have it.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "io/config.hpp"
#include "io/config_schema.hpp"
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

TEST_CASE("the page of evaluations has every key of a set", "[plan][docs]") {
  const std::string text = text_of(std::string(COLLIE_SOURCE_DIR) + "/docs/evaluation.md");
  EvalSet set;
  for (const config::Key& key : config::set_schema(set, "set")) {
    INFO(key.path);
    CHECK(text.find("`" + key.path.substr(4) + "`") != std::string::npos);
  }
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

// The keys of a fingerprint, one "/section/name" each.
std::vector<nlohmann::json::json_pointer> keys_of(const nlohmann::json& print) {
  std::vector<nlohmann::json::json_pointer> keys;
  for (const auto& [section, values] : print.items())
    for (const auto& [name, value] : values.items()) keys.emplace_back("/" + section + "/" + name);
  return keys;
}

void erase(nlohmann::json& print, const nlohmann::json::json_pointer& key) {
  print.at(key.parent_pointer()).erase(key.back());
}

TEST_CASE("a recorded run gets any key that its version did not know", "[plan]") {
  Config config;
  config.optimizer.name = GENERATE("adamw", "sophia", "muon");
  config.lr_scheduler.name = "warmup_stable_decay";
  config.optimizer.groups = {{{"*norm*"}, "sgd", {{"lr", 0.1}}}};
  const nlohmann::json print = fingerprint(config);
  CHECK(complete_fingerprint(print) == print);
  REQUIRE(keys_of(print).size() > 25);
  for (const auto& key : keys_of(print)) {
    if (key.back() == "name" || key.back() == "groups") continue;
    nlohmann::json older = print;
    erase(older, key);
    nlohmann::json expected = print;
    if (key.back() == "decay_norms_and_biases") expected[key] = true;  // decay covered everything
    CAPTURE(key.to_string());
    CHECK(complete_fingerprint(older) == expected);
  }
  const nlohmann::json::json_pointer groups("/optimizer/groups");
  nlohmann::json older = print, recorded = nlohmann::json::parse(print.at(groups).get<std::string>());
  REQUIRE(recorded.at(0).erase("nesterov") == 1);
  older[groups] = recorded.dump();
  CHECK(older != print);
  CHECK(complete_fingerprint(older) == print);
}

TEST_CASE("what is recorded of a run, and of pieces that nobody knows here, stays as it is", "[plan]") {
  nlohmann::json print = fingerprint({});
  print["optimizer"] = {
      {"name", "a host's"}, {"lr", 0.5}, {"master", false}, {"groups", nlohmann::json::array()}};
  print["data"]["contents"] = "abc";
  const nlohmann::json complete = complete_fingerprint(print);
  CHECK(complete.at("optimizer").at("lr") == 0.5);
  CHECK(complete.at("optimizer").at("master") == false);
  CHECK_FALSE(complete.at("optimizer").contains("betas"));
  CHECK(complete.at("optimizer").at("rounding") == "nearest");
  CHECK(complete.at("data").at("contents") == "abc");
}

}  // namespace
}  // namespace collie::test
