#include "io/chat_template.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace {

using nlohmann::ordered_json;

// Under which a message's reasoning is found, the standard name first.
constexpr const char* reasoning_names[] = {"reasoning_content", "thinking", "reasoning"};

// A character for private use that marks a place in a text.
constexpr std::string_view mark = "\xF4\x8F\xBF\xBD";

std::string in_short(const ordered_json& value) {
  return shortened(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace), 80);
}

void check_messages(const ordered_json& messages, const std::string& where) {
  if (!messages.is_array() || messages.empty())
    throw UserError("{}: the messages are {}; they must be a list of one or more objects", where,
                    in_short(messages));
  for (size_t i = 0; i < messages.size(); ++i)
    if (!messages[i].is_object())
      throw UserError("{}: message {} is {}; it must be an object with a role", where, i,
                      in_short(messages[i]));
}

// A message as transformers gives it to a template.
ordered_json prepared(const ordered_json& message) {
  ordered_json result = ordered_json::object();
  const ordered_json* reasoning = nullptr;
  for (const char* name : reasoning_names)
    if (reasoning == nullptr && message.contains(name) && !message[name].is_null())
      reasoning = &message[name];
  if (reasoning != nullptr) result["thinking"] = *reasoning;
  for (const auto& [key, value] : message.items())
    if (!value.is_null()) result[key] = value;
  if (reasoning != nullptr) result["reasoning_content"] = *reasoning;
  return result;
}

bool is_assistant(const ordered_json& message) {
  const auto role = message.find("role");
  return role != message.end() && role->is_string() && role->get_ref<const std::string&>() == "assistant";
}

constexpr const char* white_space = " \t\r\n\f\v";

bool is_blank(std::string_view text) {
  return text.find_first_not_of(white_space) == std::string_view::npos;
}

// Texts of a message that can be marked: the reasoning, the content, the first part of the content that is
// text.
std::vector<ordered_json::json_pointer> markable_texts(const ordered_json& message) {
  std::vector<ordered_json::json_pointer> places;
  const auto add = [&](const ordered_json::json_pointer& place) {
    if (message.contains(place) && message[place].is_string() &&
        !is_blank(message[place].get_ref<const std::string&>()))
      places.push_back(place);
  };
  for (const char* name : reasoning_names) add(ordered_json::json_pointer() / name);
  const ordered_json::json_pointer content = ordered_json::json_pointer() / "content";
  add(content);
  if (message.contains("content") && message["content"].is_array())
    for (size_t i = 0; i < message["content"].size(); ++i) add(content / i / "text");
  return places;
}

// Where a mark may stand in a text: at its beginning, or behind white space there, which templates may take
// away.
std::vector<size_t> places_of_mark(const std::string& text) {
  const size_t at = text.find_first_not_of(white_space);
  return at == 0 ? std::vector<size_t>{0} : std::vector<size_t>{0, at};
}

}  // namespace

// One conversation with one template.
class ChatTemplate::Session {
 public:
  Session(const ChatTemplate& chat, const Conversation& conversation, const std::tm& now,
          const std::string& where)
      : chat_(chat),
        conversation_(conversation),
        now_(now),
        where_(where),
        template_(chat.choose(conversation, where)) {
    check_messages(conversation.messages, where);
    for (const auto& message : conversation.messages) messages_.push_back(value_of(prepared(message)));
    for (const auto& [name, token] : chat.special_tokens_) variables_.set(name, jinja::Value(token));
    if (!conversation.variables.is_object())
      throw UserError("{}: the template's variables are {}; they must be an object", where,
                      in_short(conversation.variables));
    for (const auto& [name, value] : conversation.variables.items()) variables_.set(name, value_of(value));
    variables_.set("tools", value_of(conversation.tools));
    variables_.set("documents", value_of(conversation.documents));
  }

  jinja::Rendering render(const std::vector<jinja::Value>& messages, bool prompted) const {
    jinja::Dict variables = variables_;
    variables.set("messages", jinja::make_list(messages));
    variables.set("add_generation_prompt", prompted);
    return template_.render(variables, now_, where_);
  }

  const std::vector<jinja::Value>& messages() const { return messages_; }

  std::vector<ChatText> training_texts() const {
    if (template_.has_generation()) return {generated_text()};
    std::vector<ChatText> texts;
    for (size_t i = messages_.size(); i-- > 0;)
      if (is_assistant(conversation_.messages[i])) add_turn(i, texts);
    std::erase_if(texts, [](const ChatText& text) { return text.spans.empty(); });
    std::reverse(texts.begin(), texts.end());
    for (ChatText& text : texts) std::reverse(text.spans.begin(), text.spans.end());
    return texts;
  }

 private:
  jinja::Value value_of(const ordered_json& json) const {
    try {
      return jinja::value_of_json(json);
    } catch (const jinja::Problem& problem) {
      throw UserError("{}: {}", where_, problem.what());
    }
  }

  bool is_trained(size_t message) const {
    return conversation_.trained.empty() || conversation_.trained.at(message);
  }

  std::vector<jinja::Value> first(size_t count) const {
    return {messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(count)};
  }

  [[noreturn]] void refuse(size_t message, const std::string& reason) const {
    throw UserError(
        "{}: message {} is a turn of the assistant, so it is trained on, and with the template {} it cannot "
        "be: "
        "{}; give it \"train\": false, or use a template that writes it as it prompts for it",
        where_, message, template_.file(), reason);
  }

  // The text and spans of a template with generation blocks.
  ChatText generated_text() const {
    const jinja::Rendering rendering = render(messages_, false);
    if (!rendering.generation_problem.empty())
      throw UserError(
          "{}: {}: {}, so its place in the text is not known; write it in the loop over the messages", where_,
          template_.file(), rendering.generation_problem);
    ChatText result;
    result.text = rendering.text;
    result.marked_by_template = true;
    for (const auto& generation : rendering.generations)
      if (generation.begin < generation.end)
        result.spans.push_back({generation.begin, generation.end, message_of(generation), true});
    return result;
  }

  // The message that the loops around a generation block are at.
  size_t message_of(const jinja::Generation& generation) const {
    for (auto item = generation.loop_items.rbegin(); item != generation.loop_items.rend(); ++item)
      for (size_t i = 0; i < messages_.size(); ++i)
        if (messages_[i].address() == *item) return i;
    throw UserError(
        "{}: {}: a generation block is not inside of a loop over the messages, so it is not known which "
        "message it "
        "writes; write it in such a loop",
        where_, template_.file());
  }

  // Adds a turn to the text of a later turn, if that begins with it, or to a text of its own. A turn that is
  // not trained on has no span, and needs no place for one.
  void add_turn(size_t message, std::vector<ChatText>& texts) const {
    std::string whole = render(first(message + 1), false).text;
    const ChatSpan span = is_trained(message) ? span_of(message, whole) : ChatSpan{0, end_of_turn(whole, 0)};
    if (span.begin == span.end) return;
    const std::string_view needed = std::string_view(whole).substr(0, span.end);
    auto text = std::find_if(texts.begin(), texts.end(), [&](const ChatText& other) {
      return other.text.compare(0, needed.size(), needed) == 0;
    });
    if (text == texts.end()) text = texts.insert(text, {std::move(whole), {}});
    if (is_trained(message)) text->spans.push_back(span);
  }

  ChatSpan span_of(size_t message, const std::string& whole) const {
    const std::string before = render_before(message);
    ChatSpan span;
    span.message = message;
    span.follows_prompt = whole.compare(0, before.size(), before) == 0;
    span.begin = span.follows_prompt ? before.size() : start_of_message(message, before, whole);
    span.end = end_of_turn(whole, span.begin);
    return span;
  }

  std::string render_before(size_t message) const {
    try {
      return render(first(message), true).text;
    } catch (const UserError& error) {
      refuse(message, fmt::format("the messages before it do not render on their own, so it is not known "
                                  "where its turn begins ({})",
                                  error.what()));
    }
  }

  // The end of the last end token, if only white space follows it; else the end of the text.
  size_t end_of_turn(const std::string& text, size_t begin) const {
    size_t end = 0;
    for (const std::string& token : chat_.end_tokens_)
      if (const size_t at = text.rfind(token); at != std::string::npos && at >= begin)
        end = std::max(end, at + token.size());
    return end > begin && is_blank(std::string_view(text).substr(end)) ? end : text.size();
  }

  // Where the place `at` of one of a message's texts is in `whole`; npos if a mark there changes anything
  // else.
  size_t place_when_marked(size_t message, const ordered_json::json_pointer& text, size_t at,
                           const std::string& whole) const {
    ordered_json changed = conversation_.messages[message];
    changed[text].get_ref<std::string&>().insert(at, mark);
    std::vector<jinja::Value> messages = first(message);
    messages.push_back(value_of(prepared(changed)));
    std::string with_mark = render(messages, false).text;
    const size_t found = with_mark.find(mark);
    if (found == std::string::npos) return found;
    with_mark.erase(found, mark.size());
    return with_mark == whole ? found : std::string::npos;
  }

  // Where the message's own text begins in `whole`, which does not begin with the prompt `before`.
  size_t start_of_message(size_t message, const std::string& before, const std::string& whole) const {
    const ordered_json& original = conversation_.messages[message];
    if (whole.find(mark) != std::string::npos) refuse(message, "it holds the character U+10FFFD");
    size_t start = std::string::npos;
    for (const auto& place : markable_texts(original))
      for (const size_t at : places_of_mark(original[place].get_ref<const std::string&>()))
        start = std::min(start, place_when_marked(message, place, at, whole));
    if (start == std::string::npos || start > before.size() || before.compare(0, start, whole, 0, start) != 0)
      start = start_of_plain_turn(message, before, whole);
    if (start == std::string::npos) refuse_start(message, before, whole);
    return start;
  }

  // Whether `text` has all that a message says. Templates drop thoughts that stand in the content.
  static bool has_texts(const ordered_json& message, std::string_view text) {
    const auto places = markable_texts(message);
    return std::all_of(places.begin(), places.end(), [&](const auto& place) {
      std::string_view own = message[place].template get_ref<const std::string&>();
      own.remove_prefix(own.find_first_not_of(white_space));
      return text.find(own.substr(0, own.find_last_not_of(white_space) + 1)) != std::string_view::npos;
    });
  }

  // Where the text of a turn that has nothing else would begin in `whole`, if prompt and turn differ only
  // behind the messages before them, and the turn has all that stands before such a text; else npos. So what
  // the span leaves out is the template's own, and no part of what the assistant wrote (it would not be in
  // every turn).
  size_t start_of_plain_turn(size_t message, const std::string& before, const std::string& whole) const {
    try {
      const std::string earlier = render(first(message), false).text;
      std::vector<jinja::Value> messages = first(message);
      messages.push_back(value_of({{"role", "assistant"}, {"content", std::string(mark)}}));
      const std::string plain = render(messages, false).text;
      const size_t start = plain.find(mark);
      const bool holds = start != std::string::npos && start >= earlier.size() &&
                         before.compare(0, earlier.size(), earlier) == 0 &&
                         plain.compare(0, earlier.size(), earlier) == 0 &&
                         whole.compare(0, start, plain, 0, start) == 0 &&
                         has_texts(conversation_.messages[message], std::string_view(whole).substr(start));
      return holds ? start : std::string::npos;
    } catch (const UserError&) {  // the template does not take such messages
      return std::string::npos;
    }
  }

  [[noreturn]] void refuse_start(size_t message, const std::string& before, const std::string& whole) const {
    size_t same = 0;
    while (same < before.size() && same < whole.size() && before[same] == whole[same]) ++same;
    while (same > 0 && same < before.size() && (static_cast<unsigned char>(before[same]) & 0xC0u) == 0x80u)
      --same;
    while (same > 0 && same < whole.size() && (static_cast<unsigned char>(whole[same]) & 0xC0u) == 0x80u)
      --same;
    refuse(message, fmt::format("the generation prompt goes on with '{}' where the turn goes on with '{}'",
                                shortened(std::string_view(before).substr(same)),
                                shortened(std::string_view(whole).substr(same))));
  }

  const ChatTemplate& chat_;
  const Conversation& conversation_;
  const std::tm& now_;
  const std::string& where_;
  const jinja::Template& template_;
  std::vector<jinja::Value> messages_;
  jinja::Dict variables_;
};

ChatTemplate::ChatTemplate(std::map<std::string, jinja::Template> templates,
                           std::map<std::string, std::string> special_tokens)
    : templates_(std::move(templates)), special_tokens_(std::move(special_tokens)) {
  if (const auto eos = special_tokens_.find("eos_token"); eos != special_tokens_.end())
    add_end_token(eos->second);
}

void ChatTemplate::add_end_token(const std::string& text) {
  if (!text.empty() && std::find(end_tokens_.begin(), end_tokens_.end(), text) == end_tokens_.end())
    end_tokens_.push_back(text);
}

const jinja::Template& ChatTemplate::choose(const Conversation& conversation,
                                            const std::string& where) const {
  if (!conversation.tools.is_null())
    if (const auto found = templates_.find("tool_use"); found != templates_.end()) return found->second;
  if (const auto found = templates_.find("default"); found != templates_.end()) return found->second;
  std::string names;
  for (const auto& [name, its_template] : templates_) names += (names.empty() ? "'" : "', '") + name;
  throw UserError("{}: the model has the chat templates {}', none of which is named 'default'", where, names);
}

bool ChatTemplate::has_generation() const {
  return std::any_of(templates_.begin(), templates_.end(),
                     [](const auto& named) { return named.second.has_generation(); });
}

std::string ChatTemplate::render(const Conversation& conversation, bool add_generation_prompt,
                                 const std::tm& now, const std::string& where) const {
  const Session session(*this, conversation, now, where);
  return session.render(session.messages(), add_generation_prompt).text;
}

std::vector<ChatText> ChatTemplate::training_texts(const Conversation& conversation, const std::tm& now,
                                                   const std::string& where) const {
  return Session(*this, conversation, now, where).training_texts();
}

}  // namespace collie
