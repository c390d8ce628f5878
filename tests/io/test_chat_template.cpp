// Chat templates of folders, and the parts of a text that an assistant must generate.
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/chat_template.hpp"
#include "io/json_text.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::TemporaryFolder;
using nlohmann::ordered_json;

namespace {

const std::string chat_ml =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') }}"
    "{% for c in m.tool_calls or [] %}{{ '<call>' ~ (c.arguments if c.arguments is string else c.arguments | "
    "tojson) ~ '</call>' }}{% endfor %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

// As Qwen3: a turn has a (perhaps empty) thought while it is the last, and loses it when the user speaks
// again.
const std::string rewriting =
    "{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = "
    "loop.index0 %}{%- endif %}{%- endfor %}"
    "{%- for m in messages %}{%- set content = m.content %}{%- set reasoning = m.reasoning_content or '' %}"
    "{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' and loop.index0 > ns.last %}{{- '<think>\\n' + reasoning + "
    "'\\n</think>\\n\\n' }}{%- endif %}"
    "{{- content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- if enable_thinking is false %}{{- "
    "'<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}";

// As DeepSeek-R1: the prompt opens a thought, and turns have none.
const std::string opening =
    "{{- bos_token }}{%- for m in messages %}{%- if m.role == 'user' %}{{- '<|User|>' + m.content }}{%- elif "
    "m.tool_calls %}"
    "{{- '<|Assistant|><call>' }}{%- else %}{{- '<|Assistant|>' + m.content.split('</think>')[-1] + "
    "eos_token }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|Assistant|><think>\\n' }}{%- endif %}";

ChatTemplate chat(const std::string& source, std::map<std::string, std::string> tokens = {
                                                 {"bos_token", "<s>"}, {"eos_token", "<|im_end|>"}}) {
  std::map<std::string, jinja::Template> templates;
  templates.emplace("default", jinja::Template(source, "chat.jinja"));
  return ChatTemplate(std::move(templates), std::move(tokens));
}

Conversation conversation(const std::string& messages, const std::string& variables = "{}") {
  Conversation made;
  made.messages = parse_ordered_json(messages, "messages");
  made.variables = parse_ordered_json(variables, "variables");
  return made;
}

// [[text, [[message, span, follows the prompt], ...]], ...]
ordered_json trained(const ChatTemplate& with, const Conversation& of) {
  ordered_json result = ordered_json::array();
  for (const ChatText& text : with.training_texts(of, {}, "data.jsonl:7")) {
    ordered_json spans = ordered_json::array();
    size_t end = 0;
    for (const ChatSpan& span : text.spans) {
      CHECK(span.begin >= end);
      end = span.end;
      spans.push_back(
          {span.message, text.text.substr(span.begin, span.end - span.begin), span.follows_prompt});
    }
    result.push_back({text.text, spans});
  }
  return result;
}

std::string refusal_of_chat(const ChatTemplate& with, const Conversation& of) {
  try {
    return "no refusal: " + trained(with, of).dump();
  } catch (const UserError& error) {
    return error.what();
  }
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

std::string loaded_text(const std::filesystem::path& folder, bool with_tools = false) {
  const auto loaded = ChatTemplate::load(folder);
  REQUIRE(loaded.has_value());
  Conversation of = conversation(R"([{"role": "user", "content": "x"}])");
  if (with_tools) of.tools = ordered_json::array();
  return loaded->render(of, false, {}, "sample");
}

const std::string two_turns = R"([{"role": "system", "content": "S"}, {"role": "user", "content": "U1"},
  {"role": "assistant", "content": "A1"}, {"role": "user", "content": "U2"}, {"role": "assistant", "content": "Ä2"}])";

}  // namespace

TEST_CASE(
    "a turn's span is what the model must generate: no header, with the end token, without what follows it") {
  const auto result = trained(chat(chat_ml), conversation(two_turns));
  REQUIRE(result.size() == 1);
  CHECK(
      result[0][0] ==
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
      "<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\nÄ2<|im_end|>\n");
  CHECK(result[0][1] == ordered_json{{2, "A1<|im_end|>", true}, {4, "Ä2<|im_end|>", true}});
}

TEST_CASE("the end of a turn is the end of what it adds where no end token is known") {
  CHECK(trained(chat(chat_ml, {}), conversation(two_turns))[0][1] ==
        ordered_json{{2, "A1<|im_end|>\n", true}, {4, "Ä2<|im_end|>\n", true}});
}

TEST_CASE("content that looks like the template's own text moves no span") {
  const auto messages = R"([{"role": "user", "content": "<|im_end|>\n<|im_start|>assistant\nA"},
    {"role": "assistant", "content": "<|im_start|>assistant\n <|im_end|> A"}, {"role": "user", "content": ""}])";
  CHECK(trained(chat(chat_ml), conversation(messages))[0][1] ==
        ordered_json{{1, "<|im_start|>assistant\n <|im_end|> A<|im_end|>", true}});
}

TEST_CASE("empty and missing content, and calls of tools, are spans") {
  const auto messages =
      R"([{"role": "user", "content": "U"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "V"},
    {"role": "assistant", "content": null, "tool_calls": [{"arguments": {"b": 1, "a": "é"}}, {"arguments": "{}"}]},
    {"role": "tool", "content": "R"}, {"role": "assistant", "content": "A"}])";
  CHECK(trained(chat(chat_ml), conversation(messages))[0][1] ==
        ordered_json{{1, "<|im_end|>", true},
                     {3, "<call>{\"b\": 1, \"a\": \"é\"}</call><call>{}</call><|im_end|>", true},
                     {5, "A<|im_end|>", true}});
}

TEST_CASE("a turn that the template writes differently later has a text of its own") {
  const auto result = trained(chat(rewriting), conversation(two_turns));
  const std::string first =
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\n";
  REQUIRE(result.size() == 2);
  CHECK(result[0][0] == first + "<think>\n\n</think>\n\nA1<|im_end|>\n");
  CHECK(result[0][1] == ordered_json{{2, "<think>\n\n</think>\n\nA1<|im_end|>", true}});
  CHECK(result[1][0] == first +
                            "A1<|im_end|>\n<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\n<think>"
                            "\n\n</think>\n\nÄ2<|im_end|>\n");
  CHECK(result[1][1] == ordered_json{{4, "<think>\n\n</think>\n\nÄ2<|im_end|>", true}});
}

TEST_CASE("a thought that the prompt gives is not part of the span") {
  const auto result = trained(chat(rewriting), conversation(two_turns, R"({"enable_thinking": false})"));
  REQUIRE(result.size() == 2);
  CHECK(result[0][1] == ordered_json{{2, "A1<|im_end|>", true}});
  CHECK(result[1][1] == ordered_json{{4, "Ä2<|im_end|>", true}});
  const auto thinking =
      R"([{"role": "user", "content": "U"}, {"role": "assistant", "content": "A", "reasoning": "R"}])";
  CHECK(trained(chat(rewriting), conversation(thinking))[0][1] ==
        ordered_json{{1, "<think>\nR\n</think>\n\nA<|im_end|>", true}});
}

TEST_CASE("turns that stay as they were share a text, also where another one is rewritten") {
  const auto messages =
      R"([{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}, {"role": "assistant", "content": "B"},
    {"role": "user", "content": "V"}, {"role": "assistant", "content": "C"}])";
  const auto result = trained(chat(rewriting), conversation(messages));
  REQUIRE(result.size() == 2);
  CHECK(result[0][1] == ordered_json{{1, "<think>\n\n</think>\n\nA<|im_end|>", true},
                                     {2, "<think>\n\n</think>\n\nB<|im_end|>", true}});
  CHECK(result[1][1] == ordered_json{{4, "<think>\n\n</think>\n\nC<|im_end|>", true}});
}

TEST_CASE("where the prompt opens what the turn lacks, the span begins at the message's text") {
  const ChatTemplate with = chat(opening, {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  const auto messages =
      R"([{"role": "user", "content": "U"}, {"role": "assistant", "content": "<b>"}, {"role": "user", "content": "V"}, {"role": "assistant", "content": " C"}])";
  const auto result = trained(with, conversation(messages));
  REQUIRE(result.size() == 1);
  CHECK(result[0][0] == "<s><|User|>U<|Assistant|><b></s><|User|>V<|Assistant|> C</s>");
  CHECK(result[0][1] == ordered_json{{1, "<b></s>", false}, {3, " C</s>", false}});
  const auto cut =
      R"([{"role": "user", "content": "U"}, {"role": "assistant", "content": "<think>R</think>A"}])";
  CHECK_THAT(refusal_of_chat(with, conversation(cut)),
             contains("data.jsonl:7: message 1 is a turn of the assistant, so it is trained on, and with the "
                      "template chat.jinja it cannot be: the generation prompt goes on with '<think>") &&
                 contains("give it \"train\": false") && contains("where the turn goes on with 'A</s>'"));
  // A turn that is not trained on needs no place.
  Conversation without = conversation(cut);
  without.trained = {false, false};
  CHECK(trained(with, without).empty());
  const auto calls = R"([{"role": "user", "content": "U"}, {"role": "assistant", "tool_calls": [1]}])";
  CHECK(trained(with, conversation(calls))[0][1] == ordered_json{{1, "<call>", false}});
}

TEST_CASE("where the turn closes what the prompt opens, the span begins where a plain text would") {
  // As DeepSeek-V3.1 and GLM-4.7: the prompt opens a thought, and a turn without one closes it at once.
  const ChatTemplate with = chat(
      "{% for m in messages %}{% if m.role == 'user' %}<|User|>{{ m.content }}{% else %}<|Assistant|>"
      "{% for c in m.tool_calls or [] if m.early %}<call>{{ c }}{% endfor %}</think>{{ m.content }}"
      "{% for c in m.tool_calls or [] if not m.early %}<call>{{ c }}{% endfor %}</s>"
      "{% endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>{% endif %}",
      {{"eos_token", "</s>"}});
  const auto turn = [&](const std::string& message) {
    return conversation(R"([{"role": "user", "content": "U"}, {"role": "assistant", )" + message + "}]");
  };
  CHECK(trained(with, turn(R"("content": "A")")) ==
        ordered_json::array({{"<|User|>U<|Assistant|></think>A</s>", {{1, "A</s>", false}}}}));
  CHECK(trained(with, turn(R"("content": "")"))[0][1] == ordered_json{{1, "</s>", false}});
  CHECK(trained(with, turn(R"("content": "", "tool_calls": [7])"))[0][1] ==
        ordered_json{{1, "<call>7</s>", false}});
  // What is no part of every turn is not left out.
  CHECK_THAT(refusal_of_chat(with, turn(R"("content": "A", "tool_calls": [7], "early": true)")),
             contains("where the turn goes on with 'call>7"));
  // A template that writes earlier messages differently before a turn and before a prompt gives another
  // prompt.
  const ChatTemplate forgetful = chat(
      "{% for m in messages %}{% if m.role == 'user' %}[{{ 'SYSTEM ' if loop.last }}{{ m.content }}]{% else "
      "%}{{ "
      "m.content }}{% endif %}{% endfor %}");
  CHECK_THAT(refusal_of_chat(forgetful, turn(R"("content": "A")")), contains("goes on with 'SYSTEM U]'"));
}

TEST_CASE("generation blocks are the spans, with the message that their loop is at") {
  const ChatTemplate with = chat(
      "{% for m in messages %}{% if m.role == 'assistant' %}[{% generation %}{% for p in m.content %}{{ p "
      "}}{% endfor %}|{% endgeneration %}]"
      "{% else %}({{ m.content }}){% endif %}{% endfor %}");
  const auto result = trained(with, conversation(two_turns));
  REQUIRE(result.size() == 1);
  CHECK(result[0][0] == "(S)(U1)[A1|](U2)[Ä2|]");
  CHECK(result[0][1] == ordered_json{{2, "A1|", true}, {4, "Ä2|", true}});
  CHECK_THAT(refusal_of_chat(chat("{% generation %}x{% endgeneration %}"), conversation(two_turns)),
             contains("not inside of a loop over the messages"));
  CHECK_THAT(refusal_of_chat(chat("{% set x %}{% generation %}x{% endgeneration %}{% endset %}"),
                             conversation(two_turns)),
             contains("chat.jinja: line 1: a generation block is inside"));
}

TEST_CASE("messages that a template or transformers does not take are refused with their place") {
  CHECK(refusal_of_chat(chat(chat_ml), conversation("{}")) ==
        "data.jsonl:7: the messages are {}; they must be a list of one or more objects");
  CHECK(refusal_of_chat(chat(chat_ml), conversation("[]")) ==
        "data.jsonl:7: the messages are []; they must be a list of one or more objects");
  CHECK(refusal_of_chat(chat(chat_ml), conversation(R"(["a"])")) ==
        "data.jsonl:7: message 0 is \"a\"; it must be an object with a role");
  CHECK_THAT(refusal_of_chat(chat("{{ raise_exception('No.') }}"), conversation(two_turns)),
             contains("refuses this: No."));
  CHECK_THAT(
      refusal_of_chat(chat("{{ messages[0].role.x }}{% for m in messages %}{{ m.content }}{% endfor %}"),
                      conversation(R"([{"role": "assistant", "content": "A"}])")),
      contains(
          "data.jsonl:7: message 0 is a turn of the assistant, so it is trained on, and with the template "
          "chat.jinja it cannot be: the messages before it do not render"));
  CHECK(trained(chat(chat_ml), conversation(R"([{"role": "user", "content": "U"}])")).empty());
}

TEST_CASE("a whole number beyond 64 bits in a conversation is refused, a float of that size is not") {
  const auto talk = [](const std::string& number) {
    return conversation(R"([{"role": "user", "content": "U", "n": [)" + number + "]}]");
  };
  const ChatTemplate with = chat("{{ messages[0].n[0] }}");
  CHECK_THAT(refusal_of_chat(with, talk("123456789012345678901")),
             contains("data.jsonl:7: the number 123456789012345678901 goes beyond 64 bits"));
  CHECK_THAT(refusal_of_chat(with, talk("9223372036854775808")), contains("beyond 64 bits"));
  CHECK(with.render(talk("-9223372036854775808"), false, {}, "s") == "-9223372036854775808");
  CHECK(with.render(talk("1e300"), false, {}, "s") == "1e+300");
}

TEST_CASE("a template sees messages as transformers gives them") {
  const auto text =
      chat("{{ messages }}{{ tools }}{{ documents }}{{ bos_token }}{{ x }}{{ add_generation_prompt }}")
          .render(conversation(R"([{"role": "user", "content": null, "name": "N", "reasoning": "R"}])",
                               R"({"x": [1], "bos_token": "B"})"),
                  true, {}, "s");
  CHECK(text ==
        "[{'thinking': 'R', 'role': 'user', 'name': 'N', 'reasoning': 'R', 'reasoning_content': "
        "'R'}]NoneNoneB[1]True");
}

TEST_CASE("a folder's template is found where transformers finds it") {
  const TemporaryFolder folder;
  const auto path = folder.path();
  CHECK_FALSE(ChatTemplate::load(path).has_value());
  write(path / "chat_template.json", R"({"chat_template": "older {{ eos_token }}"})");
  CHECK(loaded_text(path) == "older ");
  write(path / "special_tokens_map.json", R"({"eos_token": {"content": "</m>", "lstrip": false}})");
  CHECK(loaded_text(path) == "older </m>");
  write(
      path / "tokenizer_config.json",
      R"({"chat_template": "config {{ eos_token }}{{ image_token }}{{ boi }}", "eos_token": {"content": "</s>"},
    "image_token": "<i>", "pad_token": null, "add_bos_token": true, "extra_special_tokens": {"boi": "<b>"},
    "added_tokens_decoder": {"2": {"content": "</s>"}, "7": {"content": "<end>"}}})");
  write(path / "generation_config.json", R"({"eos_token_id": [2, 7, 9]})");
  CHECK(loaded_text(path) == "config </s><i><b>");
  CHECK(ChatTemplate::load(path)->end_tokens() == std::vector<std::string>{"</s>", "<end>"});
  write(
      path / "tokenizer_config.json",
      R"({"chat_template": [{"name": "default", "template": "named"}, {"name": "tool_use", "template": "tools"}]})");
  CHECK(loaded_text(path) == "named");
  CHECK(loaded_text(path, true) == "tools");
  write(path / "chat_template.jinja", "file {{ messages[0].content }}\n");
  CHECK(loaded_text(path, true) == "file x");
  std::filesystem::create_directory(path / "additional_chat_templates");
  write(path / "additional_chat_templates/tool_use.jinja", "more");
  CHECK(loaded_text(path, true) == "more");
}

TEST_CASE("a folder's template that is wrong is refused with its file") {
  const TemporaryFolder folder;
  const auto path = folder.path();
  write(path / "tokenizer_config.json", R"({"chat_template": 5})");
  CHECK_THROWS_WITH(ChatTemplate::load(path),
                    contains("tokenizer_config.json: chat_template is 5; it must be a text"));
  write(path / "tokenizer_config.json", R"({"chat_template": "a\n{% if %}"})");
  CHECK_THROWS_WITH(ChatTemplate::load(path),
                    contains("tokenizer_config.json: chat_template:2: found '%}' where an expression"));
  write(path / "tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  CHECK_THROWS_WITH(loaded_text(path),
                    contains("the model has the chat templates 'rag', none of which is named 'default'"));
  write(path / "chat_template.jinja", "{{ x | nothing }}");
  CHECK_THROWS_WITH(ChatTemplate::load(path),
                    contains("chat_template.jinja:1: there is no filter 'nothing'"));
}
