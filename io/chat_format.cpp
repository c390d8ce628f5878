// The data set format "chat": conversations, through the model's chat template.
#include "io/chat_format.hpp"

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/chat_template.hpp"
#include "io/document_maker.hpp"
#include "io/json_records.hpp"

namespace collie {

namespace {

using Json = nlohmann::ordered_json;

// Whether an assistant's message is trained on: "weight" is 0 or 1 (OpenAI's fine-tuning format), "train" is
// true or false. Takes the flags off, because templates print messages.
bool take_flags(Json& message, const std::string& where) {
  bool trains = true;
  if (const auto weight = message.find("weight"); weight != message.end()) {
    if (!weight->is_number() || (*weight != 0 && *weight != 1))
      throw UserError("{}: weight must be 0 or 1, not {}", where, shortened(weight->dump()));
    trains = *weight == 1;
    message.erase("weight");
  }
  if (const auto flag = message.find("train"); flag != message.end()) {
    if (!flag->is_boolean())
      throw UserError("{}: train must be true or false, not {}", where, shortened(flag->dump()));
    trains = trains && flag->get<bool>();
    message.erase("train");
  }
  return trains;
}

Conversation read_conversation(const JsonRecord& record, const DataSource& source) {
  Conversation result;
  const std::string key = source.messages.empty() ? "messages" : source.messages;
  Json messages = record.at(key);
  if (!messages.is_array())
    throw UserError("{}: key '{}' must be a list of messages", record.place(), shortened(key));
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = fmt::format("{}: {}[{}]", record.place(), shortened(key), i);
    if (!messages[i].is_object() || !messages[i].contains("role") || !messages[i]["role"].is_string())
      throw UserError("{}: a message must be an object with a role, which is a string", where);
    result.trained.push_back(take_flags(messages[i], where));
  }
  result.messages = std::move(messages);
  const std::string tools_key = source.tools.empty() ? "tools" : source.tools;
  if (const Json* tools = record.find(tools_key)) {
    if (!tools->is_array())
      throw UserError("{}: key '{}' must be a list of tools, not {}", record.place(), shortened(tools_key),
                      tools->is_string()
                          ? "a string; a list that was written as a string must be parsed first"
                          : tools->type_name());
    result.tools = *tools;
  }
  if (const Json* documents = record.find("documents")) result.documents = *documents;
  if (const Json* variables = record.find("chat_template_kwargs")) {
    if (!variables->is_object())
      throw UserError("{}: key 'chat_template_kwargs' must be an object", record.place());
    result.variables = *variables;
  }
  return result;
}

// The roles of a conversation without a turn to train on.
std::string words_of_roles(const JsonRecord& record, const Json& messages) {
  std::string roles;
  for (const Json& message : messages)
    if (roles.size() < 100) roles += (roles.empty() ? "" : ", ") + message["role"].get<std::string>();
  return fmt::format("{} (roles: {})", record.place(), shortened(roles, 120));
}

// If the whole conversation does not render, its error says more than that of a part.
std::vector<ChatText> training_texts(const ChatTemplate& chat, const Conversation& conversation,
                                     const std::tm& now, const std::string& where) {
  try {
    return chat.training_texts(conversation, now, where);
  } catch (const UserError&) {
    chat.render(conversation, false, now, where);
    throw;
  }
}

}  // namespace

void read_chat(const DataFile& file, const DataRecord& line, const Tokenizer& tokenizer,
               const DocumentSink& sink, DataFindings& findings) {
  const JsonRecord record(line);
  DocumentMaker documents(file, tokenizer,
                          {false, false},  // the template writes what a model begins and ends with
                          findings);
  const Conversation read = read_conversation(record, file.source);
  bool trained = false;
  for (const ChatText& text : training_texts(*file.chat_template, read, file.now, record.place())) {
    std::vector<std::pair<size_t, size_t>> spans;
    for (const ChatSpan& span : text.spans) {
      if (!read.trained.at(span.message) || span.begin == span.end) continue;
      spans.emplace_back(span.begin, span.end);
      if (!span.follows_prompt) findings.add(DataFindings::Kind::beside_prompt, record.place());
    }
    if (spans.empty()) continue;
    trained = true;
    sink(documents.spanned(text.text, spans, text.marked_by_template));
  }
  if (!trained) findings.add(DataFindings::Kind::without_turn, words_of_roles(record, read.messages));
}

}  // namespace collie
