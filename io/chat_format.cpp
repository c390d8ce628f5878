// The data set format "chat": conversations, through the model's chat template.
#include "io/chat_format.hpp"

#include <ctime>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/chat_template.hpp"
#include "io/document_maker.hpp"
#include "io/json_records.hpp"

namespace collie {

namespace {

using Json = nlohmann::ordered_json;

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  return parts;
}

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

struct FlaggedConversation {
  Conversation conversation;
  std::vector<bool> trained;  // [messages]
};

FlaggedConversation read_conversation(const JsonRecord& record, const DataSource& source) {
  FlaggedConversation result;
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
  result.conversation.messages = std::move(messages);
  if (const Json* tools = record.find(source.tools.empty() ? "tools" : source.tools))
    result.conversation.tools = *tools;
  if (const Json* documents = record.find("documents")) result.conversation.documents = *documents;
  if (const Json* variables = record.find("chat_template_kwargs")) {
    if (!variables->is_object())
      throw UserError("{}: key 'chat_template_kwargs' must be an object", record.place());
    result.conversation.variables = *variables;
  }
  return result;
}

}  // namespace

void read_chat(const DataFile& file, const Tokenizer& tokenizer, const DocumentSink& sink) {
  if (!file.chat_template)
    throw UserError(
        "{}: format chat needs a chat template, and the tokenizer's folder has none; give this source a "
        "chat_template: "
        "FILE",
        file.source.path);
  const std::tm now = local_time();
  DocumentMaker documents(file, tokenizer,
                          {false, false});  // the template writes what a model begins and ends with
  for_each_record(file, [&](const JsonRecord& record) {
    const FlaggedConversation read = read_conversation(record, file.source);
    for (const ChatText& text : file.chat_template->training_texts(read.conversation, now, record.place())) {
      std::vector<std::pair<size_t, size_t>> spans;
      for (const ChatSpan& span : text.spans)
        if (read.trained.at(span.message)) spans.emplace_back(span.begin, span.end);
      if (!spans.empty()) sink(documents.spanned(text.text, spans));
    }
  });
}

}  // namespace collie
