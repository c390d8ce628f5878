// docs/optimizers.md lists what an update inside backward cannot do, with the messages. Each line is tried
// here.
#include <algorithm>
#include <csignal>
#include <sstream>

#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

struct Refusal {
  Settings settings;
  std::vector<std::string> parts;  // of the message
};

// What stands between backticks.
std::vector<std::string> quoted(const std::string& text) {
  std::vector<std::string> all;
  for (size_t begin = text.find('`'); begin != std::string::npos; begin = text.find('`', begin)) {
    const size_t end = text.find('`', begin + 1);
    REQUIRE(end != std::string::npos);
    all.push_back(text.substr(begin + 1, end - begin - 1));
    begin = end + 1;
  }
  return all;
}

Refusal refusal_of(const std::string& line) {
  const size_t middle = line.find("` | `");
  REQUIRE(middle != std::string::npos);
  Refusal refusal{{}, quoted(line.substr(middle + 3))};
  for (std::string setting : quoted(line.substr(0, middle + 1))) {
    const size_t colon = setting.find(": ");
    REQUIRE(colon != std::string::npos);
    refusal.settings.push_back(setting.replace(colon, 2, "="));
  }
  return refusal;
}

std::vector<Refusal> refusals_of_page() {
  std::istringstream page(text_of(std::string(COLLIE_SOURCE_DIR) + "/docs/optimizers.md"));
  std::vector<Refusal> all;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("<!-- ")) inside = line.starts_with("<!-- refusals");
    if (inside && line.starts_with("| `")) all.push_back(refusal_of(line));
  }
  return all;
}

}  // namespace

TEST_CASE("what an update inside backward cannot do is refused as the page says, before weights are read") {
  const Workbench bench;
  const char* const before_weights = "plan.weights:1:kill";
  REQUIRE(bench.run("run", {"optimizer.name=lomo"}, {}, before_weights).signal == SIGKILL);
  const std::vector<Refusal> refusals = refusals_of_page();
  CHECK(refusals.size() >= 11);
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.settings);
    check_refused(bench.run("refused", refusal.settings, {}, before_weights), 2, refusal.parts);
  }
}

}  // namespace collie::test
