// The data set format "chat": conversations, through the model's chat template.
#include "io/chat_format.hpp"

#include <ctime>

#include "base/error.hpp"
#include "base/log.hpp"
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
  if (const Json* tools = record.find(source.tools.empty() ? "tools" : source.tools)) result.tools = *tools;
  if (const Json* documents = record.find("documents")) result.documents = *documents;
  if (const Json* variables = record.find("chat_template_kwargs")) {
    if (!variables->is_object())
      throw UserError("{}: key 'chat_template_kwargs' must be an object", record.place());
    result.variables = *variables;
  }
  return result;
}

}  // namespace

namespace {

// What a file's conversations had that deserves a word, said once at its end.
class Remarks {
 public:
  void without_turn(const JsonRecord& record, const Json& messages) {
    if (++without_turn_ > 1) return;
    std::string roles;
    for (const Json& message : messages)
      if (roles.size() < 100) roles += (roles.empty() ? "" : ", ") + message["role"].get<std::string>();
    first_without_ = fmt::format("{} (roles: {})", record.place(), shortened(roles, 120));
  }

  void turn(const JsonRecord& record, const ChatSpan& span) {
    if (!span.follows_prompt && ++beside_prompt_ == 1) first_beside_ = record.place();
  }

  void say(const std::string& file) const {
    if (without_turn_ > 0)
      log::warn("{}: {} conversations have no turn to train on and are left out; the first: {}", file,
                without_turn_, first_without_);
    if (beside_prompt_ > 0)
      log::warn(
          "{}: {} turns do not begin with the template's whole generation prompt (perhaps it opens a <think> "
          "that they "
          "lack), so they are learnt behind another prompt than generation gives; the first: {}",
          file, beside_prompt_, first_beside_);
  }

 private:
  int64_t without_turn_ = 0, beside_prompt_ = 0;
  std::string first_without_, first_beside_;
};

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
  Remarks remarks;
  for_each_record(file, [&](const JsonRecord& record) {
    const Conversation read = read_conversation(record, file.source);
    bool trained = false;
    for (const ChatText& text : training_texts(*file.chat_template, read, now, record.place())) {
      std::vector<std::pair<size_t, size_t>> spans;
      for (const ChatSpan& span : text.spans) {
        if (!read.trained.at(span.message) || span.begin == span.end) continue;
        spans.emplace_back(span.begin, span.end);
        remarks.turn(record, span);
      }
      if (spans.empty()) continue;
      trained = true;
      sink(documents.spanned(text.text, spans));
    }
    if (!trained) remarks.without_turn(record, read.messages);
  });
  remarks.say(file.path);
}

}  // namespace collie
