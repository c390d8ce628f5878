// docs/metrics.md has every metric and option as they are declared.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "io/config_schema.hpp"
#include "metrics/metric.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

const std::string metrics_page = std::string(COLLIE_SOURCE_DIR) + "/docs/metrics.md";
const std::string first_line = "<!-- metrics: scripts/update_docs.sh writes them -->\n",
                  last_line = "<!-- end of the metrics -->";

// In lines of at most 115 characters; those after the first are indented by `indent`.
std::string wrapped(const std::string& text, size_t indent) {
  std::string all;
  size_t column = 0;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (column + 1 + word.size() > 115) {
      all += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > 0) {
      all += ' ';
      ++column;
    }
    all += word;
    column += word.size();
  }
  return all + "\n";
}

std::string values_of_option(const config::Key& key, const Option& option) {
  if (std::holds_alternative<bool>(option.initial)) return "";
  if (std::holds_alternative<std::string>(option.initial) && option.choices.empty()) return "";
  std::string wanted = key.wanted();
  if (wanted.ends_with(",")) wanted.pop_back();
  return "; " + wanted;
}

std::string described(const std::string& name) {
  const MetricDeclaration metric = metric_declarations().find(name);
  std::string kinds;
  for (const SetKind kind : metric.kinds) kinds += (kinds.empty() ? "" : ", ") + name_of(kind);
  std::string all = wrapped(fmt::format("**`{}`** ({}): {}.", name, kinds, metric.doc), 0) + "\n";
  OptionValues none;
  const auto keys = config::option_schema(metric.options, none, "");
  for (size_t i = 0; i < keys.size(); ++i)
    all += wrapped(fmt::format("- `{}: {}`: {}{}", metric.options[i].name, keys[i].yaml(),
                               keys[i].description, values_of_option(keys[i], metric.options[i])),
                   2);
  return keys.empty() ? all : all + "\n";
}

std::string described_metrics() {
  std::string all;
  for (const SetKind kind : {SetKind::perplexity, SetKind::classification, SetKind::generation})
    for (const std::string& name : metric_declarations().names())
      if (metric_declarations().find(name).kinds.front() == kind && !name.starts_with("test_"))
        all += described(name);
  return all;
}

TEST_CASE("the page of the metrics has every option as it is", "[metrics][docs]") {
  std::stringstream read;
  read << std::ifstream(metrics_page).rdbuf();
  const std::string text = read.str();
  const size_t first = text.find(first_line), last = text.find(last_line);
  REQUIRE(first != std::string::npos);
  REQUIRE(last != std::string::npos);
  const size_t start = first + first_line.size();
  if (std::getenv("COLLIE_UPDATE_DOCS") != nullptr) {
    std::ofstream(metrics_page) << text.substr(0, start) << described_metrics() << text.substr(last);
    return;
  }
  INFO("scripts/update_docs.sh brings " << metrics_page << " up to date");
  CHECK(text.substr(start, last - start) == described_metrics());
}

}  // namespace
}  // namespace collie::test
