// Conversations as text, by the chat template of a model's folder, and which parts of the text an assistant
// wrote.
#pragma once

#include <ctime>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/jinja/template.hpp"

namespace collie {

// A conversation as a record of data has it. The keys of objects keep their order, which templates print.
struct Conversation {
  nlohmann::ordered_json messages;                                      // a list of objects
  nlohmann::ordered_json tools;                                         // a list, or null
  nlohmann::ordered_json documents;                                     // a list, or null
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();  // others, such as enable_thinking
  std::vector<bool> trained;  // [messages] whether a turn of the assistant is trained on; empty: all are
};

// A part of a text that a model must generate.
struct ChatSpan {
  size_t begin = 0, end = 0;  // bytes of the text; both lie between characters
  size_t message = 0;         // index of the assistant's message
  // The text before it is what the model is given: the messages before this one with the generation prompt.
  // It is false where the prompt goes on with what this turn does not have, such as an opened <think>; the
  // text is a beginning then.
  bool follows_prompt = true;
};

struct ChatText {
  std::string text;
  std::vector<ChatSpan> spans;      // in the order of the text; they do not overlap
  bool marked_by_template = false;  // the spans are the template's {% generation %} blocks
};

class ChatTemplate {
 public:
  // The templates of a folder as transformers 5 finds them: chat_template.jinja and
  // additional_chat_templates/*.jinja, else "chat_template" of tokenizer_config.json (a text, or a list of
  // {name, template}), else that of chat_template.json. None if there is none of them. The special tokens are
  // those of tokenizer_config.json, and of special_tokens_map.json where the former lists no added tokens; a
  // tokenizer class's own defaults are not known here. End tokens are the EOS token and those that
  // generation_config.json names, where tokenizer_config.json has their texts. Throws UserError naming the
  // file, and the line in a template.
  static std::optional<ChatTemplate> load(const std::filesystem::path& folder);

  // The template in `file`, with the special tokens of `folder`.
  static ChatTemplate from_file(const std::filesystem::path& file, const std::filesystem::path& folder);

  // `templates` by name ("default", "tool_use", ...). `special_tokens` by name ("bos_token", ...).
  ChatTemplate(std::map<std::string, jinja::Template> templates,
               std::map<std::string, std::string> special_tokens);

  // Whether any of the templates has {% generation %} blocks.
  bool has_generation() const;

  // A text that ends a turn when a model generates it, besides the EOS token.
  void add_end_token(const std::string& text);
  const std::vector<std::string>& end_tokens() const { return end_tokens_; }

  // The text of a conversation, as apply_chat_template() of transformers 5.24 gives it: keys of messages that
  // are null are left out, and a reasoning text is there under the names of other templates, too. `now` is
  // the local time. `where` names the sample in messages. Throws UserError, with what the template itself
  // says by raise_exception().
  std::string render(const Conversation& conversation, bool add_generation_prompt, const std::tm& now,
                     const std::string& where) const;

  // The texts to train on, and what an assistant must generate in them: from the end of the generation prompt
  // to the end of the turn, end token included. White space that a template writes behind an end token is not
  // part of it.
  //
  // With {% generation %} blocks there is one text, and the blocks are the spans. Otherwise a turn's span is
  // what the messages up to the turn add to the messages before it with the generation prompt. Where the
  // former does not begin with the latter, the span begins at the message's own text, if all before it is the
  // prompt's beginning; else where the text of a turn without thoughts and calls would begin, if the turn has
  // all that stands before that, and the prompt the messages before it (both: ChatSpan::follows_prompt). One
  // text holds all turns if each turn, with all that is before it, stays as it was while the conversation
  // goes on. A turn that the template writes differently later (without its <think>, without its end token)
  // has a text of its own, which ends with the turn: this is what the model is given and must generate.
  // Messages behind the last turn of an assistant are left out. A turn to which the template adds nothing,
  // and one that is not trained on, has no span.
  //
  // Throws UserError naming the message where no such place exists, and if a template refuses the messages.
  std::vector<ChatText> training_texts(const Conversation& conversation, const std::tm& now,
                                       const std::string& where) const;

 private:
  class Session;

  const jinja::Template& choose(const Conversation& conversation, const std::string& where) const;

  std::map<std::string, jinja::Template> templates_;
  std::map<std::string, std::string> special_tokens_;
  std::vector<std::string> end_tokens_;
};

}  // namespace collie
