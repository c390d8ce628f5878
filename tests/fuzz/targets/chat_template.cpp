#include "io/chat_template.hpp"

#include "base/error.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

namespace {

using nlohmann::ordered_json;

std::vector<Conversation> conversations() {
  const ordered_json system = {{"role", "system"}, {"content", "Be short."}},
                     user = {{"role", "user"}, {"content", " H\xc3\xa9llo <b> "}},
                     call = {{"role", "assistant"},
                             {"content", ""},
                             {"tool_calls",
                              {{{"type", "function"},
                                {"function", {{"name", "f"}, {"arguments", {{"x", 1.5}}}}}}}}},
                     answer = {{"role", "assistant"}, {"content", "<think>\nWell.\n</think>\nYes."}},
                     tools = {{{"type", "function"}, {"function", {{"name", "f"}, {"parameters", nullptr}}}}};
  return {{{user, answer}, nullptr, nullptr, {{"enable_thinking", false}}, {}},
          {{system, user, call, {{"role", "tool"}, {"content", "7"}}, answer},
           tools,
           nullptr,
           ordered_json::object(),
           {}}};
}

}  // namespace

void read_chat_template(const std::string& folder, const std::string& contents) {
  const ChatTemplate made = ChatTemplate::from_file(put(folder, "t.jinja", contents), folder);
  std::tm now{};
  now.tm_year = 126, now.tm_mday = 1;
  for (const Conversation& conversation : conversations()) {
    made.render(conversation, true, now, "the conversation");
    for (const ChatText& text : made.training_texts(conversation, now, "the conversation")) {
      size_t end = 0;
      for (const ChatSpan& span : text.spans) {
        must(span.begin >= end && span.begin < span.end && span.end <= text.text.size(),
             "spans out of order");
        end = span.end;
      }
    }
  }
}

}  // namespace collie::test
