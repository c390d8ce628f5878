#include "io/prometheus_text.hpp"

#include <fmt/format.h>

#include <cmath>

#include "base/error.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

bool may_stand(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
}

// Backslashes and ends of lines are escaped, and in values of labels quotes, too.
std::string prometheus_escaped(const std::string& text, bool quotes) {
  std::string out;
  for (const char c : replace_invalid_utf8(text)) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && quotes)
      out += "\\\"";
    else
      out += c;
  }
  return out;
}

// Names of labels have no colon.
std::string label_name(const std::string& name) {
  std::string out = prometheus_name(name);
  for (char& c : out)
    if (c == ':') c = '_';
  return out;
}

std::string words_of_value(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

}  // namespace

std::string prometheus_name(std::string_view name) {
  std::string out;
  for (const char c : name) out += may_stand(c) ? c : '_';
  if (out.empty() || (out.front() >= '0' && out.front() <= '9')) out.insert(out.begin(), '_');
  return out;
}

void PrometheusText::add(const std::string& name, Type type, const std::string& help, const Labels& labels,
                         double value) {
  const std::string allowed = prometheus_name(name);
  const auto [found, is_new] = families_.try_emplace(allowed, Family{type, help, {}});
  Family& family = found->second;
  COLLIE_ASSERT(is_new || family.type == type, "{} is a gauge and a counter", allowed);
  std::string inner;
  for (const auto& [label, text] : labels)
    inner += fmt::format("{}{}=\"{}\"", inner.empty() ? "" : ",", label_name(label),
                         prometheus_escaped(text, true));
  family.samples.push_back(
      fmt::format("{}{} {}\n", allowed, inner.empty() ? "" : "{" + inner + "}", words_of_value(value)));
}

std::string PrometheusText::text() const {
  std::string out;
  for (const auto& [name, family] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, prometheus_escaped(family.help, false), name,
                       family.type == Type::gauge ? "gauge" : "counter");
    for (const std::string& sample : family.samples) out += sample;
  }
  return out;
}

}  // namespace collie
