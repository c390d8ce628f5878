// Renders templates for scripts/check_templates.sh: reads a JSON list of cases on standard input and prints a
// JSON list. A case is {"source", "variables", "now": [year, month, day, hour, minute, second]}; its result
// is {"text", "generations": [[begin, end], ...] in bytes, "problem"} or {"error"}.
#include <ctime>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/chat_template.hpp"
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

ordered_json spans_of(const collie::ChatText& text) {
  ordered_json spans = ordered_json::array();
  for (const auto& span : text.spans) {
    ordered_json parts = ordered_json::array();
    parts.push_back(span.begin);
    parts.push_back(span.end);
    parts.push_back(span.message);
    parts.push_back(span.follows_prompt);
    spans.push_back(parts);
  }
  return spans;
}

void render_training(const ordered_json& sample, ordered_json& result) {
  std::map<std::string, collie::jinja::Template> templates;
  templates.emplace("default", collie::jinja::Template(sample.at("source").get<std::string>(), "template"));
  const collie::ChatTemplate chat(std::move(templates),
                                  sample.at("special_tokens").get<std::map<std::string, std::string>>());
  collie::Conversation conversation;
  conversation.variables = sample.at("conversation");
  for (const auto& [name, part] : {std::pair{"messages", &conversation.messages},
                                   {"tools", &conversation.tools},
                                   {"documents", &conversation.documents}}) {
    if (conversation.variables.contains(name)) *part = conversation.variables[name];
    conversation.variables.erase(name);
  }
  result["texts"] = ordered_json::array();
  for (const auto& text : chat.training_texts(conversation, time_of(sample.at("now")), "sample"))
    result["texts"].push_back(ordered_json{{"text", text.text}, {"spans", spans_of(text)}});
}

void render_text(const ordered_json& sample, ordered_json& result) {
  const collie::jinja::Template made(sample.at("source").get<std::string>(), "template");
  const auto variables = collie::jinja::value_of_json(sample.at("variables"));
  const auto rendering = made.render(variables.dict(), time_of(sample.at("now")), "sample");
  result["text"] = rendering.text;
  result["generations"] = ordered_json::array();
  for (const auto& generation : rendering.generations)
    result["generations"].push_back({generation.begin, generation.end});
  result["problem"] = rendering.generation_problem;
}

ordered_json render(const ordered_json& sample) {
  ordered_json result;
  try {
    if (sample.contains("conversation"))
      render_training(sample, result);
    else
      render_text(sample, result);
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
