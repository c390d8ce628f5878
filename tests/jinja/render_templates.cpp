// Renders templates for scripts/check_templates.sh: reads a JSON list of cases on standard input and prints a
// JSON list. A case is {"source", "variables", "now": [year, month, day, hour, minute, second]}; its result
// is {"text", "generations": [[begin, end], ...] in bytes, "problem"} or {"error"}.
#include <ctime>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/template.hpp"

namespace {

using nlohmann::ordered_json;

std::tm time_of(const ordered_json& parts) {
  std::tm now{};
  now.tm_year = parts[0].get<int>() - 1900;
  now.tm_mon = parts[1].get<int>() - 1;
  now.tm_mday = parts[2].get<int>();
  now.tm_hour = parts[3].get<int>();
  now.tm_min = parts[4].get<int>();
  now.tm_sec = parts[5].get<int>();
  now.tm_isdst = -1;
  std::mktime(&now);  // the day of the week and of the year
  return now;
}

ordered_json render(const ordered_json& sample) {
  ordered_json result;
  try {
    const collie::jinja::Template made(sample.at("source").get<std::string>(), "template");
    const auto variables = collie::jinja::value_of_json(sample.at("variables"));
    const auto rendering = made.render(variables.dict(), time_of(sample.at("now")), "sample");
    result["text"] = rendering.text;
    result["generations"] = ordered_json::array();
    for (const auto& generation : rendering.generations)
      result["generations"].push_back({generation.begin, generation.end});
    result["problem"] = rendering.generation_problem;
  } catch (const collie::UserError& error) {
    result["error"] = error.what();
  }
  return result;
}

}  // namespace

int main() {
  const std::string text((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  ordered_json results = ordered_json::array();
  for (const auto& sample : ordered_json::parse(text)) results.push_back(render(sample));
  std::cout << results.dump() << '\n';
}
